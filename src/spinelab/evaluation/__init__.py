"""How right a reading is: names, places and outlines against a reference.

`evaluate` scores one scan, `summarize` pools many with bootstrap intervals over scans. Sacrum and
coccyx are never scored.
"""

from spinelab.evaluation.reading import EvaluateOptions, Reading
from spinelab.evaluation.scores import ScanScores, VertebraScore, evaluate
from spinelab.evaluation.summary import METRICS, Interval, Summary, summarize

__all__ = [
    "METRICS",
    "EvaluateOptions",
    "Interval",
    "Reading",
    "ScanScores",
    "Summary",
    "VertebraScore",
    "evaluate",
    "summarize",
]
