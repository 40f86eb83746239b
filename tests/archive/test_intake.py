"""What is taken in, when, and that it is taken in once."""

import os
import shutil

import numpy as np
import pytest
from sqlalchemy import select

from spinelab.archive import intake as module
from spinelab.archive.intake import Intake
from spinelab.archive.queue import claim, fail, finish, miss, put_back, skip
from spinelab.archive.tables import DONE, QUEUED, SKIPPED, Place, Scan
from tests.archive.readers import read_value
from tests.archive.scans import spec, write_file, write_study
from tests.io.dicom_files import write_series

STUDY = "1.2.1003"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def intake(store, folder):
    return Intake(store, folder, settle_s=0.0)


def scans(store, **wanted):
    with store.reading() as session:
        found = session.scalars(select(Scan).filter_by(**wanted).order_by(Scan.id)).all()
        session.expunge_all()
        return found


def read_all(store):
    while (job := claim(store, "w", now=1e12)) is not None:
        out = store.files / f"new-{job.case}"
        out.mkdir()
        assert finish(store, job, read_value(job, out), out, now=1.0)


def test_files_are_entered_once_whatever_they_are_called(store, folder, intake):
    first = write_file(folder / "a.nrrd", 1)
    shutil.copy(first, folder / "copy.nrrd")
    write_file(folder / "b.nrrd", 2)
    look = intake.look()
    assert (look.places, look.entered, look.arriving) == (3, 2, 0)
    assert (intake.look().entered, len(scans(store))) == (0, 2)
    assert [scan.source for scan in scans(store)] == [str(folder / "a.nrrd"), str(folder / "b.nrrd")]


def test_the_database_holds_no_name_and_no_identifier(store, folder, intake, tmp_path):
    write_study(folder / "study", 5, f"{STUDY}.1")
    intake.look()
    read_all(store)
    store.close()
    content = (tmp_path / "results.db").read_bytes()
    assert b"case-" in content
    for secret in (b"SECRET", b"Secret", STUDY.encode()):
        assert secret not in content


def test_a_study_of_several_series_is_one_scan_of_the_best(store, folder, intake):
    write_study(folder / "s" / "thick", 5, f"{STUDY}.1", slices=13, step_mm=5.0, number=1)
    write_study(folder / "s" / "thin", 6, f"{STUDY}.2", slices=49, step_mm=1.25, number=2)
    write_study(folder / "s" / "scout", 7, f"{STUDY}.3", slices=1, number=3)
    assert intake.look().entered == 1
    (scan,) = scans(store)
    assert (scan.source, scan.kind, len(scan.files)) == (str(folder / "s" / "thin"), "dicom", 49)
    assert scan.choice.startswith("series 2: CT, 49 slices")
    assert "1 (slices 5.00 mm apart)" in scan.choice
    assert "3 (1 slices over 0 mm)" in scan.choice


def test_studies_mixed_in_one_folder_are_told_apart(store, folder, intake):
    for number in (1, 2, 3):
        write_study(folder, number, f"1.2.100{number}.1")
    assert intake.look().entered == 3
    read_all(store)
    with store.reading() as session:
        values = sorted(scan.result.worst_loss_percent for scan in session.scalars(select(Scan)))
    assert values == [1.0, 2.0, 3.0]


def test_a_series_spread_over_folders_is_one_scan(store, folder, intake):
    files = write_study(folder / "one", 5, f"{STUDY}.1")
    (folder / "two").mkdir()
    for file in files[:4]:
        file.rename(folder / "two" / file.name)
    intake.look()
    (scan,) = scans(store)
    assert scan.source == str(folder)
    assert len(scan.files) == 9
    read_all(store)
    assert scans(store)[0].status == DONE


def test_a_second_copy_of_a_study_is_not_read_again(store, folder, intake):
    write_study(folder / "a", 5, f"{STUDY}.1")
    intake.look()
    read_all(store)
    shutil.copytree(folder / "a", folder / "b")
    assert intake.look().entered == 0
    shutil.rmtree(folder / "a")
    assert intake.look().entered == 0
    assert [scan.status for scan in scans(store)] == [DONE]


def test_a_folder_still_being_copied_waits(store, folder):
    now = [1e12]
    intake = Intake(store, folder, settle_s=60.0, clock=lambda: now[0])
    files = write_study(folder.parent / "source", 5, f"{STUDY}.1")
    (folder / "s").mkdir()
    for file in files[:5]:
        shutil.copy(file, folder / "s" / file.name)
    now[0] = max(f.stat().st_ctime for f in (folder / "s").iterdir()) + 30
    assert (intake.look().arriving, scans(store)) == (1, [])
    for file in files[5:]:
        shutil.copy(file, folder / "s" / file.name)
    now[0] += 31
    assert (intake.look().arriving, scans(store)) == (1, [])
    now[0] += 61
    assert intake.look().entered == 1
    assert len(scans(store)[0].files) == 9


def test_a_study_waits_for_its_series_that_still_arrive(store, folder):
    now = [0.0]
    intake = Intake(store, folder, settle_s=60.0, clock=lambda: now[0])
    write_study(folder / "s1", 5, f"{STUDY}.1")
    now[0] = (folder / "s1").stat().st_ctime + 100
    newer = write_study(folder / "s2", 5, f"{STUDY}.2")
    for entry in (*newer, folder / "s2"):
        os.utime(entry, (now[0], now[0]))
    look = intake.look()
    assert (look.entered, look.arriving) == (0, 1)
    now[0] += 60
    assert intake.look().entered == 1


def test_files_that_change_while_they_are_looked_at_wait(store, folder, intake, monkeypatch):
    path = write_file(folder / "a.nrrd", 1)
    hash_files = module.hash_files

    def slowly(files):
        key = hash_files(files)
        write_file(path, 22)
        return key

    monkeypatch.setattr(module, "hash_files", slowly)
    assert (intake.look().arriving, scans(store)) == (1, [])
    monkeypatch.undo()
    assert intake.look().entered == 1


def test_more_images_replace_a_scan_that_was_read_too_early(store, folder, intake):
    early = write_study(folder / "s", 5, f"{STUDY}.1", slices=9)
    intake.look()
    read_all(store)
    whole = spec(5, f"{STUDY}.1", slices=12)
    write_series(folder / "s", whole, keep=range(9, 12))
    assert intake.look().entered == 1
    old, new = scans(store)
    assert (old.status, old.replaced_by, new.replaced_by) == (DONE, new.id, None)
    assert len(new.files) == len(early) + 3


def test_a_queued_scan_that_is_replaced_is_not_read(store, folder, intake):
    write_study(folder / "s", 5, f"{STUDY}.1")
    intake.look()
    write_study(folder / "t", 6, f"{STUDY}.2", slices=49, step_mm=1.5, number=4)
    intake.look()
    assert [scan.status for scan in scans(store)] == [SKIPPED, QUEUED]
    shutil.rmtree(folder / "t")
    shutil.copytree(folder / "s", folder / "u")
    shutil.rmtree(folder / "s")
    intake.look()
    first, second = scans(store)
    assert (first.status, first.replaced_by, first.source) == (QUEUED, None, str(folder / "u"))
    assert (second.status, second.replaced_by) == (SKIPPED, first.id)


def test_images_taken_away_after_reading_change_nothing(store, folder, intake):
    files = write_study(folder / "s", 5, f"{STUDY}.1", slices=12)
    intake.look()
    read_all(store)
    for file in files[8:]:
        file.unlink()
    assert intake.look().entered == 0
    (scan,) = scans(store)
    assert (scan.status, scan.replaced_by) == (DONE, None)


def test_a_file_with_new_content_is_a_new_scan(store, folder, intake):
    write_file(folder / "a.nrrd", 1)
    intake.look()
    read_all(store)
    write_file(folder / "a.nrrd", 2222)
    assert intake.look().entered == 1
    old, new = scans(store)
    assert old.replaced_by == new.id


def test_what_is_broken_is_named_and_does_not_stop_the_rest(store, folder, intake):
    write_study(folder / "good", 5, f"{STUDY}.1")
    for file in write_study(folder / "cut", 5, "1.2.1004.1"):
        file.write_bytes(file.read_bytes()[:200])
    write_study(folder / "mr", 5, "1.2.1005.1", modality="MR")
    for file in write_study(folder / "unplaced", 5, "1.2.1006.1", leave_out=("ImagePositionPatient",)):
        assert file.exists()
    assert intake.look().entered == 1
    reasons = [scan.reason for scan in scans(store, status=SKIPPED)]
    assert len(reasons) == 3
    assert any(reason.endswith("there is none; 9 damaged files left out") for reason in reasons)
    assert any("(modality MR)" in reason for reason in reasons)
    assert any("its images do not say where they lie" in reason for reason in reasons)
    assert intake.look().entered == 0


def test_a_damaged_file_beside_a_good_series_is_mentioned(store, folder, intake):
    write_study(folder / "s", 5, f"{STUDY}.1")
    (bad,) = write_study(folder / "s", 5, f"{STUDY}.2", slices=1, number=9)
    bad.write_bytes(bad.read_bytes()[:200])
    intake.look()
    (scan,) = scans(store)
    assert scan.status == QUEUED
    assert scan.choice.endswith("1 damaged files left out")


def test_a_file_without_rights_is_told_and_read_when_it_gets_them(store, folder, intake, monkeypatch):
    write_file(folder / "a.nrrd", 1)

    def refuse(files):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(module, "hash_files", refuse)
        assert intake.look().entered == 0
    (scan,) = scans(store)
    assert (scan.status, scan.reason) == (SKIPPED, "cannot be read: Permission denied; check its rights")
    assert intake.look().entered == 1
    assert [s.status for s in scans(store)] == [SKIPPED, QUEUED]
    assert scans(store)[0].replaced_by == scans(store)[1].id


def test_a_scan_that_was_gone_is_queued_when_it_is_back(store, folder, intake):
    path = write_file(folder / "a.nrrd", 1)
    intake.look()
    job = claim(store, "w", now=1e12)
    path.rename(folder.parent / "aside")
    assert miss(store, job, now=1.0) == SKIPPED
    assert intake.look().entered == 0
    (folder.parent / "aside").rename(path)
    assert intake.look().entered == 1
    assert scans(store)[0].status == QUEUED


def test_a_queued_scan_is_followed_to_where_it_was_moved(store, folder, intake):
    path = write_file(folder / "a.nrrd", 1)
    intake.look()
    (folder / "sub").mkdir()
    path.rename(folder / "sub" / "b.nrrd")
    intake.look()
    assert [scan.source for scan in scans(store)] == [str(folder / "sub" / "b.nrrd")]


def test_a_scan_that_failed_by_its_content_stays_failed_where_it_lies(store, folder, intake):
    write_file(folder / "a.nrrd", 1)
    intake.look()
    job = claim(store, "w", now=1e12)
    assert skip(store, job, "no spine", now=1.0) == SKIPPED
    shutil.copy(folder / "a.nrrd", folder / "b.nrrd")
    assert intake.look().entered == 0
    assert scans(store)[0].reason == "no spine"


def test_known_places_are_not_opened_again(store, folder, intake, monkeypatch):
    write_file(folder / "a.nrrd", 1)
    write_study(folder / "s", 5, f"{STUDY}.1")
    intake.look()

    def never(*_):
        raise AssertionError("opened again")

    for name in ("hash_files", "group_by_study", "choose_scan"):
        monkeypatch.setattr(module, name, never)
    assert intake.look().places == 2
    assert Intake(store, folder, settle_s=0.0).look().places == 2


def test_two_intakes_at_once_enter_once(store, folder, intake):
    for number in range(5):
        write_file(folder / f"{number}.nrrd", number)
    other = Intake(store, folder, settle_s=0.0)
    entered = [look.entered for place, look in enumerate(intake.steps()) if place != 2 or other.look()]
    assert entered[-1] == 3
    assert len(scans(store)) == 5
    with store.reading() as session:
        assert len(session.scalars(select(Place)).all()) == 5


def test_an_interrupted_look_is_not_done_again_from_the_start(store, folder, intake, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 1)
    for number in (1, 2, 3):
        write_study(folder / str(number), number, f"1.2.100{number}.1")
    steps = intake.steps()
    while next(steps).entered < 2:
        pass
    next(steps)
    steps.close()
    opened = []
    choose_scan = module.choose_scan
    monkeypatch.setattr(module, "choose_scan", lambda *given: opened.append(given) or choose_scan(*given))
    assert intake.look().entered == 1
    assert len(opened) == 1


def test_a_study_over_two_batches_is_put_together(store, folder, intake, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 1)
    files = write_study(folder / "disc1", 5, f"{STUDY}.1")
    (folder / "disc2").mkdir()
    for file in files[6:]:
        file.rename(folder / "disc2" / file.name)
    intake.look()
    assert [(scan.status, len(scan.files)) for scan in scans(store)][-1] == (QUEUED, 9)
    assert [scan.replaced_by is None for scan in scans(store)] == [False, True]


def test_a_failed_scan_may_be_tried_again_and_put_back(store, folder, intake):
    write_file(folder / "a.nrrd", 1)
    intake.look()
    job = claim(store, "w", now=1e12)
    assert fail(store, job, "crashed", now=1.0) == QUEUED
    job = claim(store, "w", now=1e12)
    assert (job.attempt, put_back(store, job, now=1.0)) == (2, QUEUED)
    assert scans(store)[0].attempts == 1
    assert np.isclose(scans(store)[0].failures, 1)
