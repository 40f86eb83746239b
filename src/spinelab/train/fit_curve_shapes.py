"""Fits the curve-shape model (`spinelab/data/curve_shapes.json`) from public landmark tables.

Run ``python -m spinelab.train.fit_curve_shapes`` with SPINELAB_DATA naming the folder that holds ``xray_ap/``
and ``tables/``. Coronal shapes: AP film corners of AASCE 2019 (SpineWeb 16), four fifths of the patients
(`film_corners.held_out`). Sagittal shapes and axial rotation: vertebra key points of VID (CT, lying). Only
means, components and spreads are written.
"""

import csv
import json
import os
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GroupKFold

from spinelab.anatomy import levels_between
from spinelab.errors import UnreadableError
from spinelab.simulate.column_line import CHORD_LEVELS, deviate_from_chord, trace_centers
from spinelab.simulate.curve_model import build_curve_model
from spinelab.train.film_corners import LEVELS, FilmSets, held_out, read_film_sets

Float = NDArray[np.float64]
VID_TABLE = Path("tables") / "vid_vertebra_keypoints_lps_mm.csv"
#: Components kept: they hold what a column does; the rest has the size of the error of reading a tilt.
COMPONENTS = 8
MIXTURES = (1, 2, 3, 4, 6, 8)
#: Added to the variances of the standardised scores: keeps a mixture from closing in on single sets.
SMOOTHING = 0.1
#: Power of the size that profiles are divided by: with 1 the many curves of small columns, which are half
#: noise, weigh as much as large ones and draws have a curve too many; with 0 draws lack small columns.
FLATTENING = 0.7
#: Probabilities at which the distribution of sizes is written down.
SIZE_KNOTS = np.array([0.005, 0.02, 0.05, *np.arange(0.1, 0.95, 0.1), 0.95, 0.98, 0.995])
#: Rounds in which the spread of the draws is brought to that of the films.
SPREAD_ROUNDS = 3
SAGITTAL_COMPONENTS = 5
#: Scans with at least this many vertebrae and this range of coronal tilt show how rotation follows deviation.
CURVED_LEVELS, CURVED_DEG = 9, 12.0
#: Apical rotation over Cobb angle of 62 adolescents, 22 (12) to 68 (15) degrees standing (Brink et al.,
#: Scoliosis Spinal Disord 2017;12:6), and how it varies between people of one Cobb angle. VID shows the same
#: sign and a smaller slope, but its curves are few, small and those of older people lying down.
ROTATION_PER_COBB, ROTATION_VARIES = 0.32, 0.45
NECK = levels_between("C1", "C7")
ATTRIBUTION = (
    "Statistics of the AP film landmarks of AASCE 2019 (SpineWeb data set 16; Wu et al. 2017) and of "
    "vertebra key points of VID (Bürgin et al., CC BY-SA 4.0). "
    "These statistics are shared under CC BY-SA 4.0."
)


def fit_coronal(sets: FilmSets) -> dict[str, Any]:
    """Returns the model of the leans as JSON data.

    A profile is taken apart into its size (root mean square lean) and its shape (the profile over a power of
    its size): principal components of the shapes, and a Gaussian mixture of their scores with the size.
    """
    tilts = sets.coronal_deg
    size = np.sqrt(np.mean(tilts**2, axis=1))
    flattened = size[:, None] ** FLATTENING
    shapes = tilts / flattened
    mean = shapes.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(shapes.T))
    values, vectors = values[::-1], vectors[:, ::-1]
    components = vectors[:, :COMPONENTS].T
    scores = (shapes - mean) @ components.T
    scale = scores.std(axis=0)
    rest = (shapes - mean - scores @ components) * flattened
    knots = norm.ppf(SIZE_KNOTS)
    sizes = np.quantile(size, SIZE_KNOTS)
    features = np.column_stack([scores / scale, np.interp(np.log(size), np.log(sizes), knots)])
    number, likelihoods = choose_mixture(features, sets.patient)
    mixture = _mixture(number).fit(features)
    # smoothing widens the size too, whose spread is known: taken back
    unsmoothed = np.array([1.0] * COMPONENTS + [1 / np.sqrt(1 + SMOOTHING)])
    return {
        "sets": len(tilts),
        "patients": len(np.unique(sets.patient)),
        "size_scores": _rounded(knots, 4),
        "size_deg": _rounded(sizes, 2),
        "shape_mean": _rounded(mean, 4),
        "components": _rounded(components, 4),
        "scale": _rounded(scale, 4),
        "explained_variance": _rounded(values / values.sum(), 4),
        "explained_in_degrees": round(
            1 - float(np.sum(rest**2) / np.sum((tilts - tilts.mean(axis=0)) ** 2)), 4
        ),
        "reading": fit_reading(rest, size),
        "log_likelihood_by_mixture": likelihoods,
        "weights": _rounded(mixture.weights_, 4),
        "means": _rounded(mixture.means_ * unsmoothed, 3),
        "covariances": _rounded(mixture.covariances_ * np.outer(unsmoothed, unsmoothed), 4),
    }


def fit_reading(rest: Float, size: Float) -> dict[str, Any]:
    """Returns the model of what the components leave over of the films.

    Args:
        rest: (n, 17) degrees.
        size: (n,) root mean square leans of the films, degrees.
    """
    kept = rest.shape[1] - COMPONENTS
    logs = np.log(np.sqrt(np.mean(rest**2, axis=1)))
    grows, start = np.polyfit(np.log(size), logs, 1)
    # of so few numbers the root mean square varies without films differing in it
    chance = np.log(np.random.default_rng(0).chisquare(kept, 100_000)).std() / 2
    varies = np.std(logs - grows * np.log(size) - start)
    middle = np.exp(np.interp(0.0, norm.ppf(SIZE_KNOTS), np.log(np.quantile(size, SIZE_KNOTS))))
    values, vectors = np.linalg.eigh(np.cov((rest / ((size / middle) ** grows)[:, None]).T))
    values, vectors = values[::-1][:kept], vectors[:, ::-1][:, :kept]
    return {
        "components": _rounded(vectors.T, 4),
        "scale_deg": _rounded(np.sqrt(np.maximum(values, 0)), 3),
        "varies_by": round(float(np.sqrt(max(varies**2 - chance**2, 0.0))), 3),
        "grows_with_size": round(float(grows), 3),
    }


def match_spread(data: dict[str, Any]) -> dict[str, Any]:
    """Returns the model with its mixture scaled so that the scores of draws spread as those of the films do.

    Smoothing the mixture widens it, and bringing shapes to their sizes changes the scores once more.

    Args:
        data: The whole model.
    """
    coronal = data["coronal"]
    for _ in range(SPREAD_ROUNDS):
        drawn = build_curve_model(data).draw_coronal(np.random.default_rng(0), 20_000)
        shapes = drawn / np.sqrt(np.mean(drawn**2, axis=1))[:, None] ** FLATTENING
        scores = (shapes - coronal["shape_mean"]) @ np.transpose(coronal["components"])
        factor = np.append(coronal["scale"] / scores.std(axis=0), 1.0)
        coronal = coronal | {
            "means": _rounded(coronal["means"] * factor, 3),
            "covariances": _rounded(coronal["covariances"] * np.outer(factor, factor), 4),
        }
        data = data | {"coronal": coronal}
    return data


def choose_mixture(scores: Float, patients: NDArray[np.str_]) -> tuple[int, dict[str, float]]:
    """Returns the number of Gaussians that foretells left-out patients best, and all mean log likelihoods."""
    likelihoods = {}
    for number in MIXTURES:
        parts = []
        for train, test in GroupKFold(5).split(scores, groups=patients):
            parts.append(_mixture(number).fit(scores[train]).score_samples(scores[test]))
        likelihoods[str(number)] = round(float(np.concatenate(parts).mean()), 3)
    return int(max(likelihoods, key=lambda number: likelihoods[number])), likelihoods


def fit_proportions(sets: FilmSets) -> dict[str, Any]:
    """Returns median proportions of the column and how bending is shared by bodies and discs."""
    steps = np.linalg.norm(np.diff(sets.center_px, axis=1), axis=2)
    length = steps.sum(axis=1, keepdims=True)
    bend = (sets.coronal_deg[:, 2:] - sets.coronal_deg[:, :-2]) / 2
    wedge = -sets.wedge_deg[:, 1:-1]
    sound = np.abs(sets.wedge_deg).max(axis=1) < 30
    share = [float(np.polyfit(bend[sound, k], wedge[sound, k], 1)[0]) for k in range(bend.shape[1])]
    return {
        "center_distance": _rounded(np.median(steps / length, axis=0), 4),
        "body_height": _rounded(np.median(sets.height_px / length, axis=0), 4),
        "body_share_of_bend_T2_to_L4": _rounded(np.array(share), 2),
    }


def fit_sagittal(scans: list[dict[str, Float]]) -> dict[str, Any]:
    """Returns the mean lean to the back of C1 ... L5 and principal components of T1 ... L5.

    Args:
        scans: One scan a patient, level name to (3, 3): body centre, left and right point, LPS mm.
    """
    leans = _without_outliers(np.array([_sagittal_leans(scan) for scan in scans]))
    trunk = leans[:, len(NECK) :]
    trunk = trunk[np.isfinite(trunk).sum(axis=1) >= 2]
    mean, covariance = fit_incomplete(trunk)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    return {
        "patients": len(trunk),
        "seen": [int(n) for n in np.isfinite(trunk).sum(axis=0)],
        "mean_deg": _rounded(mean, 2),
        "neck_mean_deg": _rounded(np.nanmean(leans[:, : len(NECK)], axis=0), 2),
        "components": _rounded(vectors[:, :SAGITTAL_COMPONENTS].T, 4),
        "scale_deg": _rounded(np.sqrt(values[:SAGITTAL_COMPONENTS]), 3),
        "explained_variance": _rounded(values / values.sum(), 4),
    }


def fit_incomplete(rows: Float, rounds: int = 40) -> tuple[Float, Float]:
    """Returns mean and covariance of rows with gaps (nan), by expectation maximisation.

    Args:
        rows: (n, m).
        rounds: Iterations.
    """
    mean = np.nanmean(rows, axis=0)
    covariance = np.diag(np.nanvar(rows, axis=0))
    for _ in range(rounds):
        full, extra = np.empty_like(rows), np.zeros_like(covariance)
        for k, row in enumerate(rows):
            seen = np.isfinite(row)
            gain = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[seen]).T
            full[k] = mean + gain @ (row[seen] - mean[seen])
            full[k, seen] = row[seen]
            extra += covariance - gain @ covariance[seen]
        mean = full.mean(axis=0)
        covariance = (np.cov(full.T, bias=True) * len(rows) + extra) / len(rows) + 0.05 * np.eye(len(mean))
    return mean, covariance


def fit_axial(sets: FilmSets, scans: list[dict[str, Float]], length_mm: float) -> dict[str, Any]:
    """Returns how far vertebrae turn for their deviation from the chord over `CHORD_LEVELS` to either side.

    The slope is such that the apical rotation of the film sets has the published share of the Cobb angle.

    Args:
        sets: Films, for deviation against Cobb angle.
        scans: As in `fit_sagittal`; they show the sign and the size of the same relation.
        length_mm: Length of the column T1 to L5; deviations are given as shares of it.
    """
    distances = np.array(fit_proportions(sets)["center_distance"])
    ratios = []
    for tilts in sets.coronal_deg[np.ptp(sets.coronal_deg, axis=1) >= 25]:
        deviation = deviate_from_chord(trace_centers(tilts, distances))[CHORD_LEVELS:-CHORD_LEVELS]
        ratios.append(np.abs(deviation).max() / np.ptp(tilts))
    return {
        "deg_per_column_length": round(ROTATION_PER_COBB / float(np.median(ratios)), 1),
        "varies_by": ROTATION_VARIES,
        "vid": _vid_rotation(scans, length_mm),
    }


def _vid_rotation(scans: list[dict[str, Float]], length_mm: float) -> dict[str, Any]:
    """Returns the same slope in curved CT scans: scans, slope, share of the variance it explains."""
    deviations, turns = [], []
    for scan in scans:
        seen = [name for name in LEVELS if name in scan]
        if len(seen) < CURVED_LEVELS or seen != list(levels_between(seen[0], seen[-1])):
            continue
        points = np.array([scan[name] for name in seen])
        steps = points[:-1, 0] - points[1:, 0]
        tilt = np.convolve(np.degrees(np.arctan2(steps[:, 0], steps[:, 2])), (0.25, 0.5, 0.25), "valid")
        across = points[:, 1] - points[:, 2]
        turn = np.degrees(np.arctan2(across[:, 1], across[:, 0]))
        # vertebrae that differ by more are points put wrongly
        if np.ptp(tilt) < CURVED_DEG or np.ptp(turn) > 40:
            continue
        inner = slice(CHORD_LEVELS, -CHORD_LEVELS)
        deviation = deviate_from_chord(points[:, 0, [0, 2]])[inner] / length_mm
        deviations.append(deviation - deviation.mean())
        turns.append(turn[inner] - turn[inner].mean())
    x, y = np.concatenate(deviations), np.concatenate(turns)
    return {
        "scans": len(deviations),
        "deg_per_column_length": round(float(x @ y / (x @ x)), 1),
        "correlation": round(float(x @ y / np.sqrt((x @ x) * (y @ y))), 2),
    }


def read_vid(data: Path) -> list[dict[str, Float]]:
    """Reads the first scan (by name) of every patient of VID: level name to (3, 3) LPS mm.

    Raises:
        UnreadableError: The table is missing.
    """
    path = data / VID_TABLE
    if not path.is_file():
        raise UnreadableError(f"no {path}; set SPINELAB_DATA to the folder with xray_ap/ and tables/")
    scans: dict[tuple[str, str], dict[str, Float]] = defaultdict(dict)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            points = [
                [row[f"{what}_{axis}"] or "nan" for axis in "xyz"] for what in ("body", "left", "right")
            ]
            array = np.array(points, dtype=np.float64)
            if np.isfinite(array).all():
                scans[row["patient"], row["id"]][row["level"]] = array
    first: dict[str, dict[str, Float]] = {}
    for (patient, _), scan in sorted(scans.items()):
        first.setdefault(patient, scan)
    return list(first.values())


def fit(sets: FilmSets, scans: list[dict[str, Float]]) -> dict[str, Any]:
    """Returns the whole model as JSON data.

    Args:
        sets: Films to fit.
        scans: One CT scan a patient, as `read_vid` gives them.
    """
    trunk_mm = _trunk_length_mm(scans)
    return match_spread(
        {
            "about": ATTRIBUTION,
            "licence": "CC BY-SA 4.0",
            "fitted_by": "python -m spinelab.train.fit_curve_shapes",
            "levels": list(LEVELS),
            "coronal": fit_coronal(sets),
            "proportions": fit_proportions(sets) | {"column_length_mm": round(trunk_mm, 1)},
            "sagittal": fit_sagittal(scans),
            "axial": fit_axial(sets, scans, trunk_mm),
        }
    )


def main() -> None:
    """Writes `spinelab/data/curve_shapes.json` from the folder that SPINELAB_DATA names."""
    here = Path(__file__).resolve()
    data = Path(os.environ.get("SPINELAB_DATA", here.parents[4] / "shared" / "data"))
    sets = read_film_sets(data)
    model = fit(sets.chosen(~held_out(sets.patient)), read_vid(data))
    target = here.parents[1] / "data" / "curve_shapes.json"
    target.write_text(json.dumps(model, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _mixture(number: int) -> GaussianMixture:
    return GaussianMixture(number, reg_covar=SMOOTHING, n_init=5, random_state=0, max_iter=500)


def _rounded(values: Float, digits: int) -> Any:
    return np.round(values, digits).tolist()


def _trunk_length_mm(scans: list[dict[str, Float]]) -> float:
    """Returns the sum over T1 ... L5 of the median distance between neighbouring centres."""
    total = 0.0
    for upper, lower in pairwise(LEVELS):
        both = [s for s in scans if upper in s and lower in s]
        total += float(np.median([np.linalg.norm(s[upper][0] - s[lower][0]) for s in both]))
    return total


def _sagittal_leans(scan: dict[str, Float]) -> Float:
    """Returns (24,) degrees by which the line of centres leans to the back at C1 ... L5, nan where unseen.

    At C1 and L5, which have one neighbour, the change of the lean goes on as between the last two steps.
    """
    gap = np.full((3, 3), np.nan)
    points = np.array([scan.get(name, gap)[0] for name in (*NECK, *LEVELS)])
    steps = points[:-1] - points[1:]
    tilts = np.degrees(np.arctan2(steps[:, 1], steps[:, 2]))
    middle = (tilts[1:] + tilts[:-1]) / 2
    first, last = 1.5 * tilts[0] - 0.5 * tilts[1], 1.5 * tilts[-1] - 0.5 * tilts[-2]
    return np.concatenate([[first], middle, [last]])


def _without_outliers(values: Float) -> Float:
    """Returns a copy with nan for values further than 5 robust deviations from the column's median."""
    middle = np.nanmedian(values, axis=0)
    spread = 1.4826 * np.nanmedian(np.abs(values - middle), axis=0)
    return np.where(np.abs(values - middle) <= 5 * spread, values, np.nan)


if __name__ == "__main__":
    main()
