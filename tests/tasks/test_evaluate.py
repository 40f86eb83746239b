"""Files and folders matched by stem and scored."""

import json

import numpy as np
import pytest

from spinelab.errors import InputError
from spinelab.evaluation import EvaluateOptions
from spinelab.io import verse, write_mask, write_spine
from spinelab.spine import Spine, Vertebra
from spinelab.tasks.evaluate import CaseFiles, evaluate_files, list_cases
from spinelab.volume import Geometry, Mask

GRID = Geometry.from_spacing((10, 10, 60), (2.0, 2.0, 2.0))
PLACES = {20: 45, 21: 30, 22: 15}
QUICK = EvaluateOptions(resamples=20)


def save_mask(path, *labels):
    array = np.zeros(GRID.shape, dtype=np.uint8)
    for label in labels:
        array[2:7, 2:7, PLACES[label] : PLACES[label] + 5] = label
    path.parent.mkdir(exist_ok=True)
    write_mask(Mask(array, GRID), path)


def spine(*labels, complete=True, back_mm=0.0):
    names = {20: "L1", 21: "L2", 22: "L3"}
    return Spine(
        tuple(
            Vertebra(names[n], (8.0, 8.0 + back_mm, 2.0 * PLACES[n] + 4.0), 1.0, complete=complete)
            for n in labels
        )
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sub-1_seg-vert_msk.nii.gz", "mask"),
        ("sub-1_vert.nii.gz", "mask"),
        ("sub-1.nii.gz", "mask"),
        ("sub-1_seg-subreg_ctd.json", "centers"),
        ("sub-1_ctd.json", "centers"),
        ("sub-1_spine.json", "centers"),
    ],
)
def test_the_stem_of_each_kind_of_name(tmp_path, name, kind):
    (tmp_path / name).write_bytes(b"")
    files = CaseFiles(**{kind: tmp_path / name})
    assert list_cases(tmp_path) == {"sub-1": files}


def test_scans_and_reports_are_no_readings(tmp_path):
    for name in ("a_ct.nii.gz", "a_report.html", "a.seg.nrrd", "a_vert.nii.gz"):
        (tmp_path / name).write_bytes(b"")
    assert list_cases(tmp_path) == {"a": CaseFiles(mask=tmp_path / "a_vert.nii.gz")}


def test_a_spine_is_preferred_to_the_centroids_beside_it(tmp_path):
    for name in ("a_ctd.json", "a_spine.json"):
        (tmp_path / name).write_bytes(b"")
    assert list_cases(tmp_path)["a"].centers == tmp_path / "a_spine.json"


def test_two_masks_of_one_case_are_refused(tmp_path):
    for name in ("a_vert.nii.gz", "a_msk.nii.gz"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="are both masks of one case"):
        list_cases(tmp_path)


def test_two_files_of_centres_are_refused(tmp_path):
    for name in ("a_ctd.json", "a_centroids.json"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="both hold centres of one case"):
        list_cases(tmp_path)


def test_nothing_to_score_is_told(tmp_path):
    with pytest.raises(InputError, match="does not exist; give a file or a folder"):
        list_cases(tmp_path / "no")
    with pytest.raises(InputError, match="holds no mask and no centroid file"):
        list_cases(tmp_path)


def test_two_files_need_no_common_name(tmp_path):
    save_mask(tmp_path / "truth.nii.gz", 20, 21)
    save_mask(tmp_path / "guess.nii.gz", 20)
    found = evaluate_files(tmp_path / "truth.nii.gz", tmp_path / "guess.nii.gz", options=QUICK)
    assert found.summary.metrics["dice"].value == 0.5
    assert found.summary.metrics["id_rate"].value == 0.5


def test_folders_with_a_missing_and_an_extra_case(tmp_path):
    for name in ("a", "b"):
        save_mask(tmp_path / "truth" / f"{name}_vert.nii.gz", 20, 21)
    for name in ("a", "c"):
        save_mask(tmp_path / "guess" / f"{name}_vert.nii.gz", 20, 21)
    found = evaluate_files(tmp_path / "truth", tmp_path / "guess", options=QUICK)
    assert (found.missing, found.ignored) == (("b",), ("c",))
    assert found.summary.metrics["recall"].value == 0.5
    assert found.summary.metrics["all_right"].value == 0.5
    assert found.summary.n_vertebrae == 4


def test_a_missing_prediction_counts_zero_dice_and_the_penalty(tmp_path):
    save_mask(tmp_path / "truth" / "a_vert.nii.gz", 20)
    save_mask(tmp_path / "truth" / "b_vert.nii.gz", 20)
    save_mask(tmp_path / "guess" / "a_vert.nii.gz", 20)
    found = evaluate_files(tmp_path / "truth", tmp_path / "guess", options=QUICK)
    assert found.summary.metrics["dice"].value == 0.5
    assert found.summary.metrics["hausdorff95_mm"].value == 50.0


def test_centres_of_whole_masks_when_only_one_side_has_a_file(tmp_path):
    save_mask(tmp_path / "truth" / "a_vert.nii.gz", 20)
    save_mask(tmp_path / "guess" / "a_vert.nii.gz", 20)
    write_spine(spine(20, back_mm=-12.0), tmp_path / "guess" / "a_spine.json")
    found = evaluate_files(tmp_path / "truth", tmp_path / "guess", options=QUICK)
    assert found.summary.metrics["distance_mm"].value == pytest.approx(0.0)


def test_centres_alone_against_a_spine(tmp_path):
    (tmp_path / "truth").mkdir()
    (tmp_path / "guess").mkdir()
    write_spine(spine(20, 21), tmp_path / "truth" / "a_spine.json")
    write_spine(spine(20, back_mm=3.0), tmp_path / "guess" / "a_spine.json")
    metrics = evaluate_files(tmp_path / "truth", tmp_path / "guess", options=QUICK).summary.metrics
    assert metrics["distance_mm"].value == pytest.approx(3.0)
    assert metrics["recall"].value == 0.5
    assert metrics["dice"].value is None


def test_verse_centroids_use_the_grid_of_the_mask_beside_them(tmp_path):
    save_mask(tmp_path / "truth" / "a_vert.nii.gz", 20, 21)
    verse.write_centroids(spine(20, 21), GRID, tmp_path / "truth" / "a_ctd.json")
    save_mask(tmp_path / "guess" / "a_vert.nii.gz", 20, 21)
    write_spine(spine(20, 21, back_mm=5.0), tmp_path / "guess" / "a_spine.json")
    found = evaluate_files(tmp_path / "truth", tmp_path / "guess", options=QUICK)
    assert found.summary.metrics["distance_mm"].value == pytest.approx(5.0, abs=0.05)


def test_incomplete_predictions_are_dropped_by_the_rule(tmp_path):
    (tmp_path / "truth").mkdir()
    (tmp_path / "guess").mkdir()
    write_spine(spine(20), tmp_path / "truth" / "a_spine.json")
    write_spine(
        Spine((*spine(20).vertebrae, *spine(21, complete=False).vertebrae)),
        tmp_path / "guess" / "a_spine.json",
    )
    plain = evaluate_files(tmp_path / "truth", tmp_path / "guess", options=QUICK)
    assert plain.summary.metrics["precision"].value == 0.5
    options = EvaluateOptions(drop_partial=True, resamples=20)
    dropped = evaluate_files(tmp_path / "truth", tmp_path / "guess", options=options)
    assert dropped.summary.metrics["precision"].value == 1.0


def test_voxel_centroids_without_any_mask_are_refused(tmp_path):
    verse.write_centroids(spine(20), GRID, tmp_path / "a_ctd.json")
    with pytest.raises(InputError, match="counts in voxels, and no mask beside it"):
        evaluate_files(tmp_path / "a_ctd.json", tmp_path / "a_ctd.json")


def test_broken_json_is_told(tmp_path):
    (tmp_path / "a_ctd.json").write_text("[{")
    with pytest.raises(InputError, match="JSON"):
        evaluate_files(tmp_path / "a_ctd.json", tmp_path / "a_ctd.json")


def test_folders_without_a_common_case_are_refused(tmp_path):
    save_mask(tmp_path / "truth" / "a_vert.nii.gz", 20)
    save_mask(tmp_path / "guess" / "b_vert.nii.gz", 20)
    with pytest.raises(InputError, match=r"has a prediction in .*name files alike"):
        evaluate_files(tmp_path / "truth", tmp_path / "guess")


def test_progress_is_told(tmp_path):
    write_spine(spine(20), tmp_path / "a_spine.json")
    told = []
    evaluate_files(
        tmp_path / "a_spine.json",
        tmp_path / "a_spine.json",
        options=QUICK,
        progress=lambda *step: told.append(step),
    )
    assert told == [("evaluate", 0.0)]


def test_discs_in_a_centroid_file_are_not_scored(tmp_path):
    save_mask(tmp_path / "a_vert.nii.gz", 20)
    verse.write_centroids(spine(20), GRID, tmp_path / "a_ctd.json")
    entries = json.loads((tmp_path / "a_ctd.json").read_text())
    (tmp_path / "a_ctd.json").write_text(json.dumps([*entries, {**entries[-1], "label": 120}]))
    assert evaluate_files(tmp_path, tmp_path, options=QUICK).summary.metrics["all_right"].value == 1.0
