from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from spinelab.report.curve_drawing import describe_curve, describe_curves, draw_curves
from spinelab.spine import Curvature, Curve, Frame, Spine, Vertebra
from tests.report.spines import measured_spine


def _parse(spine: Spine) -> ElementTree.Element:
    drawing = draw_curves(spine)
    assert drawing is not None
    return ElementTree.fromstring(drawing)


def _texts(spine: Spine) -> list[str]:
    return [element.text or "" for element in _parse(spine).iter("text")]


def _spine(coronal: tuple[Curve, ...], tilts_deg: dict[str, float]) -> Spine:
    """Three bodies 30 mm apart, tilted in the coronal plane: positive leans to the patient's left."""
    vertebrae = []
    for row, name in enumerate(("L1", "L2", "L3")):
        angle = np.deg2rad(tilts_deg.get(name, 0.0))
        c, s = float(np.cos(angle)), float(np.sin(angle))
        frame = Frame((c, 0.0, -s), (0.0, 1.0, 0.0), (s, 0.0, c))
        vertebrae.append(Vertebra(name, (0.0, 0.0, 30.0 - 30 * row), 1.0, frame=frame))
    return Spine(tuple(vertebrae), curvature=Curvature(coronal))


def test_there_is_nothing_to_draw_for_fewer_than_two() -> None:
    spine = measured_spine()
    assert draw_curves(Spine(())) is None
    assert draw_curves(replace(spine, vertebrae=spine.vertebrae[:1])) is None


def test_every_body_is_drawn_and_named_in_both_planes() -> None:
    spine = measured_spine()
    assert len(list(_parse(spine).iter("polygon"))) == 8
    texts = _texts(spine)
    assert [texts.count(name) for name in spine.levels] == [2, 2, 2, 2]


def test_angles_and_their_ends_are_written() -> None:
    texts = _texts(measured_spine())
    assert {"12°", "T12–L2", "31°", "L1–L3"} <= set(texts)


def test_sides_are_written_front_and_right_first() -> None:
    elements = [e for e in _parse(measured_spine()).iter("text") if e.text in {"A", "P", "R", "L"}]
    ordered = sorted(elements, key=lambda e: float(e.attrib["x"]))
    assert [e.text for e in ordered] == ["A", "P", "R", "L"]


def test_cut_bodies_are_dashed() -> None:
    dashed = [e for e in _parse(measured_spine()).iter("polygon") if "stroke-dasharray" in e.attrib]
    assert len(dashed) == 2  # T12 in either plane


@pytest.mark.parametrize(("convex", "outwards"), [("left", -1), ("right", 1)])
def test_cobb_lines_follow_the_endplates_and_point_to_the_concave_side(convex: str, outwards: int) -> None:
    curve = Curve("coronal", "L1", "L3", "L2", 25.0, convex)  # type: ignore[arg-type]
    upper, lower = _parse(_spine((curve,), {"L1": -10.0, "L3": 15.0})).iter("line")
    for line, tilt in ((upper, -10.0), (lower, 15.0)):
        dx = float(line.attrib["x2"]) - float(line.attrib["x1"])
        dy = float(line.attrib["y2"]) - float(line.attrib["y1"])
        assert np.sign(dx) == outwards
        # A body that leans to the left (right of the picture) drops its left end: down is positive in SVG.
        assert np.rad2deg(np.arctan(dy / dx)) == pytest.approx(tilt, abs=0.5)


def test_without_curvature_there_are_no_cobb_lines() -> None:
    spine = replace(measured_spine(), curvature=None)
    assert not list(_parse(spine).iter("line"))
    assert "No angle was measured." in describe_curves(spine)


def test_an_end_that_is_not_drawn_leaves_one_line_and_the_angle() -> None:
    lordosis = Curve("sagittal", "L1", "S", "L3", 48.0, "anterior")
    spine = replace(measured_spine(), curvature=Curvature((), None, lordosis))
    assert len(list(_parse(spine).iter("line"))) == 1
    assert {"48°", "L1–S1"} <= set(_texts(spine))


def test_bodies_at_one_height_do_not_stop_the_drawing() -> None:
    spine = Spine((Vertebra("L1", (0.0, 0.0, 5.0), 1.0), Vertebra("L2", (9.0, 0.0, 5.0), 1.0)))
    assert len(list(_parse(spine).iter("polygon"))) == 4


def test_everything_lies_on_the_sheet() -> None:
    root = _parse(measured_spine())
    width, height = (float(v) for v in root.attrib["viewBox"].split()[2:])
    for polygon in root.iter("polygon"):
        points = np.array([pair.split(",") for pair in polygon.attrib["points"].split()], dtype=float)
        assert points.min() >= 0
        assert (points <= [width, height]).all()


def test_curves_in_words() -> None:
    coronal = Curve("coronal", "T5", "T11", "T8", 33.6, "right")
    assert describe_curve(coronal) == "Coronal curve 34°, T5 to T11, convex to the right, apex T8"
    assert (
        describe_curve(Curve("sagittal", "T4", "T12", "T8", 41.0, "posterior")) == "Kyphosis 41°, T4 to T12"
    )
    assert describe_curve(Curve("sagittal", "L1", "L5", "L3", 40.0, "anterior")) == "Lordosis 40°, L1 to L5"
