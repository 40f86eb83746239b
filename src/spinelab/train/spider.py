"""The pictures of SPIDER as scans the landmark recipe reads: ``python -m spinelab.train.spider DATA OUT``.

DATA is a folder with ``images``, ``slices``, ``slice_masks`` and ``overview.csv`` (SPIDER, van der Graaf et
al. 2024, CC BY 4.0). OUT gets ``labelled`` (one mid-sagittal T2-SPACE slice a person with its bodies, named
up from the sacrum, as the data set counts) and ``unlabelled`` (T1 and T2 slices whose pixels
were not resized, so that their size in mm is known); ``left_out.txt`` names the others.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.anatomy import level
from spinelab.errors import InputError
from spinelab.io import write_image, write_mask
from spinelab.io.picture import read_picture
from spinelab.volume import Mask

Bools = NDArray[np.bool_]

_BONE, _CANAL = 76, 150
#: Pictures as long as this have been made smaller, nobody says by how much.
_RESIZED_PX = 640
_LEAST_BODY_MM2 = 150.0


def convert_spider(data: Path, out: Path) -> list[str]:
    """Writes the scans; returns what was left out, and why.

    Raises:
        InputError: The folder does not hold the data set.
    """
    overview = data / "overview.csv"
    if not overview.exists():
        raise InputError(f"{data} has no overview.csv; give the folder that holds images, slices and tables")
    with overview.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name in ("labelled", "unlabelled"):
        (out / name).mkdir(parents=True, exist_ok=True)
    left_out = []
    spacings = {row["new_file_name"]: float(row["PixelSpacing"].strip("[]").split(",")[0]) for row in rows}
    for name, spacing in spacings.items():
        image = read_picture(data / "images" / f"{name}.jpg", spacing)
        if max(image.array.shape) >= _RESIZED_PX:
            left_out.append(f"{name}: resized, the size of its pixels is unknown")
            continue
        write_image(image, out / "unlabelled" / f"spider_{name}.nii.gz")
    for person in sorted({path.name.split("_")[0] for path in (data / "slices").glob("*.jpg")}):
        path = _most_canal(sorted((data / "slice_masks").glob(f"{person}_*.png")))
        spacing = spacings[f"{person}_t2_SPACE"]
        image = read_picture(data / "slices" / f"{path.stem}.jpg", spacing)
        labels = read_picture(path, spacing)
        bodies = name_bodies(Mask(labels.array.astype(np.uint8), labels.geometry))
        if not bodies.array.any():
            left_out.append(f"{path.stem}: no bodies above the lowest disc")
            continue
        write_image(image, out / "labelled" / f"spider_{person}_t2space.nii.gz")
        write_mask(bodies, out / "labelled" / f"spider_{person}_bodies.nii.gz")
    (out / "left_out.txt").write_text("\n".join([*left_out, ""]), encoding="utf-8")
    return left_out


def _most_canal(paths: list[Path]) -> Path:
    """Picks the slice nearest the midline: that which shows most of the canal."""
    return max(paths, key=lambda path: int((read_picture(path, 1.0).array == _CANAL).sum()))


def name_bodies(mask: Mask) -> Mask:
    """Returns the bodies of a SPIDER slice mask under their VerSe numbers.

    Args:
        mask: (1, j, k) with 76 vertebra, 150 canal; j runs to the back, k to the head.

    The lowest body is L5, for the sacrum is not marked; spinous processes, behind the canal, are left away.
    """
    bone, canal = (mask.array[0] == value for value in (_BONE, _CANAL))
    pixel = float(np.prod(mask.spacing_mm[1:]))
    behind = _behind(canal)
    bodies = [place for place in _places(bone, _LEAST_BODY_MM2 / pixel) if not behind[_middle(place)]]
    found = np.zeros(mask.array.shape, np.uint8)
    for number, place in enumerate(sorted(bodies, key=lambda body: _middle(body)[1])):
        found[0][place] = level("L5").label - number
    return Mask(found, mask.geometry)


def _places(mask: Bools, least: float) -> list[Bools]:
    parts, count = ndimage.label(ndimage.binary_opening(mask, iterations=2))
    sizes = ndimage.sum_labels(mask, parts, range(1, count + 1))
    return [parts == number + 1 for number in range(count) if sizes[number] >= least]


def _middle(place: Bools) -> tuple[int, int]:
    j, k = ndimage.center_of_mass(place)
    return round(j), round(k)


def _behind(canal: Bools) -> Bools:
    """Pixels behind the canal's middle line, which is carried on above and below it."""
    rows = np.flatnonzero(canal.any(axis=0))
    if not rows.size:
        return np.zeros_like(canal)
    middle = [float(np.flatnonzero(canal[:, k]).mean()) for k in rows]
    line = np.interp(np.arange(canal.shape[1]), rows, middle)
    return np.asarray(np.arange(canal.shape[0])[:, None] > line[None])


if __name__ == "__main__":
    convert_spider(Path(sys.argv[1]), Path(sys.argv[2]))
