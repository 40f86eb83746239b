"""What readers settled becomes a folder that training reads: the workstation makes the next model better."""

import csv

import numpy as np
import pytest

from spinelab.archive.tables import Scan
from spinelab.cli.app import run
from spinelab.errors import InputError
from spinelab.io import read, read_mask
from spinelab.server.labelled import write_labelled
from tests.server.cases import phantom, read_whole, sign_in, vertebra_ids


@pytest.fixture
def case(app, store):
    """The first case, read by two readers who differ on nothing, T12 being what it is."""
    for name in ("ada", "ben"):
        read_whole(sign_in(app, name), T12=(2, "wedge"))
    with store.reading() as session:
        return session.get(Scan, 1).case


def test_scan_outlines_and_labels_that_hold_are_written(case, store, tmp_path):
    written = write_labelled(store, tmp_path / "out", readers=2)
    assert (written.cases, written.vertebrae, written.left_out) == ((case,), 4, {})
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{case}_ct.nii.gz",
        f"{case}_vert.nii.gz",
        "labels.csv",
    }
    made, _ = phantom()
    scan = read(tmp_path / "out" / f"{case}_ct.nii.gz")
    mask = read_mask(tmp_path / "out" / f"{case}_vert.nii.gz")
    assert scan.geometry.same_grid(mask.geometry)
    assert set(mask.labels()) == set(made.mask.labels())
    with (tmp_path / "out" / "labels.csv").open(newline="") as file:
        grades = {row["level"]: (row["reader"], row["grade"], row["shape"]) for row in csv.DictReader(file)}
    assert grades["T12"] == ("final", "2", "wedge")
    assert grades["L1"] == ("final", "0", "")


def test_training_reads_the_folder(case, store, tmp_path):
    pytest.importorskip("torch")
    from spinelab.train.cases import find_cases
    from spinelab.train.fracture_labels import read_labels

    folder = tmp_path / "out"
    write_labelled(store, folder, readers=2)
    (found,) = find_cases(folder)
    assert found.name == case
    assert found.image is not None
    assert found.vertebrae is not None
    assert read_labels(folder / "labels.csv")[case, "T12"] == (2, "wedge")


def test_outlines_take_the_names_the_readers_gave(app, store, tmp_path):
    for name in ("ada", "ben"):
        reader = sign_in(app, name)
        assert reader.post("/api/cases/1/open").status_code == 200
        body = {"vertebra_id": vertebra_ids(reader)["T12"], "name": "L1", "variant": "usual"}
        assert reader.post("/api/cases/1/names", json=body).status_code == 200
        for number in [v["id"] for v in reader.get("/api/cases/1").json()["vertebrae"]]:
            normal = {"evaluable": True, "grade": 0, "shape": None, "seconds": 1.0}
            assert reader.put(f"/api/cases/1/vertebrae/{number}", json=normal).status_code == 200
        assert reader.post("/api/cases/1/finish").status_code == 200
    written = write_labelled(store, tmp_path, readers=2)
    made, _ = phantom()
    mask = read_mask(tmp_path / f"{written.cases[0]}_vert.nii.gz")
    assert np.array_equal(mask.array > 0, made.mask.array > 0)
    assert set(mask.labels()) == {label + 1 for label in made.mask.labels()}


def test_a_case_whose_scan_is_gone_is_named_and_left_out(case, store, tmp_path):
    with store.writing() as session:
        session.get(Scan, 1).source = "/nowhere/scan.nii.gz"
    written = write_labelled(store, tmp_path, readers=2)
    assert written.cases == ()
    assert list(written.left_out) == [case]


def test_before_anything_holds_it_says_what_is_missing(store, tmp_path):
    with pytest.raises(InputError, match="no label holds yet: readings must be finished"):
        write_labelled(store, tmp_path, readers=2)


def test_the_command_tells_what_to_do_next(case, store, tmp_path, capsys):
    out = tmp_path / "out"
    results = str(store.files.parent / "results.db")
    assert run(["export-labelled", "--results", results, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "4 labels of 1 cases" in said
    assert f"spinelab train fracture {out}" in said
