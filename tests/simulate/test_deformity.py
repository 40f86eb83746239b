"""What a spine shall be deformed to."""

import numpy as np
import pytest

from spinelab.errors import InputError
from spinelab.simulate.column import find_source_column
from spinelab.simulate.deformity import (
    CurveRequest,
    Deformity,
    curvature_of,
    draw_deformity,
    main_curve,
    reach_tilts,
    read_deformity,
    request_to_dict,
)
from tests.phantom import make_phantom

LEVELS = ("T11", "T12", "L1", "L2", "L3", "L4", "L5")


@pytest.fixture(scope="module")
def column():
    phantom = make_phantom(levels=LEVELS, spacing_mm=(1.5, 1.5, 1.5), coronal_deg={"T11": 4.0, "L5": -3.0})
    return find_source_column(phantom.mask)


def reached(column, deformity):
    tilts, _ = reach_tilts(column, deformity)
    return main_curve(curvature_of(column, tilts))


@pytest.mark.parametrize(("cobb", "side"), [(20.0, "left"), (45.0, "right"), (70.0, "left")])
def test_the_angle_and_the_side_asked_for_are_reached(column, cobb, side):
    deformity = draw_deformity(column, CurveRequest(cobb_deg=cobb, side=side), np.random.default_rng(3))
    curve = reached(column, deformity)
    assert curve.angle_deg == pytest.approx(cobb, abs=0.05)
    assert curve.convex == side


def test_the_same_seed_gives_the_same_deformity(column):
    request = CurveRequest(cobb_deg=30.0, posture=0.5)
    first, again, other = (draw_deformity(column, request, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first == again
    assert first != other
    assert max(map(abs, first.sagittal_deg.values())) > 0


def test_a_severity_is_drawn(column):
    angles = []
    for seed in range(4):
        deformity = draw_deformity(column, CurveRequest(severity="moderate"), np.random.default_rng(seed))
        angles.append(reached(column, deformity).angle_deg)
    assert min(angles) > 15
    assert max(angles) < 60
    assert len(set(angles)) == 4


def test_an_impossible_angle_is_refused_with_the_largest_possible():
    phantom = make_phantom(levels=("L1", "L2", "L3", "L4"), spacing_mm=(1.5, 1.5, 1.5))
    short = find_source_column(phantom.mask)
    with pytest.raises(InputError, match=r"a curve of 8\d degrees over L1 to L4 .* at most about"):
        draw_deformity(short, CurveRequest(cobb_deg=85.0), np.random.default_rng(0))


def test_an_apex_out_of_view_is_refused(column):
    with pytest.raises(InputError, match="T5"):
        draw_deformity(column, CurveRequest(cobb_deg=30.0, apex="T5"), np.random.default_rng(0))


def test_angles_between_named_levels_are_interpolated(column):
    tilts, shift = reach_tilts(
        column, Deformity(coronal_deg={"T11": 6.0, "L2": 0.0}, shift_mm={"L1": (0, -3, 0)})
    )
    added = (tilts - column.tilts_deg())[:, 0]
    assert added == pytest.approx([6, 4, 2, 0, 0, 0, 0])
    assert shift[2] == pytest.approx(-3 * column.axes[2][1])
    assert np.abs(np.delete(shift, 2, axis=0)).max() == 0


def test_angles_from_a_file(tmp_path):
    path = tmp_path / "angles.csv"
    path.write_text("level,coronal_deg,axial_deg,shift_left_mm\nL1,10,,2\nL3,-5,3,\n", encoding="utf-8")
    deformity = read_deformity(path)
    assert deformity.coronal_deg == {"L1": 10.0, "L3": -5.0}
    assert deformity.axial_deg == {"L1": 0.0, "L3": 3.0}
    assert deformity.shift_mm == {"L1": (2.0, 0.0, 0.0)}
    assert deformity.to_dict()["coronal_deg"] == {"L1": 10.0, "L3": -5.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,coronal_deg\nL1,3\n", "has the columns name, coronal_deg; wanted level and any of"),
        ("level,angle\nL1,3\n", "has the columns level, angle; wanted level"),
        ("level,coronal_deg\nL1,much\n", "wanted a level and numbers in every row"),
        ("level,coronal_deg\nQ1,3\n", "wanted a level and numbers in every row"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, message):
    path = tmp_path / "angles.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_deformity(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .* give a CSV file with a column level"):
        read_deformity(tmp_path / "none.csv")


def test_what_was_left_open_is_not_told():
    assert request_to_dict(CurveRequest(cobb_deg=45.0, side="right")) == {"cobb_deg": 45.0, "side": "right"}
