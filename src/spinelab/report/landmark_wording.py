"""The report's sentences and table cells about landmarks of MR: bodies and discs by their corners."""

from dataclasses import dataclass

import numpy as np

from spinelab.report.pictures import DOUBTFUL_BELOW, level_color
from spinelab.report.wording import (
    DASH,
    find_numbering,
    find_sagittal_curves,
    list_remarks,
    write_number,
    write_percent,
)
from spinelab.spine import Disc, Spine, Vertebra


@dataclass(frozen=True)
class LandmarkRow:
    """One vertebra and the disc below it, ready to print.

    Attributes:
        level, color: Name and the colour it has in the pictures.
        probability, complete, centre_sd, front, back, body_sd, disc, disc_front, disc_back, disc_sd, angle,
            flags: Cell texts.
        doubtful, cut: Whether the cell is to stand out.
    """

    level: str
    color: str
    probability: str
    complete: str
    centre_sd: str
    front: str
    back: str
    body_sd: str
    disc: str
    disc_front: str
    disc_back: str
    disc_sd: str
    angle: str
    flags: str
    doubtful: bool
    cut: bool


def build_landmark_rows(spine: Spine) -> list[LandmarkRow]:
    """Returns the table lines of a spine found in MR."""
    below = {disc.above: disc for disc in spine.discs}
    return [_build_row(vertebra, below.get(vertebra.level)) for vertebra in spine.vertebrae]


def _build_row(vertebra: Vertebra, disc: Disc | None) -> LandmarkRow:
    heights = vertebra.heights_mm
    return LandmarkRow(
        level=vertebra.level,
        color=level_color(vertebra.level),
        probability=write_percent(vertebra.probability),
        complete="yes" if vertebra.complete else "cut",
        centre_sd=write_number(vertebra.center_sd_mm),
        front=write_number(heights.anterior if heights else None),
        back=write_number(heights.posterior if heights else None),
        body_sd=write_number(body_sd_mm(vertebra)),
        disc=DASH if disc is None else name_disc(disc),
        disc_front=write_number(disc.anterior_mm if disc else None),
        disc_back=write_number(disc.posterior_mm if disc else None),
        disc_sd=write_number(disc.height_sd_mm if disc else None),
        angle=write_number(disc.angle_deg if disc else None, digits=0),
        flags=", ".join(list_remarks(vertebra)),
        doubtful=vertebra.probability < DOUBTFUL_BELOW,
        cut=not vertebra.complete,
    )


def body_sd_mm(vertebra: Vertebra) -> float | None:
    """Returns how far either height of a body may be off in mm, the larger of the two."""
    if vertebra.corners is None or vertebra.heights_mm is None:
        return None
    a, b, c, d = vertebra.corners.sd_mm
    return float(max(np.hypot(a, c), np.hypot(b, d)))


def name_disc(disc: Disc) -> str:
    """Returns "L4/L5"; of the sacrum it is the first segment that is meant."""
    return f"{disc.above}/{'S1' if disc.below == 'S' else disc.below}"


def list_landmark_findings(spine: Spine) -> list[tuple[str, str, bool]]:
    """Returns (subject, finding, stands out) of what a reader of an MR looks for first."""
    curves = find_sagittal_curves(spine)
    return [*curves, *_find_lowest_disc(spine), *_find_wedge(spine), *find_numbering(spine)]


def _find_lowest_disc(spine: Spine) -> list[tuple[str, str, bool]]:
    known = [
        ((disc.anterior_mm + disc.posterior_mm) / 2, disc)
        for disc in spine.discs
        if disc.anterior_mm is not None and disc.posterior_mm is not None
    ]
    if not known:
        return [("Lowest disc", "not measured", False)]
    height, disc = min(known, key=lambda pair: pair[0])
    spread = (disc.height_sd_mm or 0.0) / np.sqrt(2)
    return [("Lowest disc", f"{name_disc(disc)}, {height:.1f} mm (± {spread:.1f})", False)]


def _find_wedge(spine: Spine) -> list[tuple[str, str, bool]]:
    """The body that is lowest in front against its back."""
    subject = "Lowest front height against back"
    known = [
        (v.heights_mm.anterior / v.heights_mm.posterior, v)
        for v in spine.vertebrae
        if v.heights_mm is not None and v.heights_mm.anterior and v.heights_mm.posterior
    ]
    if not known:
        return [(subject, "not measured", False)]
    _, vertebra = min(known, key=lambda pair: pair[0])
    heights = vertebra.heights_mm
    assert heights is not None
    text = f"{vertebra.level}, {heights.anterior:.1f} and {heights.posterior:.1f} mm"
    return [(subject, f"{text} (± {body_sd_mm(vertebra):.1f})", False)]


def describe_landmarks(spine: Spine, *, coronal: bool) -> str:
    """Says in words what the picture shows."""
    views = "Sagittal and coronal picture along the column" if coronal else "Sagittal picture"
    return f"{views}, with the corners and names of {', '.join(spine.levels)} and the centres of the discs."
