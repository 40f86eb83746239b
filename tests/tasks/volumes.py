"""Grids and blobs whose place in the patient is known, and networks that are formulas."""

import numpy as np
from scipy import ndimage

from spinelab.anatomy import level
from spinelab.models import Network
from spinelab.tasks.frames import OUTLINE_SHAPE
from spinelab.tasks.locate import upright
from spinelab.tasks.outline import _POINTS, Patch, outline_one
from spinelab.volume import Geometry, Image

STRAIGHT = np.eye(3)
SHEAR = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.35], [0.0, 0.0, 1.0]])


def turned(degrees, axis=0):
    """Rotation about a world axis."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    matrix[a, a], matrix[b, b], matrix[a, b], matrix[b, a] = c, c, -s, s
    return matrix


def grid(shape, spacing, *, directions=STRAIGHT, codes="LPS", center=(0.0, 0.0, 0.0)):
    """A grid about a world point; `directions` holds the unit steps of its axes before they are reordered."""
    affine = np.eye(4)
    affine[:3, :3] = directions @ np.diag(spacing)
    affine[:3, 3] = np.asarray(center) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return Geometry(tuple(shape), affine).reoriented(codes)


def world_of(geometry):
    """(i, j, k, 3) LPS mm of every voxel."""
    return geometry.index_to_world(np.stack(np.indices(geometry.shape), -1))


def blob_image(geometry, points, *, sigma_mm=5.0, height=1000.0):
    """A CT of Gaussian blobs over zero."""
    world = world_of(geometry)
    array = np.zeros(geometry.shape, np.float32)
    for point in points:
        array += height * np.exp(-((world - point) ** 2).sum(-1) / (2 * sigma_mm**2))
    return Image(array, geometry, "CT")


class Formula:
    """Stands where an ONNX Runtime session is: answers by a function of the inputs."""

    def __init__(self, function):
        self.function = function
        self.passes = []

    def run(self, outputs, inputs):
        assert outputs is None
        self.passes.append({name: values.shape for name, values in inputs.items()})
        assert all(values.dtype == np.float32 for values in inputs.values())
        return self.function(**inputs)


def network(name, function):
    return Network(name, "0" * 64, Formula(function))


def find_blobs(hu, *, label_of=lambda height: 20, least_hu=500.0):
    """A locate network: heat is the smoothed brightness above `least_hu`; levels by the height in voxels."""
    bright = (hu[0, 0] > least_hu).astype(np.float32)
    heat = ndimage.gaussian_filter(bright, 2.0)
    tissue = np.zeros((1, 4, *hu.shape[2:]), np.float32)
    tissue[0, 0], tissue[0, 1] = 1 - bright, bright
    levels = np.full((1, 26, *(n // 2 for n in hu.shape[2:])), 0.001, np.float32)
    for k in range(levels.shape[-1]):
        levels[0, label_of(2 * k + 0.5) - 1, :, :, k] = 1
    return [heat[None, None], tissue, levels]


_LEFT, _POSTERIOR, _SUPERIOR = np.moveaxis(_POINTS, -1, 0)
_CORE = np.ix_(np.abs(_LEFT[:, 0, 0]) < 12, np.abs(_POSTERIOR[0, :, 0]) < 11, np.ones(_POINTS.shape[2], bool))
_NEAR = np.linalg.norm(_POINTS[_CORE], axis=-1) < 10


def outline_nearest_body(hu, spots):
    """Stands in for the outline network: the bone as high as the body nearest to the patch's centre."""
    bone = hu[0, 0] > 110
    pieces, count = ndimage.label(bone[_CORE])
    votes = np.bincount(pieces[_NEAR], minlength=count + 1)
    votes[0] = 0
    if not votes.any():
        return [np.zeros_like(hu)]
    body = _SUPERIOR[_CORE][pieces == votes.argmax()]
    height = _SUPERIOR + 0.3 * np.maximum(_POSTERIOR - 20, 0)
    mine = bone & (height > body.min() - 1.5) & (height < body.max() + 1.5)
    return [mine.astype(np.float32)[None, None]]


def locate_truth(hu, *, phantom, names):
    """Knows where the bodies of `names` are, and the ribs and the sacrum of all."""
    geometry = upright(phantom.image, 3.0).geometry
    world = geometry.index_to_world(np.stack(np.indices(hu.shape[2:]), -1))
    heat = np.zeros(hu.shape[2:])
    levels = np.full((26, *hu.shape[2:]), 0.001)
    for name in names:
        distance = np.linalg.norm(world - phantom.truth[name].center_mm, axis=-1)
        heat = np.maximum(heat, 0.9 * np.exp(-(distance**2) / 50))
        levels[level(name).label - 1][distance < 15] = 1
    tissue = np.zeros((1, 4, *hu.shape[2:]), np.float32)
    for name, body in phantom.truth.items():
        left, posterior, superior = np.abs(np.moveaxis(world - body.center_mm, -1, 0))
        if name.startswith("T"):
            tissue[0, 3][(left > 20) & (left < 46) & (posterior < 10) & (superior < 8)] = 1
        if name == "S":
            tissue[0, 2][(left < 25) & (posterior < 20) & (superior < 16)] = 1
    tissue[0, 0] = 1 - tissue[0, 1:].sum(0)
    cells = levels[:, ::2, ::2, ::2][None]
    return [heat[None, None].astype(np.float32), tissue, cells.astype(np.float32)]


def blind_near(place_mm, reach_mm):
    """An `outline_one` that outlines nothing where it is asked near a place."""

    def outline(image, net, *, center_mm, frame, others_mm):
        if np.linalg.norm(center_mm - place_mm) < reach_mm:
            nothing = np.zeros(OUTLINE_SHAPE, np.float32)
            return Patch(nothing, center_mm, frame, np.ones(OUTLINE_SHAPE, bool))
        return outline_one(image, net, center_mm=center_mm, frame=frame, others_mm=others_mm)

    return outline


def dice(found, truth, name):
    a, b = found.mask.array == level(name).label, truth.mask.array == level(name).label
    return 2 * (a & b).sum() / (a.sum() + b.sum())
