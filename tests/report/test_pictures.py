from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from spinelab.anatomy import LEVELS
from spinelab.errors import OutputError
from spinelab.report.pictures import draw_views, level_color, write_preview
from spinelab.spine import Spine
from spinelab.volume import Geometry, Image, Mask
from tests.phantom import Phantom, make_phantom


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(levels=("L1", "L2", "L3"), spacing_mm=(2.5, 2.5, 2.5))


def _texts(phantom: Phantom, spine: Spine) -> list[list[str]]:
    figure = draw_views(phantom.image, phantom.mask, spine)
    return [[text.get_text() for text in axes.texts] for axes in figure.axes]


def test_preview_is_a_png_with_two_pictures(phantom: Phantom, tmp_path: Path) -> None:
    target = tmp_path / "scan_preview.png"
    write_preview(phantom.image, phantom.mask, phantom.spine, target)
    pixels = matplotlib.image.imread(target)
    assert pixels.shape[0] > 300
    assert pixels.shape[1] > 600
    coloured = np.ptp(pixels[..., :3], axis=2) > 0.3
    half = pixels.shape[1] // 2
    assert coloured[:, :half].sum() > 200
    assert coloured[:, half:].sum() > 200


def test_names_and_sides_stand_in_both_pictures(phantom: Phantom) -> None:
    sagittal, coronal = _texts(phantom, phantom.spine)
    assert {"L1", "L2", "L3", "A", "P", "S", "I", "5 cm"} == set(sagittal)
    assert {"L1", "L2", "L3", "R", "L", "S", "I"} == set(coronal)


def test_side_letters_are_on_their_sides(phantom: Phantom) -> None:
    figure = draw_views(phantom.image, phantom.mask, phantom.spine)
    for axes, (first, last) in zip(figure.axes, (("A", "P"), ("R", "L")), strict=True):
        places = {text.get_text(): text.xy for text in axes.texts if hasattr(text, "xy")}
        assert places[first][0] < places[last][0]
        assert places["I"][1] < places["S"][1]
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        assert left < right  # towards the back, towards the patient's left
        assert low < high  # towards the head


def test_a_doubtful_name_bears_its_probability(phantom: Phantom) -> None:
    first, *others = phantom.spine.vertebrae
    spine = Spine((replace(first, probability=0.724), *others))
    figure = draw_views(phantom.image, phantom.mask, spine)
    assert "L1  72 %" in [text.get_text() for text in figure.axes[0].texts]
    assert "%: probability of a doubtful name" in [text.get_text() for text in figure.texts]


def test_a_cut_vertebra_is_dashed_and_one_not_named_is_grey(phantom: Phantom) -> None:
    first, second, _ = phantom.spine.vertebrae
    spine = Spine((replace(first, complete=False), second))
    figure = draw_views(phantom.image, phantom.mask, spine)
    lines = {}
    for outline in figure.axes[1].collections:
        red, green, blue, _ = (round(255 * part) for part in outline.get_edgecolor()[0])
        lines[f"#{red:02X}{green:02X}{blue:02X}"] = outline.get_linestyle()[0][1] is not None
    assert lines == {level_color("L1"): True, level_color("L2"): False, "#9AA3AD": False}


def test_names_that_would_overlap_give_way_to_whole_vertebrae(phantom: Phantom) -> None:
    first, second, third = phantom.spine.vertebrae
    x, y, z = second.center_mm
    spine = Spine((replace(first, center_mm=(x, y, z + 0.5), complete=False), second, third))
    assert "L1" not in _texts(phantom, spine)[0]
    assert "L2" in _texts(phantom, spine)[0]


def test_without_vertebrae_the_picture_says_so(phantom: Phantom) -> None:
    figure = draw_views(phantom.image, phantom.mask, Spine(()))
    assert "No vertebra found: plain planes through the middle of the scan" in [
        text.get_text() for text in figure.texts
    ]


def test_a_single_vertebra_and_a_single_slice_are_drawn(tmp_path: Path) -> None:
    geometry = Geometry.from_spacing((40, 40, 1), (1.0, 1.0, 5.0))
    image = Image(np.zeros(geometry.shape, np.int16), geometry, "CT")
    mask = Mask(np.full(geometry.shape, 20, np.uint8), geometry)
    phantom = make_phantom(levels=("L1",), spacing_mm=(2.5, 2.5, 2.5))
    only = replace(phantom.spine.vertebrae[0], center_mm=(20.0, 20.0, 0.0))
    write_preview(image, mask, Spine((only,)), tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_the_window_is_that_of_bone_for_ct_and_of_the_picture_else(modality: str) -> None:
    geometry = Geometry.from_spacing((40, 40, 40), (1.0, 1.0, 1.0))
    ramp = np.broadcast_to(np.linspace(0, 100, 40), geometry.shape).copy()
    image = Image(ramp, geometry, modality)  # type: ignore[arg-type]
    figure = draw_views(image, Mask(np.zeros(geometry.shape, np.uint8), geometry), Spine(()))
    shown = figure.axes[0].images[0].get_array()
    contrast = int(shown[0, 0, 0]) - int(shown[-1, 0, 0])
    assert contrast > 240 if modality == "MR" else 10 < contrast < 30


def test_neighbours_differ_in_colour_and_sacrum_is_grey() -> None:
    colors = [level_color(level.name) for level in LEVELS if level.region != "sacral"]
    for first, second, third in zip(colors, colors[1:], colors[2:], strict=False):
        assert len({first, second, third}) == 3
    assert level_color("S") == "#9AA3AD"


def test_a_preview_that_cannot_be_written_says_why(phantom: Phantom, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder does not exist; create it first"):
        write_preview(phantom.image, phantom.mask, phantom.spine, tmp_path / "none" / "p.png")
