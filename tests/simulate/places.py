"""A phantom vertebra as a site, and masks carried along with a change."""

from functools import cache

import numpy as np

from spinelab.measurement import find_column
from spinelab.simulate.changes import find_site
from spinelab.volume import Mask
from tests.phantom import make_phantom


@cache
def phantom():
    """T12-L3 at 1 mm, leaning and oblique so that rounding to voxels averages out over an endplate."""
    return make_phantom(
        levels=("T12", "L1", "L2", "L3"),
        spacing_mm=(1, 1, 1),
        oblique_deg=(8, 9, 3),
        coronal_deg={"T12": 4, "L3": -9},
        sagittal_deg={"T12": -11, "L3": 10},
    )


@cache
def site(level="L1"):
    return find_site(find_column(phantom().mask, phantom().spine), level)


def to_world(place, local):
    return place.body.grid.to_world(local)


def warp(mask, place, change):
    """Returns the mask after a change: every voxel takes the label of the nearest to where it came from."""
    corners = np.array(np.meshgrid(*change.reach_mm)).reshape(3, -1).T
    index = mask.geometry.world_to_index(to_world(place, corners))
    start = np.maximum(np.floor(index.min(axis=0)), 0).astype(int)
    stop = np.minimum(np.ceil(index.max(axis=0)) + 1, mask.geometry.shape).astype(int)
    voxels = np.stack(np.meshgrid(*map(np.arange, start, stop), indexing="ij"), axis=-1).reshape(-1, 3)
    source = change.undo(place.to_local(mask.geometry.index_to_world(voxels)))
    nearest = np.round(mask.geometry.world_to_index(to_world(place, source))).astype(int)
    nearest = np.clip(nearest, 0, np.array(mask.geometry.shape) - 1)
    array = mask.array.copy()
    array[tuple(voxels.T)] = mask.array[tuple(nearest.T)]
    return Mask(array, mask.geometry)
