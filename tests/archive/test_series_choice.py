"""Which series of a study is read, and what is said about the others."""

import numpy as np
import pytest

from spinelab.archive.series_choice import choose_to_read, kernel_of, why_unfit, worth
from spinelab.io.dicom import DicomSlice
from spinelab.io.dicom_series import Series

AXIAL, SAGITTAL = (1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1)


def series(
    name, count=120, step=2.5, *, kernel="B31f", orientation=AXIAL, kind="ORIGINAL\\PRIMARY\\AXIAL", **facts
):
    """A series of placed slices at `step` mm along its normal."""
    turned = np.array(orientation, dtype=float)
    normal = np.cross(turned[:3], turned[3:])
    known = {"Modality": "CT", "ImageType": kind, "ConvolutionKernel": kernel, "SeriesNumber": name, **facts}
    slices = [
        DicomSlice(None, None, known, (512, 512), k * step * normal, turned, (0.7, 0.7), (1.0, -1024.0))
        for k in range(count)
    ]
    return Series(name, f"1.2.{name}", tuple(slices))


def chosen(*found):
    choice = choose_to_read(found)
    return choice.series and choice.series.name, choice.sentence


def test_the_thin_soft_axial_series_is_chosen_and_the_others_named():
    name, sentence = chosen(
        series("1", 2, 100.0, kind="ORIGINAL\\PRIMARY\\LOCALIZER"),
        series("2", 60, 5.0),
        series("3", 300, 1.0),
        series("4", 300, 1.0, kernel="B70f"),
        series("5", 100, 3.0, orientation=SAGITTAL, kind="DERIVED\\SECONDARY\\MPR"),
        series("6", 60, 5.0, kind="DERIVED\\SECONDARY\\AXIAL\\MIP"),
        series("7", 1, Modality="SR"),
    )
    assert name == "3"
    assert sentence == (
        "series 3: CT, 300 slices, 0.70 x 0.70 x 1.00 mm, kernel B31f, 299 mm of the body; passed over: "
        "2 (slices 5.00 mm apart); 4 (sharp kernel); 1 (localizer); 5 (not axial); 6 (projection or "
        "picture); 7 (modality SR)"
    )


def test_bone_is_taken_where_there_is_no_soft_one_and_before_lung():
    assert chosen(series("1", kernel="BONE"), series("2", kernel="LUNG"))[0] == "1"


def test_a_thick_series_of_the_whole_trunk_loses_to_thin_chest_but_not_to_a_thin_bit():
    whole = series("1", 130, 5.0)
    assert chosen(whole, series("2", 360, 1.0))[0] == "2"
    assert chosen(whole, series("3", 120, 1.0))[0] == "1"


def test_of_equals_the_one_without_contrast_and_then_the_first_is_taken():
    assert chosen(series("3"), series("2", Contrast="yes"))[0] == "3"
    assert chosen(series("3"), series("2"))[0] == "2"


def test_a_derived_axial_series_serves_where_nothing_else_is_there():
    assert chosen(series("1", kind="DERIVED\\SECONDARY\\AXIAL"))[0] == "1"
    name, sentence = chosen(series("1", kind="DERIVED\\SECONDARY\\AXIAL"), series("2"))
    assert name == "2"
    assert "1 (derived)" in sentence


def test_a_study_without_an_axial_ct_says_what_is_there():
    name, sentence = chosen(series("1", Modality="MR"), series("2", 10, 5.0))
    assert name is None
    assert sentence == ("no series can be read as an axial CT: 1 (modality MR); 2 (10 slices over 45 mm)")
    assert chosen() == (None, "no series can be read as an axial CT: there is none")


def test_series_with_gaps_or_too_thick_are_unfit():
    whole = series("1", 60, 2.5)
    gap = Series("1", "1.2", whole.slices[:20] + whole.slices[24:])
    assert why_unfit(gap).startswith("4 of 60 slices are missing")
    assert why_unfit(series("1", 12, 10.0)) == "slices 10.0 mm apart"


def test_unplaced_images_are_unfit():
    bare = DicomSlice(None, None, {"Modality": "CT", "ImageType": ""}, (5, 5), None, None, None, (1.0, 0.0))
    assert why_unfit(Series("1", "1.2", (bare,) * 9)) == "its images do not say where they lie"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("B31f", "soft"), ("Br40d\\3", "soft"), ("I50f\\2", "bone"), ("B60s", "bone"), ("B80f", "sharp"),
        ("Hr68", "sharp"), ("STANDARD", "soft"), ("BONEPLUS", "bone"), ("LUNG", "sharp"), ("EDGE", "sharp"),
        ("FC08", "soft"), ("FC30", "bone"), ("FC51", "sharp"), ("B", "soft"), ("YC", "sharp"), ("D", "bone"),
        ("", "unnamed"), ("something", "unnamed"),
    ],
)  # fmt: skip
def test_kernels_of_the_makers(name, kind):
    assert kernel_of(series("1", kernel=name)) == kind


def test_worth_counts_millimetres():
    assert worth(series("1", 101, 1.0)) == pytest.approx(100.0)
    assert worth(series("1", 101, 2.5)) == pytest.approx(225.0)
    assert worth(series("1", 21, 5.0, kernel="LUNG", Contrast="yes")) == pytest.approx(100 * 0.5 * 0.8 * 0.99)
