"""Who reads: names of workers from which another one on the same machine can tell whether they still run."""

import os
import socket
from pathlib import Path

import psutil

#: Two statements of when a process began may differ by this when the clock was set in between, seconds.
_CLOCK_SET_S = 5.0


def name_worker() -> str:
    """Returns the name of this process as a worker: its machine, its number, when it began."""
    return f"{_machine()}:{os.getpid()}:{psutil.Process().create_time():.0f}"


def is_gone(worker: str) -> bool:
    """Tells whether a worker has certainly ended; False for those of other machines, which one cannot see."""
    machine, number, began = worker.rsplit(":", 2) if worker.count(":") >= 2 else ("", "", "")
    if machine != _machine() or not (number.isdigit() and began.isdigit()):
        return False
    try:
        process = psutil.Process(int(number))
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return bool(abs(process.create_time() - float(began)) > _CLOCK_SET_S)
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def _machine() -> str:
    """Returns a name of the machine since its start, or of the container with processes of its own."""
    parts = [socket.gethostname().replace(":", "_")[:60]]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()[:8])
        parts.append(os.readlink("/proc/self/ns/pid").strip("pid:[]"))
    except OSError:  # not Linux
        parts.append(f"{psutil.boot_time():.0f}"[:-1])
    return "/".join(parts)
