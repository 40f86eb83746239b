"""Renumbering mask files, and folders with one file a structure."""

from pathlib import Path

from spinelab.errors import InputError
from spinelab.io import read_mask, write_mask
from spinelab.io.outputs import OutputFolder
from spinelab.labels import convert_mask, join_masks, scheme_of, split_mask
from spinelab.volume import Mask

#: Stands for a folder with one mask a structure, named after it, as TotalSegmentator writes by default.
NAMES = "names"
_MASKS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")


def convert_files(source: Path, target: Path, *, scheme: str, wanted: str, drop: bool = False) -> list[str]:
    """Converts a mask file (or, with scheme "names", a folder of masks) to another scheme.

    Args:
        source: Mask file, or a folder with files such as ``vertebrae_L1.nii.gz`` if `scheme` is "names".
        target: Mask file, or a folder if `wanted` is "names"; replaced if it is there.
        scheme: Scheme of the source: a name of `labels.SCHEMES`, or "names".
        wanted: Scheme of the target, likewise.
        drop: Accept losses.

    Returns:
        The names of the files written.

    Raises:
        LabelError: The conversion would lose labels and `drop` is False, or a scheme is unknown.
        InputError: The source cannot be read, or is a folder where a file is needed or the other way round.
        OutputError: The target cannot be written.
    """
    if scheme == NAMES:
        mask = join_masks(_read_folder(source), drop=drop)
        scheme = "verse"
    else:
        mask = read_mask(source)
    if wanted == NAMES:
        parts = split_mask(mask, scheme_of(scheme), drop=drop)
        with OutputFolder(target) as folder:
            for name, part in parts.items():
                write_mask(part, folder.path(f"{_file_name(name)}.nii.gz"))
        return [f"{_file_name(name)}.nii.gz" for name in parts]
    converted = convert_mask(mask, scheme_of(scheme), scheme_of(wanted), drop=drop)
    with OutputFolder(target.parent) as folder:
        write_mask(converted, folder.path(target.name))
    return [target.name]


def _file_name(structure: str) -> str:
    return structure.replace(" ", "_") if " " in structure else f"vertebrae_{structure}"


def _read_folder(source: Path) -> dict[str, Mask]:
    if not source.is_dir():
        raise InputError(
            f"{source} is not a folder; the scheme {NAMES} is a folder with one mask a structure, "
            "such as vertebrae_L1.nii.gz"
        )
    files = {
        file.name.removesuffix(ending): file
        for ending in _MASKS
        for file in sorted(source.iterdir())
        if file.name.endswith(ending)
    }
    return {name.replace("disc_", "disc "): read_mask(file) for name, file in files.items()}
