"""Numbering variants, the anchors that fix a count, and the sentence a reader gets.

How often the count differs from 7-12-5. VerSe has L6 in 50 and T13 in 6 of 374 scans, but was enriched with
odd ones (Liebl et al., Sci Data 2021). The VID table, closer to a clinic, has L6 in 48 of 1,887 scans that
show L5, and L1 straight below T11 in 8 of 1,914. Of 2,980 skeletons 0.8 % had six and 1.8 % four lumbar
vertebrae (Global Spine J 2019, doi 10.1177/2192568219833029); of 226 whole-spine CTs 6.2 % showed
lumbarisation and 2.7 % sacralisation (Nakajima et al., Insights Imaging 2014;5); of 293 volunteers 4.1 % had
eleven thoracic and five lumbar, 1.7 % eleven and six, 3.8 % twelve and six (J Orthop Surg Res 2018;13:124).
The priors lie between.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spinelab.anatomy import level
from spinelab.spine import Numbering
from spinelab.tasks.chain import TracedPoint
from spinelab.tasks.column_prior import LOWER_SACRAL
from spinelab.tasks.level_evidence import SACRUM_CLASS


@dataclass(frozen=True)
class Variant:
    """One way a column can be counted.

    Attributes:
        names: As in `Numbering.variants`; empty for the usual 7-12-5.
        last_thoracic: Last vertebra with ribs.
        last_lumbar: Vertebra above the sacrum.
        prior: How common it is.
    """

    names: tuple[str, ...]
    last_thoracic: str
    last_lumbar: str
    prior: float


VARIANTS = (
    Variant((), "T12", "L5", 0.905),
    Variant(("T13",), "T13", "L5", 0.012),
    Variant(("T11 last",), "T11", "L5", 0.012),
    Variant(("L6",), "T12", "L6", 0.035),
    Variant(("L4 last",), "T12", "L4", 0.025),
    # the rib boundary moved and the sacrum did not
    Variant(("T13", "L4 last"), "T13", "L4", 0.006),
    Variant(("T11 last", "L6"), "T11", "L6", 0.005),
)
_IN_WORDS = {
    "T13": "a thirteenth thoracic vertebra (T13)",
    "T11 last": "eleven thoracic vertebrae",
    "L6": "a sixth lumbar vertebra (L6)",
    "L4 last": "four lumbar vertebrae",
}
_SEEN, _ABSENT = 0.7, 0.3


def find_anchors(chain: Sequence[TracedPoint], levels: Sequence[str]) -> tuple[str, ...]:
    """Returns what in view fixes the count: any of "C2", "first rib", "last rib", "sacrum".

    A rib boundary counts only when both its sides were seen; the top or bottom of a scan fixes nothing.

    Args:
        chain: Points from the head down.
        levels: Their names.
    """
    anchors = []
    for point, name in zip(chain, levels, strict=True):
        vector = point.level_probabilities
        if (
            name in {"C1", "C2"}
            and vector[:2].sum() >= 0.6
            and int(np.argmax(vector)) == level(name).label - 1
        ):
            anchors.append("C2")
            break
    below = list(zip(chain, levels, chain[1:], levels[1:], strict=False))
    if any(lower == "T1" and _changes(b.rib, a.rib) for a, _, b, lower in below):
        anchors.append("first rib")
    if any(upper[0] == "T" and lower == "L1" and _changes(a.rib, b.rib) for a, upper, b, lower in below):
        anchors.append("last rib")
    in_chain = any(_is_sacral(p) for p, name in zip(chain, levels, strict=True) if name == "S")
    ends = [point for point, name in zip(chain, (*levels[1:], "S"), strict=True) if name == "S"]
    below_chain = any((p.sacrum or 0.0) >= _SEEN for p in ends)
    if in_chain or (below_chain and levels[-1] in {"L4", "L5", "L6", "S", *LOWER_SACRAL}):
        anchors.append("sacrum")
    return tuple(anchors)


def shows_variants(chain: Sequence[TracedPoint], levels: Sequence[str], variants: Sequence[str]) -> bool:
    """Returns True when what is in view can show these variants: the count is fixed on both sides of them."""
    if not variants:
        return True
    anchors = set(find_anchors(chain, levels))
    upper = bool(anchors & {"C2", "first rib"})
    for variant in variants:
        if variant in {"T13", "T11 last"}:
            if not (upper and anchors & {"last rib", "sacrum"}):
                return False
        elif not ("sacrum" in anchors and (upper or "last rib" in anchors or _sees_boundary(chain, levels))):
            return False
    return True


def state_numbering(numbering: Numbering, levels: Sequence[str]) -> Numbering:
    """Returns the numbering with its one sentence for the reader.

    Args:
        numbering: All but the sentence.
        levels: Names given, from the head down.
    """
    names = _span(levels)
    if numbering.variants:
        names += " with " + " and ".join(_IN_WORDS[variant] for variant in numbering.variants)
    sure = _percent(numbering.probability)
    if numbering.anchored:
        seen = _listed([name if name == "C2" else f"the {name}" for name in numbering.anchors])
        statement = f"The count rests on {seen}: {names} is right with a probability of {sure}"
    else:
        statement = (
            "Nothing in view fixes the count (neither C2 nor the first or last rib nor the sacrum was seen): "
            f"{names} is the best reading, with a probability of {sure}"
        )
    if numbering.runner_up and numbering.runner_up_probability >= 0.005:
        doubt = _percent(numbering.runner_up_probability)
        statement += f"; the next best is {_span(numbering.runner_up)} ({doubt})"
    return replace(numbering, statement=statement + ".")


def _changes(with_rib: float | None, without_rib: float | None) -> bool:
    if with_rib is None or without_rib is None:
        return False
    return with_rib >= _SEEN and without_rib <= _ABSENT


def _is_sacral(point: TracedPoint) -> bool:
    return bool(point.level_probabilities[SACRUM_CLASS] >= 0.5)


def _sees_boundary(chain: Sequence[TracedPoint], levels: Sequence[str]) -> bool:
    """Tells whether the network itself saw thoracic turn into lumbar vertebrae, where the names put it."""
    found = list(zip(chain, levels, strict=True))
    thoracic = [float(p.level_probabilities[7:19].sum()) for p, name in found if name.startswith("T")]
    lumbar = [float(p.level_probabilities[19:25].sum()) for p, name in found if name in {"L1", "L2", "L3"}]
    if len(thoracic) < 3 or len(lumbar) < 3:
        return False
    return float(np.mean(thoracic[-3:])) >= _SEEN and float(np.mean(lumbar)) >= _SEEN


def _span(levels: Sequence[str]) -> str:
    names = ["S1" if name == "S" else name for name in levels]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def _percent(probability: float) -> str:
    if probability > 0.99:
        return "over 99 %"
    return "under 1 %" if probability < 0.01 else f"{100 * probability:.0f} %"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
