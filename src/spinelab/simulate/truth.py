"""What is known exactly of a deformed spine, computed from the motions and never from the new voxels."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, get_args

import numpy as np

from spinelab.anatomy import level
from spinelab.measurement.bodies import Body
from spinelab.measurement.curvature import Endplates, measure_curvature
from spinelab.measurement.heights import measure_heights
from spinelab.simulate.changes import Change
from spinelab.simulate.column import SourceColumn
from spinelab.simulate.prediction import predict_heights
from spinelab.simulate.radiograph import CORNERS, View, find_corners
from spinelab.simulate.rigid import Array, RigidMotion
from spinelab.spine import Spine, Vertebra
from spinelab.volume import Geometry

TRUTH_VERSION = "1.0"


def follow_changes(
    column: SourceColumn, changes: Mapping[str, Change]
) -> tuple[list[RigidMotion], SourceColumn]:
    """Returns how the column sinks onto changed vertebrae before it is posed, and the column then.

    Args:
        column: Before.
        changes: Level -> its change.
    """
    places = sorted((column.index(name), change) for name, change in changes.items())
    worlds = [
        (place, change.follow.within(column.axes[place], column.centers_mm[place]),
         change.settle.within(column.axes[place], column.centers_mm[place]))
        for place, change in places
    ]  # fmt: skip
    followed = []
    for i in range(len(column.levels)):
        motion = RigidMotion()
        for place, follow, settle in worlds:
            if place > i:
                motion = settle.after(follow.after(motion))
            elif place == i:
                motion = settle.after(motion)
        followed.append(motion)
    moved = column.moved(followed)
    return followed, _move_plates(column, moved, worlds, followed)


def _move_plates(
    column: SourceColumn,
    moved: SourceColumn,
    worlds: list[tuple[int, RigidMotion, RigidMotion]],
    followed: list[RigidMotion],
) -> SourceColumn:
    """Brings the endplates of changed vertebrae where their change has them."""
    upper, lower = moved.upper_mm.copy(), moved.lower_mm.copy()
    plates = {plate.level: plate for plate in moved.endplates}
    for place, follow, settle in worlds:
        name = column.levels[place]
        source = next((e for e in column.endplates if e.level == name), None)
        top = followed[place].after(follow)
        bottom = followed[place].after(settle.inverse())
        upper[place] = top.apply(column.upper_mm[place])
        lower[place] = bottom.apply(column.lower_mm[place])
        if source is not None:
            plates[name] = replace(
                plates[name],
                superior=None if source.superior is None else top.turn(source.superior),
                inferior=None if source.inferior is None else bottom.turn(source.inferior),
            )
    return replace(moved, upper_mm=upper, lower_mm=lower, endplates=tuple(plates.values()))


def describe_truth(
    column: SourceColumn,
    motions: Mapping[str, RigidMotion],
    changes: Mapping[str, Change],
    geometry: Geometry,
) -> dict[str, Any]:
    """Returns the truth of a deformed scan as JSON values.

    Args:
        column: Before.
        motions: Level -> its rigid motion.
        changes: Level -> its change.
        geometry: Grid of the deformed scan, for what is in view.
    """
    followed, changed = follow_changes(column, changes)
    posed = [motions[n].after(f.inverse()) for n, f in zip(column.levels, followed, strict=True)]
    final = changed.moved(posed)
    curvature = measure_curvature(final.endplates)
    complete = {vertebra.level for vertebra in column.found.vertebrae if vertebra.complete}
    plates = {plate.level: plate for plate in column.endplates}
    return {
        "truth_version": TRUTH_VERSION,
        "frame": "LPS mm",
        "cobb_deg": [asdict(curve) for curve in curvature.coronal],
        "kyphosis": None if curvature.kyphosis is None else asdict(curvature.kyphosis),
        "lordosis": None if curvature.lordosis is None else asdict(curvature.lordosis),
        "vertebrae": [
            {
                **_describe_place(final, i, geometry),
                "complete": name in complete,
                "endplates": [] if name not in plates else _name_endplates(plates[name]),
                "rotation": motions[name].rotation.round(6).tolist(),
                "translation_mm": motions[name].translation_mm.round(4).tolist(),
                **_describe_body(column.found.bodies.get(name), changes.get(name), motions[name]),
            }
            for i, name in enumerate(column.levels)
        ],
        "findings": [change.to_dict() for change in changes.values()],
    }


def _describe_place(column: SourceColumn, place: int, geometry: Geometry) -> dict[str, Any]:
    coronal, sagittal, axial = column.tilts_deg()[place]
    return {
        "level": column.levels[place],
        "label": level(column.levels[place]).label,
        "center_mm": column.centers_mm[place].round(3).tolist(),
        "coronal_deg": round(float(coronal), 3),
        "sagittal_deg": round(float(sagittal), 3),
        "axial_deg": round(float(axial), 3),
        "in_view": bool(geometry.contains(column.centers_mm[place])),
    }


def _name_endplates(plates: Endplates) -> list[str]:
    """Returns which endplates of a vertebra the scan shows."""
    sides = {"superior": plates.superior, "inferior": plates.inferior}
    return [name for name, normal in sides.items() if normal is not None]


def _describe_body(body: Body | None, change: Change | None, motion: RigidMotion) -> dict[str, Any]:
    if body is None:
        return {}
    heights = measure_heights(body) if change is None else predict_heights(body, change)
    corners = {}
    for view in get_args(View):
        points = find_corners({"": body}, view).get("")
        if points is not None:
            moved = motion.apply(body.grid.to_world(_change(points, body, change)))
            corners[view] = dict(zip(CORNERS[view], moved.round(3).tolist(), strict=True))
    return {
        "heights_mm": {k: None if v is None else round(v, 2) for k, v in asdict(heights).items()},
        "corners_mm": corners,
    }


def _change(points_mm: Array, body: Body, change: Change | None) -> Array:
    """Returns LPS points of a body in local mm, after its change."""
    local = np.asarray((points_mm - body.center_mm) @ body.grid.axes.T)
    return local if change is None else change.apply(local)


def spine_of_truth(truth: Mapping[str, Any]) -> Spine:
    """Returns the vertebrae of a truth, without the sacrum, as a `Spine` (centres alone)."""
    return Spine(
        tuple(
            Vertebra(level=entry["level"], center_mm=tuple(entry["center_mm"]), probability=1.0)
            for entry in truth["vertebrae"]
            if entry["level"] != "S" and entry["in_view"]
        )
    )
