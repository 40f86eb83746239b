"""Measuring vertebrae that somebody else outlined: a scan, a mask of VerSe numbers, no network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from spinelab.anatomy import VERTEBRA_LABELS, level
from spinelab.errors import GeometryError, LabelError
from spinelab.io import check_ct, read, read_mask, table, verse, write_spine
from spinelab.io.outputs import OutputFolder
from spinelab.measurement import measure
from spinelab.spine import Point, Spine, Vertebra
from spinelab.tasks.manifest import Stopwatch, run_manifest, stem_of
from spinelab.volume import Mask

#: Labels a mask may hold beside vertebrae: sacrum and coccyx.
_BESIDE = {26, 27}


def measure_files(
    scan: Path, mask: Path, out: Path, *, centroids: Path | None = None, series: str | None = None
) -> tuple[Spine, dict[str, Path]]:
    """Measures every vertebra of a mask on its scan; writes STEM_spine.json and STEM_measurements.csv.

    Args:
        scan: The CT, any format `spinelab.read` takes.
        mask: VerSe numbers on the scan's grid.
        out: Folder for both files; made if missing.
        centroids: VerSe centroid file with the body centres; without it they are found from the mask.
        series: Which series, if the DICOM folder holds several.

    Raises:
        InputError: Scan or mask cannot be read, or are not on one grid (GeometryError).
        LabelError: The mask holds other labels than vertebrae, sacrum and coccyx.
        OutputError: The folder cannot be written.
    """
    watch = Stopwatch()
    stem = stem_of(scan)
    with OutputFolder(out) as folder:
        with watch.stage("read"):
            checked = check_ct(read(scan, series=series))
            labels = read_mask(mask)
        if not labels.geometry.same_grid(checked.image.geometry, 0.1):
            raise GeometryError(
                f"the mask's grid {labels.geometry.shape} is not the scan's {checked.image.geometry.shape}; "
                "give a mask drawn on this scan, or resample it to the scan's grid"
            )
        centers = None if centroids is None else verse.read_centroids(centroids, labels.geometry)
        with watch.stage("measure"):
            spine = measure(checked.image, labels, spine_of_mask(labels, centers))
        manifest = run_manifest(scan.resolve().name, {"mask": mask.name}, watch, weights={})
        spine = replace(spine.with_warnings(*checked.warnings), manifest=manifest)
        files = {"spine": f"{stem}_spine.json", "measurements": f"{stem}_measurements.csv"}
        write_spine(spine, folder.path(files["spine"]))
        table.write_measurements(spine, folder.path(files["measurements"]))
    return spine, {kind: out / name for kind, name in files.items()}


def spine_of_mask(mask: Mask, centers_mm: dict[int, Point] | None = None) -> Spine:
    """Returns the vertebrae of a mask, taking its names as given (probability 1).

    Args:
        mask: (i, j, k) VerSe numbers.
        centers_mm: Label -> body centre, LPS mm; a label without one gets the centre of its thickest part,
            which is the body.

    Raises:
        LabelError: The mask holds other labels than vertebrae, sacrum and coccyx.
    """
    present = set(mask.labels())
    strange = sorted(present - set(VERTEBRA_LABELS) - _BESIDE)
    if strange:
        raise LabelError(
            f"the mask holds labels {', '.join(map(str, strange[:8]))}, which are no VerSe vertebra numbers; "
            "convert it first with spinelab convert-labels"
        )
    given = centers_mm or {}
    boxes = ndimage.find_objects(mask.array.astype(np.int32, copy=False))
    vertebrae = tuple(
        Vertebra(
            level=level(label).name,
            center_mm=given.get(label) or _body_center(mask, label, boxes[label - 1]),
            probability=1.0,
        )
        for label in VERTEBRA_LABELS
        if label in present
    )
    return Spine(vertebrae)


def _body_center(mask: Mask, label: int, box: tuple[slice, ...]) -> Point:
    """Centre of the voxels at least half as deep inside the label as the deepest, LPS mm."""
    inside = np.pad(mask.array[box] == label, 1)
    depth = ndimage.distance_transform_edt(inside, sampling=mask.spacing_mm)
    index = np.argwhere(depth >= depth.max() / 2).mean(axis=0) - 1 + [part.start for part in box]
    x, y, z = mask.geometry.index_to_world(index)
    return (float(x), float(y), float(z))
