"""From the network's answer to named vertebrae, discs and files."""

import json
from dataclasses import replace

import numpy as np
import pytest

from spinelab.errors import InputError, ModalityError
from spinelab.io import read_spine, write_image
from spinelab.tasks import landmarks as task
from spinelab.tasks.landmarks import LocateOptions, locate, locate_file
from tests.tasks.mr_scans import HALF, HEIGHTS, LABELS, Answers, centers, make_scan


@pytest.fixture
def answer(monkeypatch):
    def give(places=None, labels=LABELS, **change):
        network = Answers(centers() if places is None else places, labels, **change)
        monkeypatch.setattr(task.models, "load", lambda *_, **__: network)
        monkeypatch.setattr(task.models, "weights_digest", lambda folder: {"landmarks": "ab"})

    return give


def test_a_lumbar_column_is_named_from_the_sacrum(answer):
    answer()
    spine = locate(make_scan())
    assert spine.levels == ("L1", "L2", "L3", "L4", "L5")
    assert spine.numbering.anchors == ("sacrum",)
    assert spine.numbering.probability > 0.8
    assert spine["L3"].center_mm == pytest.approx(centers()[2], abs=0.02)
    assert spine["L3"].corners.points() == pytest.approx(np.array(centers()[2]) + HALF, abs=0.02)
    assert spine["L3"].center_sd_mm == pytest.approx(1.25, abs=0.01)
    assert all(v.complete for v in spine.vertebrae)
    assert spine.warnings == ()


def test_discs_lie_between_the_corners_about_them(answer):
    answer()
    discs = locate(make_scan()).discs
    assert [(disc.above, disc.below) for disc in discs] == [
        ("L1", "L2"),
        ("L2", "L3"),
        ("L3", "L4"),
        ("L4", "L5"),
        ("L5", "S"),
    ]
    assert discs[0].center_mm == pytest.approx((16, 60, 160), abs=0.02)
    assert discs[0].sd_mm == pytest.approx(1.2533 / 2, abs=0.01)


def test_without_the_sacrum_the_names_are_said_to_be_a_guess(answer):
    answer(centers()[:4], LABELS[:4])
    spine = locate(make_scan())
    assert not spine.numbering.anchored
    assert "The sacrum was not seen: the names are a guess." in spine.warnings


def test_a_body_that_the_view_cuts_is_marked(answer):
    answer([(16.0, 60.0, 190.0), *centers()[1:]])
    spine = locate(make_scan())
    assert spine["L1"].flags == ("cut",)
    assert not spine["L1"].complete
    assert spine["L2"].complete


def test_a_missing_body_is_inferred_without_corners_and_discs_beside_it_are_less_exact(answer):
    places = [place for k, place in enumerate(centers()) if k != 2]
    answer(places, [label for k, label in enumerate(LABELS) if k != 2])
    spine = locate(make_scan())
    assert spine.levels == ("L1", "L2", "L3", "L4", "L5")
    assert spine["L3"].corners is None
    assert spine["L3"].flags == ("centre inferred",)
    assert [disc.above for disc in spine.discs] == ["L1", "L2", "L3", "L4", "L5"]
    assert spine.discs[1].anterior_mm is None
    assert spine.discs[1].sd_mm > 2 * spine.discs[0].sd_mm
    assert spine.discs[1].center_mm[2] == pytest.approx((HEIGHTS[1] + spine["L3"].center_mm[2]) / 2, abs=0.1)
    assert spine.warnings == ("L3: not seen by the detector, inferred from the neighbours.",)


class InTurn:
    """Answers each look at the scan differently: as it is, then turned over in three ways."""

    def __init__(self, *answers):
        self.answers = iter(answers)

    def __call__(self, *, scan):
        return next(self.answers)(scan=scan)


NOTHING = Answers([], [])


@pytest.mark.parametrize(
    ("before", "how"), [(0, "upside down"), (1, "mirrored head to foot"), (2, "mirrored front to back")]
)
def test_a_scan_that_shows_its_sacrum_once_turned_over_is_refused(answer, monkeypatch, before, how):
    answer()
    looks = [Answers(centers()[:4], LABELS[:4]), *[NOTHING] * before, Answers(centers(), LABELS)]
    monkeypatch.setattr(task.models, "load", lambda *_, **__: InTurn(*looks))
    with pytest.raises(InputError, match=f"this scan looks {how}; turn it, or check how it was converted"):
        locate(make_scan())


def test_a_faint_column_in_the_turned_scan_changes_nothing(answer, monkeypatch):
    answer()
    looks = [Answers(centers()[:4], LABELS[:4]), Answers(centers(), LABELS, height=0.6), NOTHING, NOTHING]
    monkeypatch.setattr(task.models, "load", lambda *_, **__: InTurn(*looks))
    assert len(locate(make_scan()).vertebrae) == 4


@pytest.mark.parametrize("places", [[], centers()[:1]])
def test_fewer_than_two_vertebrae_are_refused(answer, places):
    answer(places, LABELS[: len(places)])
    with pytest.raises(InputError, match="found no vertebra in this scan, wanted 2 or more; give a sag"):
        locate(make_scan())


def test_a_column_the_network_hardly_believes_is_none(answer):
    answer(height=0.3)
    with pytest.raises(InputError, match="found no vertebra"):
        locate(make_scan())


def test_a_ct_is_sent_to_analyze(answer):
    answer()
    with pytest.raises(ModalityError, match="spinelab analyze"):
        locate(replace(make_scan(), modality="CT"))


def test_the_files_hold_what_was_found(answer, tmp_path):
    answer()
    write_image(make_scan(), tmp_path / "scan.nii.gz")
    result = locate_file(tmp_path / "scan.nii.gz", tmp_path / "out", options=LocateOptions(threads=1))
    assert {kind: path.name for kind, path in result.files.items()} == {
        "centroids": "scan_ctd.json",
        "spine": "scan_spine.json",
        "preview": "scan_preview.png",
        "report": "scan_report.html",
    }
    assert read_spine(result.files["spine"]) == result.spine
    assert result.spine.manifest["weights_sha256"] == {"landmarks": "ab"}
    assert set(result.spine.manifest["seconds"]) == {"read", "locate", "write", "report"}
    entries = json.loads(result.files["centroids"].read_text())
    assert [entry["label"] for entry in entries[1:]] == list(LABELS[:5])
    assert result.files["preview"].read_bytes()[:4] == b"\x89PNG"


def test_spacing_is_for_pictures_alone(tmp_path):
    with pytest.raises(InputError, match="states its own spacing; --spacing is for PNG and JPEG"):
        locate_file(tmp_path / "scan.nii.gz", tmp_path / "out", spacing_mm=1.0)
    assert not (tmp_path / "out").exists()


def test_a_column_is_measured_by_its_corners(answer):
    answer()
    spine = locate(make_scan())
    heights = spine["L2"].heights_mm
    assert (heights.anterior, heights.middle, heights.posterior) == (24.0, None, 24.0)
    # centres 36 mm apart, corners 12 mm above and below them
    assert (spine.discs[1].anterior_mm, spine.discs[1].posterior_mm) == (12.0, 12.0)
    assert spine.curvature.lordosis.angle_deg == pytest.approx(0, abs=0.1)
    assert spine.curvature.coronal == ()


def test_of_the_disc_above_the_sacrum_only_the_middle_is_told(answer):
    answer()
    last = locate(make_scan()).discs[-1]
    assert (last.above, last.below) == ("L5", "S")
    assert last.center_mm == pytest.approx((16, 60, HEIGHTS[4] - 12 - 5.3), abs=0.02)
    assert last.anterior_mm is None
    assert last.sd_mm > 4


def test_without_the_sacrum_there_is_no_disc_above_it(answer):
    answer(centers()[:5], LABELS[:5])
    assert locate(make_scan()).discs[-1].below == "L5"


@pytest.mark.parametrize(("heat", "count"), [(0.58, 5), (0.45, 6)])
def test_a_faint_column_is_refused_and_a_short_one_sooner(answer, heat, count):
    answer(centers()[:count], LABELS[:count], height=heat)
    with pytest.raises(InputError, match=r"found no vertebra .* voxels are 2 x 2 x 2 mm"):
        locate(make_scan())


def test_a_column_that_is_seen_less_clearly_is_doubted(answer):
    answer(height=0.57)
    assert any("seen less clearly than usual" in warning for warning in locate(make_scan()).warnings)
