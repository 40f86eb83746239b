"""Draws of column shapes: coronal lean, sagittal lean and axial rotation per level, from a fitted model.

The numbers are in ``spinelab/data/curve_shapes.json``, fitted by `spinelab.train.fit_curve_shapes`. Profiles
run over `LEVELS`, T1 to L5; `profile_weights` carries them to other levels.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from spinelab.anatomy import level, levels_between
from spinelab.errors import InputError
from spinelab.simulate.column_line import CHORD_LEVELS, Float, deviate_from_chord, trace_centers

#: The levels that profiles of the model run over.
LEVELS = levels_between("T1", "L5")
#: What a coronal lean keeps a level further towards the head: the neck returns to level.
NECK_KEEPS = 0.7
#: What the sacrum, and a sixth lumbar vertebra on the way to it, keep of the coronal lean of L5.
SACRUM_KEEPS, L6_KEEPS = 0.3, 0.65
#: The endplate of S1 leans to the front by the sacral slope, 41 (8) degrees standing (Vialle et al. 2005,
#: doi:10.2106/JBJS.D.02043). It follows L5 closely: this is how much further than L5 it leans here.
SACRUM_BEYOND_L5_DEG = -20.0


@dataclass(frozen=True, eq=False)
class CurveModel:
    """The fitted numbers; m components, k Gaussians, 17 levels.

    Attributes:
        size_scores, size_deg: (q,) distribution of the root mean square lean: normal scores and degrees.
        shape_mean: (17,) mean shape: leans at a common size, which a draw is then brought from to its own.
        components: (m, 17) unit vectors.
        scale: (m,) standard deviations of the scores.
        weights, means, roots: (k,), (k, m + 1) and (k, m + 1, m + 1): mixture of the standardised scores and
            the normal score of the size, the last as Cholesky factors.
        reading_basis_deg: (r, 17) what single vertebrae and the reader of a film add to the lean of a column
            of middle size: vectors, orthogonal to the components, times their standard deviation.
        reading_varies: Standard deviation of the logarithm of how much of it a film has.
        reading_grows: Power of the size that it grows with.
        sagittal_mean_deg: (24,) mean lean to the back of C1 ... L5.
        sagittal_basis_deg: (s, 17) components times their standard deviation.
        axial_slope: degrees of turn per deviation from the chord in lengths of the column.
        axial_varies: by what share of it people differ (standard deviation).
        center_distance: (16,) distances of neighbouring centres, their sum being 1.
    """

    size_scores: Float
    size_deg: Float
    shape_mean: Float
    components: Float
    scale: Float
    weights: Float
    means: Float
    roots: Float
    reading_basis_deg: Float
    reading_varies: float
    reading_grows: float
    sagittal_mean_deg: Float
    sagittal_basis_deg: Float
    axial_slope: float
    axial_varies: float
    center_distance: Float

    def draw_coronal(self, rng: np.random.Generator, count: int) -> Float:
        """Returns (count, 17) coronal leans as they occur in the films the model was fitted to."""
        chosen = rng.choice(len(self.weights), size=count, p=self.weights)
        white = rng.standard_normal((count, self.means.shape[1]))
        scores = self.means[chosen] + np.einsum("nij,nj->ni", self.roots[chosen], white)
        shapes = self.shape_mean + (scores[:, :-1] * self.scale) @ self.components
        sizes = np.exp(np.interp(scores[:, -1], self.size_scores, np.log(self.size_deg)))
        drawn: Float = shapes * (sizes / np.sqrt(np.mean(shapes**2, axis=1)))[:, None]
        return drawn

    def draw_sagittal(self, rng: np.random.Generator) -> Float:
        """Returns (24,) leans to the back of C1 ... L5."""
        trunk = rng.standard_normal(len(self.sagittal_basis_deg)) @ self.sagittal_basis_deg
        # the neck leans with T1, less and less towards the head
        fading = trunk[0] * NECK_KEEPS ** np.arange(len(self.sagittal_mean_deg) - len(trunk), 0, -1)
        leans: Float = self.sagittal_mean_deg + np.concatenate([fading, trunk])
        return leans

    def draw_axial(self, rng: np.random.Generator, coronal_deg: Float) -> Float:
        """Returns (17,) turns that follow the lateral deviation, the front turning to the convex side.

        Args:
            rng: Draws how much these vertebrae turn for their deviation.
            coronal_deg: (17,) coronal leans.
        """
        places = np.arange(-CHORD_LEVELS, len(LEVELS) + CHORD_LEVELS, dtype=np.float64)
        points = trace_centers(profile_weights(places) @ coronal_deg, distances_between(places))
        slope = self.axial_slope * max(1 + self.axial_varies * rng.standard_normal(), 0.0)
        turned: Float = slope * deviate_from_chord(points)[CHORD_LEVELS:-CHORD_LEVELS]
        return turned


def add_reading_noise(rng: np.random.Generator, coronal_deg: Float, model: CurveModel | None = None) -> Float:
    """Returns leans as read from corners on a film: what single vertebrae and the reader add is put on.

    The model keeps this apart: `draw_coronal` draws smooth columns, films are compared with noise on. It is
    what the components leave over of the films, 2 degrees a vertebra, the size of reading errors. Films
    differ in how carefully they were read, and larger curves are read less well.

    Args:
        rng: Draws the noise.
        coronal_deg: (..., 17) coronal leans of T1 ... L5.
        model: Where the noise comes from (default: the shipped model).
    """
    model = model or load_curve_model()
    size = np.sqrt(np.mean(coronal_deg**2, axis=-1, keepdims=True))
    middle = np.interp(0.0, model.size_scores, model.size_deg)
    amount = (np.maximum(size, model.size_deg[0]) / middle) ** model.reading_grows
    # of mean square 1: the spread between films is part of the basis
    amount = amount * np.exp(model.reading_varies * (rng.standard_normal(size.shape) - model.reading_varies))
    white = rng.standard_normal((*coronal_deg.shape[:-1], len(model.reading_basis_deg)))
    read: Float = coronal_deg + amount * (white @ model.reading_basis_deg)
    return read


def positions_of(levels: Sequence[str]) -> Float:
    """Returns (n,) places along the column: T1 = 0, L5 = 16, T13 = 11.5, L6 = 16.5, sacrum = 17, C7 = -1.

    Raises:
        LabelError: A name is no level.
        InputError: No levels, a level twice, out of order, or the coccyx.
    """
    between = {"T13": 11.5, "L6": 16.5, "S": 17.0}
    usual = levels_between("C1", "L5")
    names = [level(name).name for name in levels]
    if not names or "Co" in names:
        raise InputError(f"levels {names} cannot bear a curve; name vertebrae from C1 to L6, or S")
    places = np.array([between[n] if n in between else usual.index(n) - 7.0 for n in names])
    if (np.diff(places) <= 0).any():
        raise InputError(f"levels {names} are not in order from the head down, each once; sort them")
    return places


def distances_between(places: Float) -> Float:
    """Returns (n - 1,) distances between the centres at these places, as shares of the column T1 to L5.

    Above T1 the vertebrae are taken to be as high as T1, below L5 as high as L5.
    """
    inner = load_curve_model().center_distance
    arc = np.concatenate([[0.0], np.cumsum(inner)])
    along = np.interp(places, np.arange(len(arc)), arc)
    along += np.minimum(places, 0) * inner[0] + np.maximum(places - 16, 0) * inner[-1]
    lengths: Float = np.diff(along)
    return lengths


def profile_weights(places: Float, *, sacrum_keeps: float = SACRUM_KEEPS) -> Float:
    """Returns (n, 17) weights that carry a T1 ... L5 profile to other places.

    Between levels they interpolate; above T1 the profile fades, below L5 it returns towards level.
    """
    weights = np.zeros((len(places), len(LEVELS)))
    low = np.clip(np.floor(places), 0, 15).astype(int)
    share = np.clip(places, 0, 16) - low
    rows = np.arange(len(places))
    weights[rows, low] = 1 - share
    weights[rows, low + 1] = share
    below = np.clip(places - 16, 0, 1)
    fade = np.where(places < 0, NECK_KEEPS ** np.maximum(-places, 0), 1 - below * (1 - sacrum_keeps))
    carried: Float = weights * fade[:, None]
    return carried


def carry_sagittal(profile_deg: Float, places: Float) -> Float:
    """Returns (n,) sagittal leans at `places` of a (24,) profile of C1 ... L5."""
    leans: Float = np.interp(places, np.arange(-7, 17), profile_deg)
    return leans + np.clip(places - 16, 0, 1) * SACRUM_BEYOND_L5_DEG


@lru_cache(maxsize=1)
def load_curve_model() -> CurveModel:
    """Returns the fitted model shipped with spinelab."""
    text = files("spinelab").joinpath("data/curve_shapes.json").read_text(encoding="utf-8")
    return build_curve_model(json.loads(text))


def build_curve_model(data: dict[str, Any]) -> CurveModel:
    """Returns the model of the JSON data that `spinelab.train.fit_curve_shapes` makes."""
    coronal, sagittal = data["coronal"], data["sagittal"]
    reading = coronal["reading"]
    basis = np.array(sagittal["components"]) * np.array(sagittal["scale_deg"])[:, None]
    distance = np.array(data["proportions"]["center_distance"])
    return CurveModel(
        size_scores=np.array(coronal["size_scores"]),
        size_deg=np.array(coronal["size_deg"]),
        shape_mean=np.array(coronal["shape_mean"]),
        components=np.array(coronal["components"]),
        scale=np.array(coronal["scale"]),
        weights=np.array(coronal["weights"]) / np.sum(coronal["weights"]),
        means=np.array(coronal["means"]),
        roots=np.linalg.cholesky(np.array(coronal["covariances"])),
        reading_basis_deg=np.array(reading["components"]) * np.array(reading["scale_deg"])[:, None],
        reading_varies=float(reading["varies_by"]),
        reading_grows=float(reading["grows_with_size"]),
        sagittal_mean_deg=np.array(sagittal["neck_mean_deg"] + sagittal["mean_deg"]),
        sagittal_basis_deg=basis,
        axial_slope=float(data["axial"]["deg_per_column_length"]),
        axial_varies=float(data["axial"]["varies_by"]),
        center_distance=distance / distance.sum(),
    )
