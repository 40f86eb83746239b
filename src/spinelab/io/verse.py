"""VerSe centroid files: body centres in voxels of an image whose axis codes come first.

``[{"direction": ["P", "I", "R"]}, {"label": 20, "X": 40.1, "Y": 71.0, "Z": 55.3}, ...]``
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from spinelab.errors import UnreadableError
from spinelab.io.outputs import writing
from spinelab.io.spine_json import read_json
from spinelab.spine import Point, Spine
from spinelab.volume import Geometry

#: The first VerSe files: 1 mm voxels counted from superior, anterior, right, without a direction.
_OLD_CODES, _OLD_SPACING_MM = "IPL", (1.0, 1.0, 1.0)


def write_centroids(spine: Spine, geometry: Geometry, path: str | Path) -> None:
    """Writes the body centres as a VerSe centroid file.

    Args:
        spine: Its vertebrae, centres in LPS mm.
        geometry: Grid of the image the file goes with: X, Y, Z are voxel indices (from 0) along its i, j, k.
        path: Usually ``STEM_ctd.json``.

    Raises:
        OutputError: The file cannot be written.
    """
    entries: list[dict[str, Any]] = [{"direction": list(geometry.codes)}]
    for vertebra in spine.vertebrae:
        x, y, z = (round(float(value), 3) for value in geometry.world_to_index(vertebra.center_mm))
        entries.append({"label": vertebra.label, "X": x, "Y": y, "Z": z})
    path = Path(path)
    with writing(path):
        path.write_text(json.dumps(entries) + "\n", encoding="utf-8")


def read_centroids(path: str | Path, geometry: Geometry) -> dict[int, Point]:
    """Reads a VerSe centroid file.

    Files without a direction are taken for those of the first VerSe challenge: 1 mm voxels counted from the
    superior, anterior, right corner (exact to about 1 mm).

    Args:
        path: The file.
        geometry: Grid of the image it belongs to, in any orientation.

    Returns:
        For each VerSe number (discs and others included, as the file has them) the point in LPS mm.

    Raises:
        UnreadableError: Missing, not JSON, or not a VerSe centroid file.
    """
    path = Path(path)
    entries = read_json(path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UnreadableError(f"{path} is not a VerSe centroid file: wanted a list; give a _ctd.json file")
    direction = next((entry["direction"] for entry in entries if "direction" in entry), None)
    try:
        points = {
            int(entry["label"]): np.array([entry["X"], entry["Y"], entry["Z"]], dtype=np.float64)
            for entry in entries
            if "label" in entry
        }
        grid = _file_grid(geometry, direction)
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableError(
            f"{path} is not a VerSe centroid file: {error!r}; wanted label, X, Y, Z in every entry"
        ) from error
    world = {label: grid.index_to_world(index) for label, index in points.items() if np.isfinite(index).all()}
    return {label: (float(p[0]), float(p[1]), float(p[2])) for label, p in world.items()}


def _file_grid(geometry: Geometry, direction: Any) -> Geometry:
    """Returns the grid in whose voxels the file counts."""
    if direction is None:
        return geometry.reoriented(_OLD_CODES).resampled(_OLD_SPACING_MM)
    return geometry.reoriented("".join(direction))
