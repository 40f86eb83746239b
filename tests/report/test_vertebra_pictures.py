"""Pictures of single bodies: which are shown, and where their heights are drawn."""

import io
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest

from spinelab.measurement import measure
from spinelab.report.reformat import Outline, view_vertebra
from spinelab.report.vertebra_pictures import (
    MOST,
    find_height_lines,
    is_suspicious,
    render_suspicious,
)
from spinelab.spine import Fracture, Spine
from tests.phantom import Collapse, make_phantom


def graded(loss, grade, probability=0.0):
    shape = "wedge" if grade else None
    return Fracture(True, probability, grade, shape, loss, (0.0, 2 * loss), "neighbours")


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(
        levels=("T12", "L1", "L2"),
        spacing_mm=(2, 2, 2),
        collapse={"L1": Collapse(0.6, 0.8, 1.0)},
        coronal_deg={"T12": 25.0, "L2": 25.0},
    )


@pytest.fixture(scope="module")
def spine(phantom):
    return measure(phantom.image, phantom.mask, phantom.spine)


def with_fracture(spine, name, fracture):
    return Spine(tuple(replace(v, fracture=fracture) if v.level == name else v for v in spine.vertebrae))


@pytest.mark.parametrize(
    ("fracture", "shown"),
    [
        (None, False),
        (graded(4.0, 0), False),
        (graded(12.0, 0), True),
        (graded(4.0, 0, probability=0.4), True),
        (graded(30.0, 2), True),
        (Fracture(False, reasons=("metal",)), False),
    ],
)
def test_who_is_shown(spine, fracture, shown):
    assert is_suspicious(with_fracture(spine, "L1", fracture)["L1"]) is shown


def test_a_picture_is_made_of_the_suspicious_alone_and_says_its_heights(phantom, spine):
    pictures = render_suspicious(phantom.image, phantom.mask, with_fracture(spine, "L1", graded(40.0, 3)))
    assert [picture.level for picture in pictures] == ["L1"]
    anterior = spine["L1"].heights_mm.anterior
    assert (
        f"Sagittal picture of L1 in its own frame with its heights: anterior {anterior:.1f} mm"
        in pictures[0].words
    )
    pixels = matplotlib.image.imread(io.BytesIO(pictures[0].png))
    assert pixels.shape[1] > 300
    assert np.ptp(pixels[..., 0]) > 0.5


def test_no_more_than_the_worst_are_shown(phantom, spine):
    body = spine["L1"]
    levels = [f"T{n}" for n in range(1, 12)]
    many = Spine(
        tuple(replace(body, level=name, fracture=graded(10.0 + n, 0)) for n, name in enumerate(levels))
    )
    pictures = render_suspicious(phantom.image, phantom.mask, many)
    assert [picture.level for picture in pictures] == levels[-MOST:]


def test_a_tilted_body_stands_upright_in_its_picture(phantom, spine):
    view = view_vertebra(phantom.image, phantom.mask, spine["L2"], step_mm=0.5)
    own = next(o for o in view.outlines if o.label == spine["L2"].label)
    lines = find_height_lines(own)
    for kind in ("anterior", "middle", "posterior"):
        _, low, high = lines[kind]
        assert high - low == pytest.approx(getattr(spine["L2"].heights_mm, kind), abs=1.5)
        assert (high + low) / 2 == pytest.approx(0, abs=2)


def test_lines_lie_at_the_bands_of_a_box():
    inside = np.zeros((60, 80))
    inside[20:41, 10:51] = 1.0
    box = Outline(20, np.arange(-30.0, 50.0), np.arange(30.0, -30.0, -1.0), inside)
    lines = find_height_lines(box)
    assert lines["middle"] == (0.0, -10.0, 10.0)
    assert lines["anterior"][0] == pytest.approx(-20 + 0.175 * 40)
    assert lines["posterior"][0] == pytest.approx(-20 + 0.825 * 40)


def test_nothing_is_drawn_where_the_body_is_not():
    empty = Outline(20, np.arange(-3.0, 4.0), np.arange(3.0, -4.0, -1.0), np.zeros((7, 7)))
    assert find_height_lines(empty) == {}
    assert find_height_lines(None) == {}
