"""What is made ahead of a case's first opening."""

import shutil
import threading
import time

import pytest

from spinelab.archive.tables import Result, Scan
from spinelab.errors import UnreadableError
from spinelab.server import prepared
from spinelab.server.prepared import Preparer, case_folder, list_unprepared, prepare_case, read_index
from spinelab.server.refusals import NotThereError


def test_everything_a_case_needs_is_there(store):
    names = {path.name for path in case_folder(store, 1).iterdir()}
    volumes = {f"{prefix}{name}.nii.gz" for prefix in ("", "coarse_") for name in ("scan", "mask")}
    assert names == {"case-3.json", *volumes, "v0.png", "v1.png", "v2.png", "v3.png"}
    index = read_index(store, 1)
    assert len(index["vertebrae"]) == 4
    assert index["vertebrae"][1]["points_mm"] is not None


def test_what_is_there_is_not_made_again(store, monkeypatch):
    monkeypatch.setattr(prepared, "_make", None)
    assert len(prepare_case(store, 1)["vertebrae"]) == 4


def test_older_files_are_made_anew(store, monkeypatch):
    monkeypatch.setattr(prepared, "VERSION", prepared.VERSION + 1)
    assert read_index(store, 1) is None
    assert list_unprepared(store) == [1, 2]
    monkeypatch.setattr(prepared, "_make", lambda store, scan_id: {"made": scan_id})
    assert prepare_case(store, 2) == {"made": 2}


def test_two_who_ask_at_once_make_it_once(store, monkeypatch):
    shutil.rmtree(case_folder(store, 1))
    made = []
    real = prepared._make

    def slow(where, scan_id):
        made.append(scan_id)
        return real(where, scan_id)

    monkeypatch.setattr(prepared, "_make", slow)
    threads = [threading.Thread(target=prepare_case, args=(store, 1)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_the_preparer_makes_what_is_missing_and_passes_over_what_fails(store):
    for scan_id in (1, 2):
        shutil.rmtree(case_folder(store, scan_id))
    with store.writing() as session:
        session.get(Scan, 1).source = "/nowhere/scan.nii.gz"
    preparer = Preparer(store, pause_s=0.05)
    preparer.start()
    end = time.monotonic() + 60
    while list_unprepared(store) != [1] or 1 not in preparer.failures:
        assert time.monotonic() < end
        time.sleep(0.05)
    preparer.stop()
    assert not preparer.is_alive()
    assert "does not exist" in preparer.failures[1]


def test_a_case_that_was_not_read_is_not_there(store):
    with pytest.raises(NotThereError, match="there is no read case 77"):
        prepare_case(store, 77)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"files": {}}, "has no mask among its results"), ({"folder": "../.."}, "lies outside the results")],
)
def test_a_result_that_lacks_something_is_named(store, change, message):
    shutil.rmtree(case_folder(store, 1))
    with store.writing() as session:
        for name, value in change.items():
            setattr(session.get(Result, 1), name, value)
    with pytest.raises(UnreadableError, match=message):
        prepare_case(store, 1)
