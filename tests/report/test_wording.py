from dataclasses import replace
from typing import Any

import pytest

from spinelab.report.wording import (
    build_row,
    flatten_manifest,
    largest_loss,
    list_findings,
    split_slip,
    write_caption,
    write_headline,
    write_numbering,
    write_readers,
    write_slip,
)
from spinelab.spine import (
    Curvature,
    Density,
    Fracture,
    FractureReading,
    HeightLoss,
    Numbering,
    Slip,
    Spine,
    Vertebra,
)
from tests.report.spines import measured_spine


def test_headline_says_what_was_seen() -> None:
    spine = measured_spine()
    assert write_headline(spine) == "T12 to L3, 4 vertebrae"
    assert write_headline(replace(spine, vertebrae=spine.vertebrae[:1])) == "T12, one vertebra"
    assert write_headline(Spine(())) == "No vertebra was found"


def test_numbering_names_the_anchors_and_the_probability() -> None:
    assert write_numbering(measured_spine()) == (
        "Numbering anchored by the first rib, the last rib and the sacrum. "
        "Probability that every name is right: 97 %."
    )


@pytest.mark.parametrize(
    ("numbering", "text"),
    [
        (None, "How sure the numbering is was not determined."),
        (
            Numbering((), 0.4, (), 0.0, False),
            "Nothing in view fixes the count, so the names are a guess. "
            "Probability that every name is right: 40 %.",
        ),
        (
            Numbering(("C2",), 0.996, (), 0.0, True),
            "Numbering anchored by C2. Probability that every name is right: > 99 %.",
        ),
        (Numbering((), 0.002, (), 0.0, True), "Probability that every name is right: < 1 %."),
        (Numbering((), 0.5, (), 0.0, True, statement="As found."), "As found."),
    ],
)
def test_numbering_in_words(numbering: Numbering | None, text: str) -> None:
    assert write_numbering(replace(measured_spine(), numbering=numbering)) == text


def test_without_vertebrae_the_next_step_is_said() -> None:
    assert "Check that the spine is in the field of view" in write_numbering(Spine(()))


def test_findings_of_a_measured_spine() -> None:
    assert list_findings(measured_spine()) == [
        ("Height loss of 20 % or more", "L1 34 % (anterior)", True),
        ("Coronal curve", "12°, T12 to L2, convex to the left, apex L1", True),
        ("Lordosis", "31°, L1 to L3", False),
        ("Slip of 3 mm or more", "L1 on L2 4.1 mm forward, 3.4 mm right", True),
        ("Density", "L1 118 HU, lowest 98 HU (L2)", False),
        ("Numbering variant", "T13", True),
        ("Next likely numbering", "T11 to L2, 2 %", False),
    ]


def test_findings_when_nothing_was_measured() -> None:
    spine = Spine((Vertebra("L1", (0.0, 0.0, 0.0), 1.0),))
    assert {finding for _, finding, _ in list_findings(spine)} == {"not measured"}
    assert not any(out for *_, out in list_findings(spine))
    assert list_findings(Spine(())) == []


def test_findings_when_all_is_normal() -> None:
    normal = Vertebra(
        "L1", (0.0, 0.0, 0.0), 1.0, height_loss=HeightLoss(4.0, 3.0, 1.0, 0.0), slip=Slip("T12", 0.2, 0.1)
    )
    findings = list_findings(Spine((normal,), curvature=Curvature()))
    assert [finding for _, finding, _ in findings[:3]] == [
        "none of 1 measured",
        "none of 5° or more",
        "none of 1 measured",
    ]


def test_row_of_a_collapsed_vertebra() -> None:
    row = build_row(measured_spine()["L1"])
    assert (row.probability, row.doubtful, row.complete) == ("72 %", True, "yes")
    assert (row.anterior, row.middle, row.posterior) == ("16.0", "17.2", "–")
    assert (row.loss, row.loss_kind, row.collapsed) == ("34", "anterior", True)
    assert (row.density, row.slip, row.flags) == ("118", [], "")


def test_row_of_a_cut_vertebra_has_dashes_and_says_cut_once() -> None:
    row = build_row(measured_spine()["T12"])
    assert (row.complete, row.cut, row.flags) == ("cut", True, "metal")
    assert {row.anterior, row.middle, row.posterior, row.loss, row.density} == {"–"}


def test_the_largest_loss_is_named() -> None:
    assert largest_loss(HeightLoss(1.0, 2.0, 26.0, 3.0)) == (26.0, "posterior")
    assert largest_loss(HeightLoss(1.0, 22.0, 3.0, None)) == (22.0, "middle")
    assert largest_loss(HeightLoss(1.0, 22.0, 3.0, 25.0)) == (25.0, "to neighbours")
    assert largest_loss(HeightLoss(None, None, None, None)) == (None, "")
    assert largest_loss(None) == (None, "")


def test_a_small_or_negative_loss_is_written_without_its_kind() -> None:
    vertebra = Vertebra("L1", (0.0, 0.0, 0.0), 1.0, height_loss=HeightLoss(-3.0, None, None, -5.0))
    row = build_row(vertebra)
    assert (row.loss, row.loss_kind, row.collapsed) == ("0", "", False)


@pytest.mark.parametrize(
    ("slip", "text"),
    [
        (Slip("L1", 4.13, 0.5), "4.1 mm forward"),
        (Slip("L1", -2.0, 3.2), "2.0 mm back, 3.2 mm left"),
        (Slip("L1", 0.01, 0.0), "0.0 mm"),
    ],
)
def test_slip_in_words(slip: Slip, text: str) -> None:
    assert write_slip(slip) == text


def test_a_small_sideways_slip_is_left_out() -> None:
    assert split_slip(Slip("L1", 1.0, 2.9)) == [("forward", "1.0")]


def test_manifest_is_flat_and_keeps_only_the_last_part_of_paths() -> None:
    manifest = {
        "seconds": {"locate": 3.14159, "all": {"x_y": 2}},
        "input": "/data/SMITH_JOHN/scan.nii.gz",
        "folder": "C:\\patients\\SMITH\\scan.nii",
        "levels": ["T1", None],
        "series": None,
        "licence": "CC BY-SA 4.0 / Apache-2.0",
    }
    assert flatten_manifest(manifest) == [
        ("seconds: locate", "3.142"),
        ("seconds: all: x y", "2"),
        ("input", "scan.nii.gz"),
        ("folder", "scan.nii"),
        ("levels", "T1, –"),
        ("series", "–"),
        ("licence", "CC BY-SA 4.0 / Apache-2.0"),
    ]


WEDGE = Fracture(True, 0.94, 2, "wedge", 31.4, (24.0, 38.2), "neighbours", ("thick slices (5.0 mm)", "metal"))
WHOLE = Fracture(True, 0.001, 0, None, 0.3, (0.0, 9.0), "neighbours", ("level name doubtful",))
CUT = Fracture(False, reasons=("cut by the field of view",))


def body(name: str, fracture: Fracture | None, **changes: Any) -> Vertebra:
    return Vertebra(name, (0.0, 0.0, 0.0), 0.99, fracture=fracture, **changes)


def test_a_graded_body_shows_loss_interval_grade_and_probability() -> None:
    row = build_row(body("L1", WEDGE, flags=("metal",)))
    assert (row.loss, row.loss_kind, row.grade, row.chance) == ("31", "24 to 38", "2 wedge", "94 %")
    assert row.flags == "metal"
    assert row.collapsed


def test_a_normal_body_is_not_burdened_with_probabilities() -> None:
    row = build_row(body("L2", WHOLE))
    assert (row.loss, row.loss_kind, row.grade, row.chance, row.flags) == ("0", "0 to 9", "0", "", "")
    assert not row.collapsed


def test_what_is_not_evaluable_says_so_once() -> None:
    row = build_row(body("L3", CUT, complete=False, flags=("cut",)))
    assert (row.loss, row.grade, row.flags, row.complete) == ("–", "not evaluable", "", "cut")
    row = build_row(body("C5", Fracture(False, reasons=("cervical levels are not graded",))))
    assert (row.grade, row.flags) == ("–", "")
    unreadable = Fracture(False, reasons=("heights not readable",))
    assert build_row(body("L3", unreadable)).flags == "heights not readable"


def test_graded_losses_are_found_with_their_reference() -> None:
    spine = Spine((body("T12", WHOLE), body("L1", WEDGE), body("L2", CUT)))
    subject, finding, stands_out = list_findings(spine)[0]
    assert subject == "Height loss of 20 % or more"
    assert finding == "L1 31 % against neighbours, grade 2 wedge"
    assert stands_out
    assert list_findings(Spine((body("T12", WHOLE), body("L1", CUT))))[0][1:] == ("none of 1 graded", False)


def test_low_density_stands_out_apart_from_fractures() -> None:
    density = Density(90.0, 88.0, 20.0, 5000.0)
    spine = Spine((body("L1", WHOLE, density=density, flags=("low density",)),))
    assert ("Density", "L1 90 HU, lowest 90 HU (L1), low at L1", True) in list_findings(spine)


def test_the_caption_of_a_picture_says_it_all() -> None:
    assert write_caption(body("L1", WEDGE)) == (
        "height loss 31 % (24 to 38) against neighbours; Genant grade 2, wedge; probability of 20 % or more: "
        "94 %; thick slices (5.0 mm); metal"
    )


def test_both_readers_are_told_apart() -> None:
    readings = {
        "geometry": FractureReading(0.8, 28.0, (20.0, 36.0), "wedge"),
        "network": FractureReading(0.9, 34.4, (27.0, 41.0), "wedge"),
    }
    found = body("L1", replace(WEDGE, **readings))
    assert write_readers(found.fracture) == "outline 28, scan 34"
    assert build_row(found).readers == "outline 28, scan 34"
    assert "against neighbours (outline 28, scan 34); Genant grade 2" in write_caption(found)
    assert write_readers(WEDGE) == write_readers(None) == ""
