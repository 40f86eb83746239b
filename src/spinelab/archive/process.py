"""A reader in a process of its own, so that one bad scan does not end the run.

The process is kept for as long as it behaves: the networks are loaded once. A scan that takes too long, too
much memory or the whole process with it costs that process; the next scan gets a new one.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from spinelab.archive.jobs import Job, Reader, Reading, Refusal
from spinelab.errors import InputError, OutputError, SpinelabError

#: How the process starts. "spawn" is safe whatever threads there are.
_START = "spawn"
_LOOK_S = 0.5
#: A process that rests with more than this share of the memory limit is replaced.
_SWOLLEN = 0.5
_LEAVE_S = 5.0


@dataclass(frozen=True)
class Limits:
    """What one scan may cost.

    Attributes:
        seconds: Of time; None for no limit.
        memory_mb: Of resident memory of the reading process; None for no limit.
    """

    seconds: float | None = None
    memory_mb: float | None = None


class ReaderProcess:
    """Runs a reader in a child process; use in a ``with`` block.

    Args:
        reader: A function that can be pickled (of a module, or a `functools.partial` of one).
        limits: What one scan may cost.
    """

    def __init__(self, reader: Reader, limits: Limits = Limits()) -> None:
        self.reader = reader
        self.limits = limits
        self._process: Any = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(at_once=kind is not None)

    def read(self, job: Job, out: Path, *, still_ours: Callable[[], bool]) -> Reading | Refusal:
        """Reads one scan.

        Args:
            job: What to read.
            out: Empty folder for the outputs.
            still_ours: Called about twice a second; reading is given up when it returns False.

        Raises:
            SpinelabError: What no scan is to blame for: no weights, no room for the results, no package.
        """
        pipe = self._start()
        began = time.monotonic()
        try:
            pipe.send((job, out))
        except OSError:
            return self._crashed()
        while not pipe.poll(_LOOK_S):
            reason = self._why_stop(time.monotonic() - began)
            if reason is None and not still_ours():
                reason = "another worker has taken it over"
            if reason is not None:
                self.stop(at_once=True)
                return Refusal(reason, final=False)
        try:
            answer = pipe.recv()
        except (EOFError, OSError):
            return self._crashed()
        self._leave_if_swollen()
        if isinstance(answer, SpinelabError):
            raise answer
        assert isinstance(answer, Reading | Refusal)
        return answer

    def stop(self, *, at_once: bool = False) -> None:
        """Ends the process; at once, or when it has noticed that there is nothing more to read."""
        if self._process is None or self._pipe is None:
            return
        if not at_once:
            with suppress(OSError):
                self._pipe.send(None)
            self._process.join(_LEAVE_S)
        self._pipe.close()
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._process = self._pipe = None

    def _start(self) -> Connection:
        if self._process is not None and self._pipe is not None and self._process.is_alive():
            return self._pipe
        self.stop(at_once=True)
        context: Any = multiprocessing.get_context(_START)
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self.reader), daemon=True)
        self._process.start()
        theirs.close()
        return self._pipe

    def _why_stop(self, spent_s: float) -> str | None:
        limits = self.limits
        if limits.seconds is not None and spent_s > limits.seconds:
            return f"took longer than the limit of {limits.seconds / 60:g} minutes"
        used = resident_mb(self._process.pid)
        if limits.memory_mb is not None and used > limits.memory_mb:
            return f"needed more memory than the limit of {limits.memory_mb / 1000:g} GB"
        return None

    def _leave_if_swollen(self) -> None:
        """Ends a process that kept so much memory that the next scan, though small, might pass the limit."""
        limit = self.limits.memory_mb
        if limit is not None and resident_mb(self._process.pid) > _SWOLLEN * limit:
            self.stop()

    def _crashed(self) -> Refusal:
        self._process.join(_LEAVE_S)
        code = self._process.exitcode
        self.stop(at_once=True)
        ended = (
            f"by signal {signal.Signals(-code).name}"
            if code is not None and code < 0
            else f"with code {code}"
        )
        return Refusal(f"the reading process ended {ended}", final=False)


def resident_mb(pid: int) -> float:
    """Returns the resident memory of a process in MB; 0 when it has ended."""
    try:
        return float(psutil.Process(pid).memory_info().rss) / 1e6
    except psutil.Error:
        return 0.0


def _serve(pipe: Connection, reader: Reader) -> None:
    """Reads one scan after the other until None comes or the pipe closes; the life of the child process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    while True:
        try:
            asked = pipe.recv()
        except (EOFError, OSError):
            return
        if asked is None:
            return
        with suppress(BrokenPipeError):
            pipe.send(_answer(reader, *asked))


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _answer(reader: Reader, job: Job, out: Path) -> Reading | Refusal | SpinelabError:
    try:
        return reader(job, out)
    except InputError as error:
        return Refusal(str(error), final=True)
    except SpinelabError as error:
        return error
    except Exception as error:
        return _explain(error, out)


def _explain(error: Exception, out: Path) -> Refusal | SpinelabError:
    if isinstance(error, MemoryError):
        return Refusal("needs more memory than there is", final=False)
    if isinstance(error, OSError):
        if error.filename is not None and Path(error.filename).is_relative_to(out):
            return OutputError(f"cannot write {out}: {error.strerror}; check the disk of the results")
        return Refusal(f"cannot be read: {error.strerror or error}", final=False)
    return Refusal(f"unexpected error, {type(error).__name__}: {error}", final=False)
