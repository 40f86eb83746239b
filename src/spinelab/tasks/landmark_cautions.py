"""What a reader of landmarks in an MR should be told: how the slices lie, and what the names rest on."""

from collections.abc import Sequence

import numpy as np

from spinelab.anatomy import ORDER
from spinelab.spine import Vertebra
from spinelab.tasks.column_prior import expected_spacing_mm
from spinelab.tasks.level_evidence import SACRUM_CLASS
from spinelab.tasks.naming import NamedColumn
from spinelab.volume import Geometry

#: Slices this far apart leave open where a body's middle is from left to right.
_THICK_MM = 3.0
#: A column this near to the outermost slice may have its middle beyond it.
_EDGE_MM = 8.0
#: Distances between bodies against those of grown people; beyond, the voxel size is doubted.
_SHORT, _LONG = 0.7, 1.35
#: Mean heat of a column below which 2 of 60 spines looked at lay, and nearly all that was no spine.
_FAINT = 0.6
_FAINT_SENTENCE = (
    "The bodies are seen less clearly than usual: the slices may lie beside their middle or show something "
    "else than a spine; check the picture."
)
INFERRED_FLAG = "centre inferred"


def caution(
    geometry: Geometry, vertebrae: Sequence[Vertebra], named: NamedColumn, *, belief: float
) -> list[str]:
    """Returns the sentences for a reader.

    Args:
        geometry: Of the scan.
        vertebrae: As found, from the head down.
        named: The column they come from.
        belief: Mean heat of its bodies, 0 to 1.
    """
    faint = [_FAINT_SENTENCE] if belief < _FAINT else []
    return [
        *faint,
        *_caution_slices(geometry, vertebrae),
        *_caution_spacing(vertebrae),
        *_caution_names(vertebrae, named),
    ]


def _caution_slices(geometry: Geometry, vertebrae: Sequence[Vertebra]) -> list[str]:
    across = geometry.axes_by_world[0]
    count, step = geometry.shape[across], geometry.spacing_mm[across]
    if count == 1:
        return [
            "One slice: whether it runs through the middle of the bodies cannot be checked; corners and "
            "heights are those of this slice."
        ]
    warnings = []
    if step > _THICK_MM:
        warnings.append(
            f"Slices are {step:.1f} mm apart: where centres lie from left to right is known to "
            f"about {step / 2:.0f} mm."
        )
    index = geometry.world_to_index(np.array([v.center_mm for v in vertebrae]))[:, across]
    margin_mm = np.minimum(index, count - 1 - index) * step
    if np.median(margin_mm) < _EDGE_MM:
        warnings.append(
            "The column lies at the edge of the slices: they may not reach its middle, so corners and "
            "heights may be those of a plane beside it."
        )
    return warnings


def _caution_spacing(vertebrae: Sequence[Vertebra]) -> list[str]:
    """Doubts the voxel size where bodies lie closer or farther apart than people's do."""
    first, last = vertebrae[0], vertebrae[-1]
    if ORDER[first.level] >= ORDER[last.level]:
        return []
    centers = np.array([v.center_mm for v in vertebrae])
    found = float(np.linalg.norm(np.diff(centers, axis=0), axis=1).sum())
    usual, _ = expected_spacing_mm(first.level, last.level)
    if _SHORT <= found / usual <= _LONG:
        return []
    step = found / (len(vertebrae) - 1)
    return [
        f"The bodies are {step:.0f} mm apart, {100 * found / usual:.0f} % of what is usual in grown people: "
        "check the voxel size."
    ]


def _caution_names(vertebrae: Sequence[Vertebra], named: NamedColumn) -> list[str]:
    warnings = []
    inferred = [v.level for v in vertebrae if INFERRED_FLAG in v.flags]
    if inferred:
        warnings.append(f"{', '.join(inferred)}: not seen by the detector, inferred from the neighbours.")
    if not named.numbering.anchored:
        warnings.append("The sacrum was not seen: the names are a guess.")
    high = [v.level for v in vertebrae if ORDER[v.level] < ORDER["T10"]]
    if high:
        warnings.append("The network was trained on lumbar scans; thoracic and cervical names are uncertain.")
    sacral = [p.level_probabilities[SACRUM_CLASS] for p in named.points[:-1]]
    if any(share > 0.5 for share in sacral):
        warnings.append("A body in mid-column looks like the sacrum; check the names.")
    return warnings
