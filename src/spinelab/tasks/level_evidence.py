"""Candidate body centres as a locate network gives them, and what their level vectors say."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinelab.errors import InputError
from spinelab.spine import Point
from spinelab.tasks.column_prior import LOWER_SACRAL, RUNGS, SKULL

Float = NDArray[np.float64]

#: Length of a level vector: VerSe labels 1 to 25 (C1 to L6), then the sacrum.
CLASSES = 26
SACRUM_CLASS = 25
_CLASS_RUNGS = np.array([*range(24), RUNGS["L6"]])
#: What a level vector is worth on sacral names, of which it says nothing: that of a fair fit.
_FAIR_FIT = 0.6


@dataclass(frozen=True, eq=False)
class Candidate:
    """A place where a vertebral body may be.

    Attributes:
        center_mm: LPS mm.
        score: Height of the heat map there, 0 to 1.
        level_probabilities: (26,) C1 to L6 (VerSe label less one), then sacrum; need not sum to one.
        rib: Probability that a rib is attached at this level; None when nobody looked.
        sacrum: Probability that the next body below is the sacrum; None when nobody looked.

    Raises:
        InputError: The vector, a probability or the centre is out of range.
    """

    center_mm: Point
    score: float
    level_probabilities: Float
    rib: float | None = None
    sacrum: float | None = None

    def __post_init__(self) -> None:
        vector = np.array(self.level_probabilities, dtype=np.float64)
        if vector.shape != (CLASSES,) or not np.isfinite(vector).all() or vector.min() < 0:
            raise InputError(
                f"level_probabilities must be {CLASSES} finite numbers of at least 0 (C1 to L6, sacrum), "
                f"found shape {vector.shape}"
            )
        for name in ("score", "rib", "sacrum"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"{name} must lie between 0 and 1, found {value}")
        if len(self.center_mm) != 3 or not np.isfinite(self.center_mm).all():
            raise InputError(f"center_mm must be three finite LPS mm, found {self.center_mm}")
        total = vector.sum()
        vector = vector / total if total > 0 else np.full(CLASSES, 1 / CLASSES)
        vector.setflags(write=False)
        object.__setattr__(self, "level_probabilities", vector)


def level_likelihood(vectors: Float, names: tuple[str, ...], *, blur: float, shift: int = 0) -> Float:
    """Returns (n, m) how well each of n level vectors fits each of m level names, at most 1.

    A network is often a level off, so the vector is read through a bell of `blur` rungs. C1 and C2, unlike
    any other vertebra, are read sharply and are not moved by `shift`. Says nothing about the sacrum: vectors
    are read as if it were not there, and sacral names get a fair fit (see `sacral_likelihood`).

    Args:
        vectors: (n, 26) level vectors, each summing to one.
        names: Level names; also "skull" and "S2" to "S4".
        blur: Width (standard deviation) of the bell in rungs.
        shift: Rungs by which the network is supposed to be wrong on the whole scan.
    """
    rungs = np.array([RUNGS[name] for name in names])
    unmistakable = rungs <= RUNGS["C2"]
    moved = np.where(unmistakable, rungs, rungs + shift)
    sharp = unmistakable[:, None] | (RUNGS["C2"] >= _CLASS_RUNGS)[None, :]
    width = np.where(sharp, blur * 0.6, blur)
    kernel = np.exp(-0.5 * ((moved[:, None] - _CLASS_RUNGS[None, :]) / width) ** 2)
    kernel[np.array(names) == SKULL] = 0.05
    vertebral = vectors[:, :SACRUM_CLASS]
    vertebral = vertebral / np.maximum(vertebral.sum(axis=1, keepdims=True), 1e-6)
    likelihood: Float = 0.01 + 0.99 * vertebral @ kernel.T
    likelihood[:, _sacral(names)] = _FAIR_FIT
    return likelihood


def sacral_likelihood(vectors: Float, names: tuple[str, ...], *, error: float) -> Float:
    """Returns (n, m) how well the sacrum's share of each vector fits each name being sacral or not.

    Args:
        vectors: (n, 26) level vectors, each summing to one.
        names: Level names; also "skull" and "S2" to "S4".
        error: Probability that the network takes sacrum for vertebra or vertebra for sacrum.
    """
    share = vectors[:, SACRUM_CLASS : SACRUM_CLASS + 1]
    agreement = np.where(_sacral(names)[None, :], share, 1 - share)
    likelihood: Float = error + (1 - 2 * error) * agreement
    return likelihood


def _sacral(names: tuple[str, ...]) -> NDArray[np.bool_]:
    return np.isin(names, ("S", *LOWER_SACRAL))
