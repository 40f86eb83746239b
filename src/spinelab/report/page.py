"""Writes the report: one HTML file with everything inside it."""

import base64
from importlib import resources
from pathlib import Path
from typing import Any

from spinelab.io.outputs import writing
from spinelab.report.curve_drawing import draw_curves
from spinelab.report.landmark_wording import build_landmark_rows, describe_landmarks, list_landmark_findings
from spinelab.report.pictures import DOUBTFUL_BELOW, render_views
from spinelab.report.reformat import has_depth
from spinelab.report.vertebra_pictures import render_suspicious
from spinelab.report.wording import (
    LOSS_TO_NOTE_PERCENT,
    SLIP_TO_NOTE_MM,
    build_row,
    flatten_manifest,
    list_findings,
    write_caption,
    write_headline,
    write_numbering,
)
from spinelab.spine import Spine
from spinelab.volume import Image, Mask


def write_report(
    image: Image,
    mask: Mask | None,
    spine: Spine,
    path: Path,
    *,
    title: str | None = None,
    picture: bytes | None = None,
) -> None:
    """Writes one self-contained HTML page a clinician reads in a minute.

    Pictures are inside the file; it needs no network, no script and no other file, and prints on A4.

    Args:
        image: The scan, (i, j, k) on any grid.
        mask: VerSe labels, (i, j, k) on any grid in the same patient space; None for landmarks of MR: then
            the page tells of corners and discs.
        spine: What was found and measured; unknown values appear as a dash.
        path: The HTML file to write.
        title: Heading; without it the file's name less ".html" and "_report". Nothing else that could
            identify a patient is written, and of paths in the manifest only the last part.
        picture: What `render_views` returned for this spine, if it was drawn already.

    Raises:
        OutputError: The file cannot be written.
    """
    title = title or path.stem.removesuffix("_report")
    html = render_report(image, mask, spine, title=title, picture=picture)
    with writing(path):
        path.write_text(html, encoding="utf-8")


def render_report(
    image: Image, mask: Mask | None, spine: Spine, *, title: str, picture: bytes | None = None
) -> str:
    """Returns the page of `write_report` as text."""
    from jinja2 import Environment, StrictUndefined

    source = resources.files("spinelab.report").joinpath("template.html").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    png = render_views(image, mask, spine) if picture is None else picture
    told = {"title": title, "picture": base64.b64encode(png).decode("ascii")}
    return environment.from_string(source).render(told | _contents(image, mask, spine))


def _contents(image: Image, mask: Mask | None, spine: Spine) -> dict[str, Any]:
    """What the template shows but for title and picture."""
    told = _tell_outlines(image, mask, spine) if mask is not None else _tell_landmarks(image, spine)
    return {
        **told,
        "marked": mask is None,
        "headline": write_headline(spine),
        "numbering": write_numbering(spine),
        "guessed": spine.numbering is not None and not spine.numbering.anchored,
        "warnings": spine.warnings,
        "coronal": has_depth(image),
        "drawing": draw_curves(spine),
        "manifest": flatten_manifest(spine.manifest),
        "scan": " × ".join(str(n) for n in image.array.shape),
        "spacing": " × ".join(f"{mm:.2f}" for mm in image.spacing_mm),
        "doubtful_percent": f"{100 * DOUBTFUL_BELOW:.0f}",
        "loss_percent": f"{LOSS_TO_NOTE_PERCENT:.0f}",
        "slip_mm": f"{SLIP_TO_NOTE_MM:.0f}",
    }


def _tell_outlines(image: Image, mask: Mask, spine: Spine) -> dict[str, Any]:
    """What the template shows of outlined vertebrae."""
    return {
        "picture_words": _describe_picture(spine),
        "findings": list_findings(spine),
        "suspicious": [
            {
                "level": picture.level,
                "png": base64.b64encode(picture.png).decode("ascii"),
                "words": picture.words,
                "caption": write_caption(spine[picture.level]),
            }
            for picture in render_suspicious(image, mask, spine)
        ],
        "rows": [build_row(vertebra) for vertebra in spine.vertebrae],
        "second_reader": any(v.fracture and v.fracture.network for v in spine.vertebrae),
    }


def _tell_landmarks(image: Image, spine: Spine) -> dict[str, Any]:
    """What the template shows of vertebrae marked by their corners."""
    return {
        "picture_words": describe_landmarks(spine, coronal=has_depth(image)),
        "findings": list_landmark_findings(spine),
        "suspicious": [],
        "second_reader": False,
        "rows": build_landmark_rows(spine),
    }


def _describe_picture(spine: Spine) -> str:
    """The words for who cannot see the pictures."""
    if not spine.vertebrae:
        return "Sagittal and coronal picture through the middle of the scan; no vertebra is outlined."
    return (
        "Sagittal and coronal picture along the column in a bone window, with the outlines and names of "
        f"{', '.join(spine.levels)}."
    )
