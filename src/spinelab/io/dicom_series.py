"""DICOM folders: which series are there, which one is meant, and its volume."""

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np

from spinelab.errors import GeometryError, InputError, UnreadableError
from spinelab.io.dicom import DicomSlice, read_pixels, read_slices, stored_bytes
from spinelab.io.dicom_grid import SAME_PLACE_MM, depths, find_problem, sort_slices, stack_geometry
from spinelab.io.voxels import VoxelStore
from spinelab.volume import Image, Modality

#: Tags that tell apart the stacks one series UID may hold, in the order they are tried.
_SPLITTERS = (
    "AcquisitionNumber", "TemporalPositionIdentifier", "ConvolutionKernel", "ImageType", "EchoTime",
    "AcquisitionTime",
)  # fmt: skip
_FEW_SLICES = 4
#: What tells contrasts of MR apart.
_TIMES = (("TR", "RepetitionTime"), ("TE", "EchoTime"))


@dataclass(frozen=True)
class Series:
    """Slices that belong together: same series, size, orientation and spacing.

    Attributes:
        name: What `series=` takes to choose it: the series number, with a letter where several share it.
        uid: SeriesInstanceUID.
        slices: Sorted by position where all are placed.
        warnings: Sentences for the reader.
    """

    name: str
    uid: str
    slices: tuple[DicomSlice, ...]
    warnings: tuple[str, ...] = ()

    @property
    def modality(self) -> str:
        """DICOM modality, e.g. "CT"."""
        return self.slices[0].facts.get("Modality", "unknown")

    @property
    def placed(self) -> bool:
        """True when every slice states where it lies."""
        return all(item.placed for item in self.slices)

    @property
    def step_mm(self) -> float:
        """Usual distance between slices; infinite for one slice."""
        return float(np.median(np.diff(depths(self.slices)))) if len(self.slices) > 1 else np.inf

    @property
    def extent_mm(self) -> float:
        """Distance between the first and the last slice."""
        return float(np.ptp(depths(self.slices)))

    def describe(self) -> str:
        """Returns one line of facts that hold no identifiers."""
        facts = self.slices[0].facts
        parts = [self.modality, f"{len(self.slices)} slices"]
        spacing = self.slices[0].spacing
        if self.placed and spacing is not None and len(self.slices) > 1:
            parts.append(f"{spacing[0]:.2f} x {spacing[1]:.2f} x {self.step_mm:.2f} mm")
        if "ConvolutionKernel" in facts:
            parts.append(f"kernel {facts['ConvolutionKernel']}")
        if self.modality == "MR":
            parts += _describe_mr(self)
        parts.extend(word.lower() for word in ("DERIVED", "LOCALIZER") if word in _image_type(self))
        return f"{self.name}: " + ", ".join(parts)


def read_dicom(files: Iterable[Path], where: Path, *, series: str | int | None = None) -> Image:
    """Reads one series among DICOM files.

    Args:
        files: Candidate files; those that are not DICOM are skipped.
        where: What to call the whole in messages.
        series: Series number (with its letter) or SeriesInstanceUID; None to choose the one clear CT.

    Returns:
        The volume: int16 or float32, rescaled (HU for CT), grid in LPS mm (sheared for a tilted gantry).

    Raises:
        UnreadableError: No DICOM image there, or one is damaged.
        InputError: Several series and none clearly meant, or the one asked for is not there.
        GeometryError: Positions, orientation or spacing missing; slices missing, doubled or uneven.
    """
    slices, damaged = read_slices(files)
    if damaged:
        raise UnreadableError(
            f"{where}: {damaged} DICOM files are damaged or truncated; export the series again"
        )
    if not slices:
        raise UnreadableError(f"{where} holds no DICOM image; give a DICOM folder, NIfTI, NRRD or MHA file")
    return build_volume(choose_series(find_series(slices), where, wanted=series), where)


def find_series(slices: Iterable[DicomSlice]) -> list[Series]:
    """Groups slices into series; one UID that mixes orientations, sizes or phases gives several."""
    groups: list[list[DicomSlice]] = []
    for item in slices:
        home = next((group for group in groups if _belongs(item, group[0])), None)
        if home is None:
            groups.append([item])
        else:
            home.append(item)
    found = [part for group in groups for part in _split_group(group)]
    return _named(found)


def _belongs(item: DicomSlice, other: DicomSlice) -> bool:
    if item.size != other.size or item.placed != other.placed:
        return False
    if any(item.facts.get(key) != other.facts.get(key) for key in ("SeriesInstanceUID", "Modality")):
        return False
    if item.orientation is None or other.orientation is None or not item.placed:
        return True
    return np.allclose(item.orientation, other.orientation, atol=1e-3) and np.allclose(
        np.array(item.spacing), np.array(other.spacing), rtol=1e-3
    )


def _split_group(group: list[DicomSlice]) -> list[Series]:
    uid = group[0].facts.get("SeriesInstanceUID", "")
    if not group[0].placed:
        return [Series("", uid, tuple(group))]
    ordered, dropped = _without_copies(sort_slices(group))
    warnings = (f"{dropped} slices were there twice; the copies were left out.",) if dropped else ()
    whole = Series("", uid, tuple(ordered), warnings)
    if find_problem(ordered) is None:
        return [whole]
    for key in _SPLITTERS:
        values = sorted({item.facts.get(key, "") for item in ordered})
        parts = [tuple(item for item in ordered if item.facts.get(key, "") == value) for value in values]
        if 2 <= len(parts) <= len(string.ascii_lowercase) and all(_is_stack(part) for part in parts):
            return [replace(whole, slices=part) for part in parts]
    return [whole]


def _is_stack(part: Sequence[DicomSlice]) -> bool:
    return len(part) >= _FEW_SLICES and find_problem(part) is None


def _without_copies(ordered: list[DicomSlice]) -> tuple[list[DicomSlice], int]:
    """Drops slices that lie at the place of another one and hold the very same pixels."""
    kept: list[DicomSlice] = []
    place: list[bytes] = []
    depth = depths(ordered)
    crowded = np.zeros(len(ordered), dtype=bool)
    close = np.diff(depth) < SAME_PLACE_MM
    crowded[1:] |= close
    crowded[:-1] |= close
    for index, item in enumerate(ordered):
        if index and not close[index - 1]:
            place = []
        if crowded[index] and item.frame is None:
            content = stored_bytes(item) + repr(item.rescale).encode()
            if content in place:
                continue
            place.append(content)
        kept.append(item)
    return kept, len(ordered) - len(kept)


def _named(found: list[Series]) -> list[Series]:
    """Names series by number, and with a letter where a number is shared; sorted."""
    numbers = [part.slices[0].facts.get("SeriesNumber", "unnumbered") for part in found]
    named, seen = [], dict.fromkeys(numbers, 0)
    for part, number in zip(found, numbers, strict=True):
        letter = ""
        if numbers.count(number) > 1:
            index = seen[number]
            letter = string.ascii_lowercase[index] if index < 26 else f".{index + 1}"
        seen[number] += 1
        named.append(replace(part, name=number + letter))
    return sorted(named, key=lambda part: (len(part.name), part.name))


def choose_series(found: Sequence[Series], where: Path, *, wanted: str | int | None = None) -> Series:
    """Returns the series that is asked for, or the only one that can be meant.

    Without `wanted`, localizers, derived images and reformats in other planes step back where an original
    axial CT is there, or without any CT a sagittal MR; of several that remain the thinnest wins if it also
    covers what the others cover.

    Raises:
        InputError: None matches, or several could be meant; the message lists them.
    """
    if wanted is not None:
        matching = [part for part in found if str(wanted) in (part.name, part.uid)]
        if len(matching) == 1:
            return matching[0]
        raise InputError(
            f"{where} has {'no' if not matching else 'more than one'} series {wanted}; choose one of "
            f"{_listing(found)}"
        )
    left = list(found)
    for keep in (_is_ct, _is_placed, _is_no_localizer, _has_slices, _is_original, _is_usual_plane):
        kept = [part for part in left if keep(part)]
        left = kept or left
    if len(left) == 1:
        return left[0]
    best = _clear_best(left)
    if best is None:
        raise InputError(
            f"{where} holds {len(left)} series that could be meant; choose one with series= (--series): "
            f"{_listing(left)}"
        )
    return best


def _image_type(part: Series) -> str:
    return part.slices[0].facts.get("ImageType", "").upper()


def _is_ct(part: Series) -> bool:
    return part.modality == "CT"


def _is_placed(part: Series) -> bool:
    return part.placed


def _is_no_localizer(part: Series) -> bool:
    return "LOCALIZER" not in _image_type(part)


def _has_slices(part: Series) -> bool:
    return len(part.slices) >= _FEW_SLICES


def _is_original(part: Series) -> bool:
    return not _image_type(part).startswith("DERIVED")


def _is_usual_plane(part: Series) -> bool:
    """Tells whether slices run as those of a spine usually do: sagittal in MR, else axial."""
    return part.placed and _plane(part) == ("sagittal" if part.modality == "MR" else "axial")


def _plane(part: Series) -> str:
    normal = np.abs(part.slices[0].normal)
    return ("sagittal", "coronal", "axial")[int(normal.argmax())] if normal.max() > 0.8 else "oblique"


def _describe_mr(part: Series) -> list[str]:
    """What tells MR series apart: plane, times, and which of several images it is (water, fat ...)."""
    facts = part.slices[0].facts
    times = [f"{short} {facts[tag]} ms" for short, tag in _TIMES if tag in facts]
    kinds = [word.lower() for word in _image_type(part).split("\\")[2:] if word not in ("", "NONE", "M")]
    return [*([_plane(part)] if part.placed else []), *times, *kinds[:2]]


def _clear_best(left: Sequence[Series]) -> Series | None:
    """Returns the series that is clearly thinner than all others and covers nearly all they cover."""
    if not all(part.placed and len(part.slices) > 1 for part in left):
        return None
    best = min(left, key=lambda part: part.step_mm)
    others = [part for part in left if part is not best]
    clear = all(best.step_mm <= 0.75 * part.step_mm and _covers(best, part) for part in others)
    regular = find_problem(best.slices) is None
    return best if clear and regular else None


def _covers(best: Series, other: Series) -> bool:
    """Tells whether `best` leaves out at most a tenth of what `other` shows along the body."""
    if not np.allclose(best.slices[0].normal, other.slices[0].normal, atol=0.05):
        return False
    mine, theirs = depths(best.slices), depths(other.slices)
    common = min(mine.max(), theirs.max()) - max(mine.min(), theirs.min())
    return bool(common >= 0.9 * np.ptp(theirs))


def _listing(found: Sequence[Series]) -> str:
    return "; ".join(part.describe() for part in found)


def build_volume(part: Series, where: Path) -> Image:
    """Reads the pixels of a series into a volume.

    Raises:
        GeometryError: Positions, orientation or spacing missing; slices missing, doubled or uneven.
        UnreadableError: A file is damaged or its compression cannot be decoded.
    """
    _check_placed(part, where)
    problem = find_problem(part.slices)
    if problem is not None:
        raise GeometryError(f"{where}, series {part.name}: {problem.sentence}; {_NEXT_STEPS[problem.kind]}")
    geometry = stack_geometry(part.slices)
    store = VoxelStore(geometry.shape)
    for index, item in enumerate(part.slices):
        pixels = read_pixels(item)
        if pixels.shape != item.size:
            raise UnreadableError(
                f"{item.path.name} holds {pixels.shape} pixels, its header says {item.size}; export it again"
            )
        store.put(index, pixels[:, :, None])
    modality: Modality = next((known for known in get_args(Modality) if known == part.modality), "unknown")
    return Image(store.array(), geometry, modality, _info(part))


_NEXT_STEPS = {
    "missing": "export the complete series again, or give a folder with one gapless part of it",
    "uneven": "give a series reconstructed at one slice distance",
    "doubled": "give a folder with only one phase or reconstruction",
}


_PLACE_TAGS = (
    ("PixelSpacing", "spacing"),
    ("ImagePositionPatient", "position"),
    ("ImageOrientationPatient", "orientation"),
)


def _check_placed(part: Series, where: Path) -> None:
    for tag, attribute in _PLACE_TAGS:
        lacking = sum(getattr(item, attribute) is None for item in part.slices)
        if lacking:
            raise GeometryError(
                f"{where}, series {part.name}: {lacking} of {len(part.slices)} images state no valid {tag}, "
                "which is never guessed; export the original series from the scanner or archive"
            )


def _info(part: Series) -> dict[str, str]:
    facts = part.slices[0].facts
    keys = {
        "kernel": "ConvolutionKernel", "slice_thickness_mm": "SliceThickness", "kvp": "KVP",
        "contrast": "Contrast",
    }  # fmt: skip
    info = {"modality": part.modality, "series": part.name}
    info |= {name: facts[key] for name, key in keys.items() if key in facts}
    if part.warnings:
        info["warnings"] = "\n".join(part.warnings)
    return info
