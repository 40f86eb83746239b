"""The page and the picture of landmarks in MR."""

from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from spinelab.measurement.landmarks import measure_landmarks
from spinelab.report import write_preview, write_report
from spinelab.report.curve_drawing import draw_curves
from spinelab.report.landmark_wording import build_landmark_rows, list_landmark_findings
from spinelab.report.page import render_report
from spinelab.report.pictures import draw_views
from spinelab.spine import Numbering, Spine
from spinelab.volume import Geometry, Image
from tests.measurement.test_landmarks import column
from tests.report.test_page import Page

SURE = Numbering(("sacrum",), 0.93, ("T12", "L1", "L2", "L3", "L4", "S"), 0.04, True)


def scan(slices=12) -> Image:
    """Twelve slices of 4 mm, or one, about the column of `measured`."""
    array = np.random.default_rng(0).normal(100, 20, (slices, 80, 110)).astype(np.float32)
    first = 3.0 - 4.0 * (slices - 1) / 2
    geometry = Geometry.from_spacing(array.shape, (4.0, 2.0, 2.0), (first, -80.0, -190.0))
    return Image(array, geometry, "MR")


def measured() -> Spine:
    """Five boxes that tilt from -20 to 20 degrees; the first is cut, the last name is doubtful."""
    first, *others, last = column((-20.0, -10.0, 0.0, 10.0, 20.0)).vertebrae
    found = (replace(first, complete=False, flags=("cut",)), *others, replace(last, probability=0.6))
    return measure_landmarks(Spine(found, SURE), sacrum=(3.0, 5.0, -180.0))


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render_report(scan(), None, measured(), title="knee"))


def test_the_page_tells_of_bodies_discs_and_how_exact_they_are(page):
    assert "L1 to L5, 5 vertebrae" in page.text
    assert "Lordosis 30°, L2 to L5" in page.text
    for words in ("Body height, mm", "Disc below, mm", "L5/S1", "the endplate of S1 is not marked"):
        assert words in page.text
    assert "T12 to S1, 4 %" in page.text


def test_the_page_says_nothing_of_what_was_not_looked_for(page):
    for words in ("Density", "Genant", "Coronal curve", "Slip", "Height loss"):
        assert words not in page.text


def test_of_one_slice_there_is_no_coronal_picture():
    text = Page(render_report(scan(1), None, measured(), title="slice")).text
    assert "The slice, head up, the front on the left." in text
    assert "coronal" not in text.lower()
    figure = draw_views(scan(1), None, measured())
    assert len(figure.axes) == 1
    assert "from the front" not in str(draw_curves(measured()))


def test_the_picture_has_the_corners_and_the_discs(tmp_path: Path):
    sagittal, coronal = draw_views(scan(), None, measured()).axes
    rings = [line for line in sagittal.lines if len(line.get_xdata()) == 5]
    assert len(rings) == 5
    upper_front = measured()["L3"].corners.superior_anterior
    assert (rings[2].get_xdata()[0], rings[2].get_ydata()[0]) == upper_front[1:]
    assert [ring.is_dashed() for ring in rings] == [True, False, False, False, False]
    crosses = [line for line in sagittal.lines if line.get_marker() == "x"]
    assert [float(line.get_ydata()[0]) for line in crosses] == [d.center_mm[2] for d in measured().discs]
    assert not [line for line in coronal.lines if len(line.get_xdata()) == 5]
    write_preview(scan(), None, measured(), tmp_path / "a_preview.png")
    assert matplotlib.image.imread(tmp_path / "a_preview.png").shape[0] > 300


def test_beyond_the_outermost_slice_it_is_shown_and_not_black():
    spine = measured()
    aside = tuple(replace(v, center_mm=(40.0, *v.center_mm[1:])) for v in spine.vertebrae)
    figure = draw_views(scan(), None, replace(spine, vertebrae=aside))
    grey = np.asarray(figure.axes[0].images[0].get_array())
    assert np.ptp(grey[len(grey) // 2]) > 20


def test_rows_are_dashes_where_nothing_is_known():
    rows = build_landmark_rows(measured())
    assert (rows[0].front, rows[0].back, rows[0].body_sd, rows[0].complete) == ("–", "–", "–", "cut")
    assert (rows[1].front, rows[1].back, rows[1].body_sd) == ("24.0", "24.0", "1.4")
    assert (rows[1].disc, rows[1].angle, rows[1].disc_sd) == ("L2/L3", "10", "1.4")
    assert (rows[4].disc, rows[4].disc_front, rows[4].doubtful) == ("L5/S1", "–", True)


def test_findings_name_the_lowest_disc_and_body():
    findings = {subject: text for subject, text, _ in list_landmark_findings(measured())}
    assert findings["Lowest front height against back"] == "L2, 24.0 and 24.0 mm (± 1.4)"
    assert findings["Lowest disc"] == "L4/L5, 10.9 mm (± 1.0)"


def test_findings_say_what_was_not_measured():
    bare = Spine(tuple(replace(v, corners=None) for v in column().vertebrae), SURE)
    findings = list_landmark_findings(bare)
    assert ("Lowest disc", "not measured", False) in findings
    assert ("Lowest front height against back", "not measured", False) in findings


def test_the_report_is_written(tmp_path: Path):
    write_report(scan(), None, measured(), tmp_path / "a_report.html")
    assert "<title>a · spine report</title>" in (tmp_path / "a_report.html").read_text(encoding="utf-8")
