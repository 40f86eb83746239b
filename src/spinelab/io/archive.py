"""Zip archives of one scan: unpacked into a folder that goes away afterwards."""

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spinelab.errors import UnreadableError

_SPARE_BYTES = 200_000_000


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Unpacks a zip archive and yields the temporary folder with its files.

    Raises:
        UnreadableError: Damaged, encrypted, or larger than the space for temporary files.
    """
    with tempfile.TemporaryDirectory(prefix="spinelab-") as name:
        folder = Path(name)
        try:
            with zipfile.ZipFile(path) as archive:
                _unpack(archive, folder, path)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise UnreadableError(
                f"{path} is a damaged or unsupported zip archive ({error}); pack it again"
            ) from error
        except RuntimeError as error:  # what zipfile raises for a password
            raise UnreadableError(f"{path} is encrypted; unpack it and give the folder") from error
        yield folder


def _unpack(archive: zipfile.ZipFile, folder: Path, path: Path) -> None:
    members = [
        member
        for member in archive.infolist()
        if not member.is_dir()
        and "__MACOSX" not in member.filename
        and not Path(member.filename).name.startswith(".")
    ]
    needed = sum(member.file_size for member in members)
    free = shutil.disk_usage(folder).free
    if needed + _SPARE_BYTES > free:
        raise UnreadableError(
            f"{path} unpacks to {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free for temporary files; "
            "unpack it elsewhere and give the folder"
        )
    for member in members:
        archive.extract(member, folder)  # zipfile strips absolute and parent parts of names
