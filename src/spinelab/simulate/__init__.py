"""Deformed spines with exact truth: curves, collapse, degeneration, for CT and MR (docs/simulation.md).

column = find_source_column(mask)
deformity = draw_deformity(column, CurveRequest(cobb_deg=45), np.random.default_rng(7))
result = deform(image, mask, deformity, column=column)
"""

from spinelab.simulate.collapse import Collapse
from spinelab.simulate.column import SourceColumn, find_source_column
from spinelab.simulate.curve_shapes import CurveShape, draw_shape
from spinelab.simulate.deformation import Deformation, Deformed, deform
from spinelab.simulate.deformity import CurveRequest, Deformity, draw_deformity, read_deformity
from spinelab.simulate.degeneration import DiscNarrowing, EndplateSclerosis, Osteophytes, Slip
from spinelab.simulate.radiograph import Film, project

__all__ = [
    "Collapse",
    "CurveRequest",
    "CurveShape",
    "Deformation",
    "Deformed",
    "Deformity",
    "DiscNarrowing",
    "EndplateSclerosis",
    "Film",
    "Osteophytes",
    "Slip",
    "SourceColumn",
    "deform",
    "draw_deformity",
    "draw_shape",
    "find_source_column",
    "project",
    "read_deformity",
]
