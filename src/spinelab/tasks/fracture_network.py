"""The second reader of height loss: a network on each body's own picture, and both readers together.

Geometry (`spinelab.tasks.fracture`) reads heights from outlines; the network looks at the scan. They are kept
apart in `Fracture.geometry` and `Fracture.network`; what the body is graded by is both, weighed as simulated
columns of training patients taught it. docs/fracture.md explains it; `benchmarks/fracture_readers.py`
measures it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from spinelab.measurement import Outlines
from spinelab.models import Network, load, weights_digest, weights_folder
from spinelab.spine import Fracture, FractureReading, Spine, Vertebra
from spinelab.tasks.fracture import GRADES_FROM_PERCENT, UNKNOWN_SLICE_MM, Shape, grade_of
from spinelab.tasks.fracture_cautions import BORDERLINE
from spinelab.tasks.fracture_crop import Crop, crop_body, tell_facts
from spinelab.volume import Image, Mask

Array = NDArray[np.float64]

NAME = "fracture"
#: Probabilities are kept this far from 0 and 1 before they are weighed.
_LEAST = 1e-4
#: Readers that differ by more than this (points) are named among the reasons for caution.
DIFFER_PERCENT = 15.0
DIFFERENT = "the two readers differ"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the network says of one body, as it comes out.

    Attributes:
        lost_percent: (4,) of anterior, middle and posterior height and of the one that lost most.
        spread_percent: (4,) their mean absolute error, as expected.
        probability: That at least 20 % are lost.
        shapes: (3,) probability of wedge, biconcave and crush, were it collapsed.
    """

    lost_percent: Array
    spread_percent: Array
    probability: float
    shapes: Array

    @property
    def most_percent(self) -> float:
        """Of the height that lost most, 0 to 100."""
        return float(np.clip(self.lost_percent[3], 0, 100))

    @property
    def shape(self) -> Shape:
        """The likeliest one."""
        shapes: tuple[Shape, ...] = get_args(Shape)
        return shapes[int(np.argmax(self.shapes))]


@dataclass(frozen=True, slots=True)
class Combination:
    """How both readers are weighed; fitted by `spinelab train fracture`, kept in the network's file.

    Attributes:
        network_line: (slope, offset) from the loss the network was trained to tell, where half of all bodies
            had collapsed, to the one it tells.
        network_share: (offset, slope a mm of slices) of the logit of the network's weight in the loss.
        network_curve: (slope, offset) from the network's logit to its probability.
        joint_curve: Weights of geometry's and the network's logit, and offset, of the joint probability.
        network_spread, joint_spread: Half width of the 90 % interval in spreads of the network, alone and
            together.
    """

    network_line: tuple[float, float]
    network_share: tuple[float, float]
    network_curve: tuple[float, float]
    joint_curve: tuple[float, float, float]
    network_spread: float
    joint_spread: float

    def tell_loss(self, network_percent: Array) -> Array:
        """Returns what the network tells (n,) in per cent of what it was trained to tell."""
        slope, offset = self.network_line
        return np.asarray(np.clip(slope * network_percent + offset, 0, 100))

    def weigh_loss(self, geometry_percent: Array, network_percent: Array, slice_mm: Array) -> Array:
        """Returns the joint loss in per cent of what both tell; all arrays are (n,)."""
        share = rise(self.network_share[0] + self.network_share[1] * slice_mm)
        return np.asarray(share * network_percent + (1 - share) * geometry_percent)

    def judge_alone(self, network: Array) -> Array:
        """Returns the network's calibrated probability (n,) of its raw one."""
        return rise(self.network_curve[0] * to_logit(network) + self.network_curve[1])

    def judge(self, geometry: Array, network: Array) -> Array:
        """Returns the joint probability (n,) of geometry's and the network's raw one."""
        first, second, offset = self.joint_curve
        return rise(first * to_logit(geometry) + second * to_logit(network) + offset)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Combination":
        """Rebuilds it from what the network's file says of itself."""
        data = facts["combination"]
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, (list, tuple)) else float(value)
            for key, value in data.items()
        }
        return cls(**values)


def rise(logit: Array) -> Array:
    """Returns probabilities of logits."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(logit, np.float64))))


def to_logit(probability: Array) -> Array:
    """Returns logits of probabilities, kept within limits."""
    clipped = np.clip(np.asarray(probability, np.float64), _LEAST, 1 - _LEAST)
    return np.asarray(np.log(clipped / (1 - clipped)))


def folder_of(weights: Path | None) -> Path:
    """Returns the folder the fracture network is read from: the one given if it has one, else the shipped."""
    return weights if weights is not None and NAME in weights_digest(weights) else weights_folder(NAME)


def digest_of_reader(weights: Path | None) -> dict[str, str]:
    """Returns the name of the network and its sha256, as it is recorded."""
    return {NAME: weights_digest(folder_of(weights))[NAME]}


def read_network(
    image: Image,
    mask: Mask,
    spine: Spine,
    *,
    outlines: Outlines | None = None,
    weights: Path | None = None,
    threads: int = 1,
) -> Spine:
    """Adds the network's reading to a graded spine and grades by both readers.

    Args:
        image: CT in HU, (i, j, k).
        mask: VerSe numbers on the same grid.
        spine: Measured and graded by `spinelab.tasks.fracture.grade_fractures`.
        outlines: As `spinelab.measurement.measure` takes them.
        weights: Folder with a network of one's own; the shipped one if None.
        threads: Of the network; pictures are small.

    Raises:
        ModelError: The weights are missing or damaged.
    """
    places = [i for i, v in enumerate(spine.vertebrae) if _can_be_read(v)]
    if not places:
        return spine
    network = load(NAME, folder=folder_of(weights), threads=threads)
    combination = Combination.from_facts(network.facts)
    vertebrae = list(spine.vertebrae)
    answers = ask_network(network, image, mask, [vertebrae[i] for i in places], outlines)
    for place, answer in zip(places, answers, strict=True):
        vertebra = vertebrae[place]
        assert vertebra.fracture is not None
        slice_mm = UNKNOWN_SLICE_MM if vertebra.slice_mm is None else vertebra.slice_mm
        both = join_readings(vertebra.fracture, answer, combination, slice_mm=slice_mm)
        vertebrae[place] = replace(vertebra, fracture=both)
    return replace(spine, vertebrae=tuple(vertebrae))


def _can_be_read(vertebra: Vertebra) -> bool:
    found = vertebra.fracture
    return (
        found is not None and found.evaluable and vertebra.frame is not None and "metal" not in vertebra.flags
    )


def ask_network(
    network: Network,
    image: Image,
    mask: Mask,
    vertebrae: Sequence[Vertebra],
    outlines: Outlines | None = None,
) -> list[Answer]:
    """Returns what the network says of measured vertebrae."""
    crops, facts = [], []
    for vertebra in vertebrae:
        assert vertebra.frame is not None
        center, frame = np.array(vertebra.center_mm), vertebra.frame.matrix()
        crop = crop_body(image, mask, vertebra.label, center_mm=center, frame=frame, outlines=outlines)
        crops.append(crop)
        slice_mm = UNKNOWN_SLICE_MM if vertebra.slice_mm is None else vertebra.slice_mm
        facts.append(tell_facts(vertebra.level, slice_mm))
    return ask_of_crops(network, crops, np.array(facts))


def ask_of_crops(network: Network, crops: Sequence[Crop], facts: Array) -> list[Answer]:
    """Returns what the network says of crops and (n, 2) facts beside them."""
    lost, spread, probability, shapes = network(
        hu=np.stack([crop.hu for crop in crops]),
        outline=np.stack([crop.outline for crop in crops]).astype(np.float32),
        in_view=np.stack([crop.in_view for crop in crops]).astype(np.float32),
        facts=facts.astype(np.float32),
    )
    parts = zip(lost, spread, probability, shapes, strict=True)
    return [Answer(a.astype(float), b.astype(float), float(p), s.astype(float)) for a, b, p, s in parts]


def join_readings(
    geometry: Fracture, answer: Answer, combination: Combination, *, slice_mm: float
) -> Fracture:
    """Returns the grade by both readers, and each of them apart.

    Args:
        geometry: What geometry found.
        answer: What the network said.
        combination: How they are weighed.
        slice_mm: Distance of the slices.
    """
    first = _of_geometry(geometry)
    second = _of_network(answer, combination)
    percent = float(
        combination.weigh_loss(
            np.array(first.height_loss_percent), np.array(second.height_loss_percent), np.array(slice_mm)
        )
    )
    raw = np.array(answer.probability)
    probability = float(combination.judge(np.array(first.probability), raw))
    half = combination.joint_spread * float(answer.spread_percent[3])
    interval = _around(percent, half)
    percent, grade = round(percent, 1), grade_of(round(percent, 1))
    shape = None
    if grade:
        shape = geometry.shape if geometry.shape is not None else answer.shape
    return replace(
        geometry,
        probability=round(probability, 4),
        genant_grade=grade,
        shape=shape,
        height_loss_percent=percent,
        interval_percent=interval,
        reasons=_renew_reasons(geometry.reasons, first, second, interval),
        geometry=first,
        network=second,
    )


def _of_geometry(found: Fracture) -> FractureReading:
    assert found.probability is not None
    assert found.height_loss_percent is not None
    assert found.interval_percent is not None
    return FractureReading(found.probability, found.height_loss_percent, found.interval_percent, found.shape)


def _of_network(answer: Answer, combination: Combination) -> FractureReading:
    percent = round(float(combination.tell_loss(np.array(answer.most_percent))), 1)
    half = combination.network_spread * float(answer.spread_percent[3])
    probability = float(combination.judge_alone(np.array(answer.probability)))
    shape = answer.shape if percent >= GRADES_FROM_PERCENT[0] else None
    return FractureReading(round(probability, 4), percent, _around(percent, half), shape)


def _around(percent: float, half: float) -> tuple[float, float]:
    low, high = np.clip([percent - half, percent + half], 0, 100)
    return (round(float(low), 1), round(float(high), 1))


def _renew_reasons(
    reasons: Sequence[str], first: FractureReading, second: FractureReading, interval: tuple[float, float]
) -> tuple[str, ...]:
    """Returns the reasons for caution with those that depend on the reader told anew."""
    kept = [words for words in reasons if words != BORDERLINE]
    borderline = interval[0] < GRADES_FROM_PERCENT[0] <= interval[1]
    differ = abs(first.height_loss_percent - second.height_loss_percent) > DIFFER_PERCENT
    return (*((BORDERLINE,) if borderline else ()), *kept, *((DIFFERENT,) if differ else ()))
