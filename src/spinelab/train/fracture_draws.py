"""Simulated collapse for the fracture network: columns bent, some bodies collapsed, sliced, cut into crops.

The truth is exact: what the simulator took from each height of a body, of its own former height. Bodies that
geometry finds intact are drawn as they are too, with nothing lost.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spinelab.anatomy import level
from spinelab.errors import SpinelabError
from spinelab.measurement import Outlines, measure
from spinelab.measurement.bodies import Body
from spinelab.measurement.heights import measure_heights
from spinelab.models import load
from spinelab.simulate.deformation import Deformed
from spinelab.spine import Heights, Spine, Vertebra
from spinelab.tasks.fracture import grade_fractures
from spinelab.tasks.fracture_crop import CROP_SHAPE, OWN, Crop, crop_body, crop_points
from spinelab.tasks.frames import column_frames
from spinelab.tasks.outline import Canvas, outline_one
from spinelab.train import augment
from spinelab.train.collapsed import Scan, draw_column, paint_scan
from spinelab.volume import Geometry, Image, Mask

Array = NDArray[np.float64]
Source = Literal["simulated", "outlined", "labelled", "unlabelled"]

#: Pixels of a crop that is kept: with room to turn, shift and scale it in training.
KEPT_SHAPE = (CROP_SHAPE[0] + 16, CROP_SHAPE[1] + 24)
#: Pixels of its own outline a crop must show.
LEAST_PIXELS = 200
#: How many of the scans show the outlines as they are on their slices, as a mask read from a file does.
FROM_MASK = 0.2
#: Standard deviation of the centre a body is outlined around, mm.
FOUND_SD_MM = 1.5


@dataclass(frozen=True)
class DrawOptions:
    """How columns are drawn.

    Attributes:
        collapsed_share: How many of the intact bodies collapse.
        thickness_mm: Ranges of slice thickness; one is drawn of each.
    """

    collapsed_share: float = 0.3
    thickness_mm: tuple[tuple[float, float], ...] = ((1.0, 1.6), (2.0, 3.0), (3.5, 5.2))


@dataclass(frozen=True, eq=False)
class Sample:
    """One body as the network may see it.

    Attributes:
        case, level: Whose.
        source: Where the target comes from.
        slice_mm: Thickness of the slices.
        crop: Of `KEPT_SHAPE`.
        lost_percent: (3,) what anterior, middle and posterior height have lost; NaN where unknown.
        most_percent: Between which limits the height that lost most has; both alike where it is exact.
        probability: That at least 20 % are lost, 0 to 1.
        shape: Of the collapse, "" where there is none or it is unknown.
        geometry: What geometry reads (`Fracture` as JSON values), empty where it was not asked.
    """

    case: str
    level: str
    source: Source
    slice_mm: float
    crop: Crop
    lost_percent: Array
    most_percent: tuple[float, float]
    probability: float
    shape: str
    geometry: dict[str, Any] = field(default_factory=dict)


def draw_samples(
    scan: Scan, rng: np.random.Generator, options: DrawOptions = DrawOptions()
) -> Iterator[Sample]:
    """Yields the bodies of one drawn deformation of a scan at several slice thicknesses; none if it folds.

    Of painted scans the readings of geometry are not kept: readers are not weighed by them.
    """
    painted, scan = scan.painted, paint_scan(scan, rng)
    try:
        deformed, shapes = draw_column(scan, rng, options.collapsed_share)
    except SpinelabError:
        return
    lost = {name: _lose(scan, deformed, name) for name in scan.intact}
    for thickness in _draw_thickness(scan, options.thickness_mm, rng):
        image, _ = slice_scan(deformed.image, deformed.mask, thickness, float(rng.random()))
        # As `spinelab.analyze` does: outlined by the shipped network, measured, read by geometry.
        drawn = outline_drawn(image, _draw_centers(deformed, rng))
        places = measure_places(*drawn)
        outlines = drawn[2] if rng.random() > FROM_MASK else None
        for name, place in places.items():
            loss = lost.get(name)
            crop = None if loss is None else keep_crop(image, drawn[0], name, place, outlines)
            if loss is None or crop is None:
                continue
            most, shape = float(loss.max()), shapes.get(name, "")
            yield Sample(
                scan.name, name, "simulated", thickness, crop, loss, (most, most), float(most >= 20), shape,
                {} if painted else place[2],
            )  # fmt: skip


def _draw_thickness(
    scan: Scan, ranges: Sequence[tuple[float, float]], rng: np.random.Generator
) -> Iterator[float]:
    """Yields a slice thickness of each range the scan is fine enough for; its own where it is too coarse."""
    own = scan.image.spacing_mm[2]
    for number, (low, high) in enumerate(ranges):
        thickness = float(rng.uniform(low, high))
        if thickness >= 0.9 * own or number == len(ranges) - 1:
            yield max(thickness, own)


_KEPT_POINTS = crop_points(KEPT_SHAPE)


def keep_crop(
    image: Image, mask: Mask, name: str, place: "Place", outlines: Outlines | None = None
) -> Crop | None:
    """Returns the crop of a body with room around it; None where hardly any of its outline is there."""
    number = level(name).label
    crop = crop_body(
        image, mask, number, center_mm=place[0], frame=place[1], points=_KEPT_POINTS, outlines=outlines
    )
    return crop if (crop.outline == OWN).sum() >= LEAST_PIXELS else None


def slice_scan(image: Image, mask: Mask, thickness_mm: float, phase: float) -> tuple[Image, Mask]:
    """Slices a scan and its outlines head to foot, slices as far apart as thick.

    Args:
        image: (i, j, k) on LPS axes.
        mask: On the same grid.
        thickness_mm: Of the slices; those that are as thick already stay.
        phase: 0 to 1, where the first one lies.
    """
    step = thickness_mm / image.spacing_mm[2]
    if step < 1.2:
        return image, mask
    array, places = augment.slice_thick(image.array, step, phase)
    affine = image.geometry.affine.copy()
    affine[:3, 3] += affine[:3, 2] * places[0]
    affine[:3, 2] *= step
    geometry = Geometry((*array.shape[:2], len(places)), affine)
    labels = np.ascontiguousarray(mask.array[:, :, np.round(places).astype(int)])
    return replace(image, array=np.round(array).astype(np.int16), geometry=geometry), Mask(labels, geometry)


def lost_shares(before: Heights, after: Heights) -> Array:
    """Returns (3,) per cent that anterior, middle and posterior height have lost."""
    pairs = [(getattr(before, k), getattr(after, k)) for k in ("anterior", "middle", "posterior")]
    return np.array([max(0.0, 100 * (1 - b / a)) for a, b in pairs])


def _lose(scan: Scan, deformed: Deformed, name: str) -> Array | None:
    """Returns what each height of a body has lost; None where it cannot be told."""
    place = next(v for v in deformed.truth["vertebrae"] if v["level"] == name)
    body: Body | None = scan.column.found.bodies.get(name)
    if body is None or not place["in_view"]:
        return None
    before, after = measure_heights(body), Heights(**place["heights_mm"])
    known = (before.anterior, before.middle, before.posterior, after.anterior, after.middle, after.posterior)
    if not all(known):
        return None
    if name not in deformed.deformation.changes:
        return np.zeros(3)
    return lost_shares(before, after)


#: Centre and frame of a body, and what geometry reads of it.
Place = tuple[Array, Array, dict[str, Any]]


def outline_drawn(image: Image, centers_mm: Mapping[str, Array]) -> tuple[Mask, Spine, Outlines]:
    """Outlines the vertebrae of a drawn scan with the shipped network.

    Args:
        image: The scan.
        centers_mm: Level -> (3,) about the centre of its body, LPS mm, from the head down.

    Returns:
        VerSe numbers on the scan's grid, the vertebrae, and their outlines as they were before.
    """
    network, canvas = load("outline", threads=1), Canvas(image.geometry)
    points = np.array(list(centers_mm.values()))
    frames, vertebrae = column_frames(points), []
    for place, name in enumerate(centers_mm):
        others = np.delete(points, place, axis=0)
        patch = outline_one(image, network, center_mm=points[place], frame=frames[place], others_mm=others)
        if canvas.add(patch, level(name).label):
            x, y, z = points[place]
            complete = not patch.body_is_cut
            vertebrae.append(Vertebra(name, (float(x), float(y), float(z)), 1.0, complete=complete))
    return Mask(canvas.labels, image.geometry), Spine(tuple(vertebrae)), canvas.outlines


def _draw_centers(deformed: Deformed, rng: np.random.Generator) -> dict[str, Array]:
    """Returns level -> centre of each body in view as a detector may find it."""
    return {
        entry["level"]: np.array(entry["center_mm"]) + rng.normal(0, FOUND_SD_MM, 3)
        for entry in deformed.truth["vertebrae"]
        if entry["in_view"] and entry["level"] != "S"
    }


def measure_places(mask: Mask, spine: Spine, outlines: Outlines | None = None) -> dict[str, Place]:
    """Returns level -> centre, frame and geometry's reading of a column, all from its outlines."""
    spine = grade_fractures(measure(None, mask, spine, outlines=outlines))
    places = {}
    for vertebra in spine.vertebrae:
        if vertebra.frame is None or vertebra.fracture is None or not vertebra.fracture.evaluable:
            continue
        reading = asdict(vertebra.fracture)
        places[vertebra.level] = (np.array(vertebra.center_mm), vertebra.frame.matrix(), reading)
    return places
