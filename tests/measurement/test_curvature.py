import numpy as np
import pytest

from spinelab.measurement.curvature import Endplates, find_turning_points, measure_curvature


def column(names, coronal=None, sagittal=None, slice_mm=1.0):
    """Bodies 30 mm apart along their tilts, both endplates at the tilt given (degrees)."""
    coronal, sagittal = coronal or [0.0] * len(names), sagittal or [0.0] * len(names)
    parts, center = [], np.zeros(3)
    previous = None
    for name, c, s in zip(names, coronal, sagittal, strict=True):
        step = np.array([np.tan(np.radians(c)), np.tan(np.radians(s)), 1.0])
        if previous is not None:
            center = center - 30 * (step + previous) / 2
        normal = step / np.linalg.norm(step)
        parts.append(Endplates(name, center, normal, normal, slice_mm))
        previous = step
    return parts


THORACOLUMBAR = ("T9", "T10", "T11", "T12", "L1", "L2", "L3")


def test_one_curve_with_its_ends_apex_and_side():
    """Upper bodies lean right, lower ones left: the column bulges to the left."""
    curves = measure_curvature(column(THORACOLUMBAR, [-5, -15, -7, 0, 8, 16, 6])).coronal
    assert len(curves) == 1
    main = curves[0]
    assert (main.upper, main.lower, main.apex, main.convex) == ("T10", "L2", "T12", "left")
    assert main.angle_deg == pytest.approx(31)


def test_double_curve_alternates():
    names = (*tuple(f"T{i}" for i in range(3, 13)), "L1", "L2", "L3", "L4")
    tilts = [14, 13, 6, 0, -7, -14, -15, -14, -7, 0, 6, 12, 13, 13]
    curves = measure_curvature(column(names, tilts)).coronal
    assert [c.convex for c in curves] == ["right", "left"]
    assert curves[0].lower == curves[1].upper
    assert curves[0].angle_deg == pytest.approx(29)


def test_a_straight_column_and_a_small_bend_have_no_curve():
    assert measure_curvature(column(THORACOLUMBAR)).coronal == ()
    assert measure_curvature(column(THORACOLUMBAR, [0, 0.5, 1, 2, 3, 4, 4.4])).coronal == ()


def test_noise_of_two_degrees_makes_no_curve():
    assert measure_curvature(column(THORACOLUMBAR, [2, -2, 2, -2, 2, -2, 2])).coronal == ()


def test_two_vertebrae_make_no_curve():
    assert measure_curvature(column(("L1", "L2"), [-20, 20])).coronal == ()


def test_kyphosis_from_t4_to_t12():
    names = (*tuple(f"T{i}" for i in range(2, 13)), "L1")
    curve = measure_curvature(column(names, sagittal=list(np.linspace(-25, 30, 12)))).kyphosis
    assert (curve.upper, curve.lower, curve.convex) == ("T4", "T12", "posterior")
    assert curve.angle_deg == pytest.approx(40)
    assert curve.plane == "sagittal"


def test_lordosis_ends_at_the_sacral_endplate():
    parts = column(("L1", "L2", "L3", "L4", "L5"), sagittal=[15, 8, 0, -8, -15])
    sacrum = Endplates("S", np.array([0, 10.0, -160]), np.array([0, -np.sin(0.6), np.cos(0.6)]), None)
    curve = measure_curvature([*parts, sacrum]).lordosis
    assert (curve.upper, curve.lower, curve.convex) == ("L1", "S", "anterior")
    assert curve.angle_deg == pytest.approx(15 + np.degrees(0.6))
    assert measure_curvature(parts).lordosis.lower == "L5"


def test_what_is_visible_is_named_and_needs_four_vertebrae():
    parts = column(("T8", "T9", "T10", "T11"), sagittal=[-10, -5, 0, 5])
    curve = measure_curvature(parts).kyphosis
    assert (curve.upper, curve.lower) == ("T8", "T11")
    assert measure_curvature(parts[1:]).kyphosis is None


def test_ends_without_their_endplate_are_left_out():
    parts = column(tuple(f"T{i}" for i in range(4, 11)), sagittal=list(range(-18, 17, 5)))
    parts[0] = Endplates("T4", parts[0].center_mm, None, parts[0].inferior)
    parts[-1] = Endplates("T10", parts[-1].center_mm, parts[-1].superior, None)
    curve = measure_curvature(parts).kyphosis
    assert (curve.upper, curve.lower) == ("T5", "T9")


def test_a_lordotic_thorax_is_said_to_bulge_forward():
    curve = measure_curvature(column(("T5", "T6", "T7", "T8"), sagittal=[6, 2, -2, -6])).kyphosis
    assert curve.convex == "anterior"
    assert curve.angle_deg == pytest.approx(12)


def test_thick_slices_lean_on_the_centre_line():
    """One endplate misread by 10 degrees: with 5 mm slices less of it comes through."""
    found = []
    for slice_mm in (1.0, 5.0):
        parts = column(("L1", "L2", "L3", "L4"), [-12, -4, 4, 12], slice_mm=slice_mm)
        off = np.array([np.sin(np.radians(22)), 0, np.cos(np.radians(22))])
        parts[-1] = Endplates("L4", parts[-1].center_mm, parts[-1].superior, off, slice_mm)
        found.append(measure_curvature(parts).coronal[0].angle_deg)
    assert found[0] == pytest.approx(34)
    assert abs(found[1] - 24) < 6


@pytest.mark.parametrize(
    ("values", "turns"),
    [
        ([-4, -6, -5, 8, 3], [1, 3, 4]),
        ([0, 1, 2, 3], []),
        ([0, 10], [0, 1]),
        ([10, 9, 10, 0, 1, 0], [0, 3]),
        ([], []),
    ],
)
def test_turning_points(values, turns):
    assert find_turning_points(values, 4) == turns
