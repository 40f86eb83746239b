"""VerSe centroids, spine JSON and the table."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from spinelab.errors import InputError, OutputError, UnreadableError
from spinelab.io import read_spine, write_spine
from spinelab.io.table import columns, write_measurements
from spinelab.io.verse import read_centroids, write_centroids
from spinelab.spine import (
    Curvature,
    Curve,
    Density,
    Frame,
    HeightLoss,
    Heights,
    Numbering,
    Slip,
    Spine,
    Vertebra,
)
from spinelab.volume import Geometry
from tests.io.volumes import CODES, grid

T12 = Vertebra(
    "T12", (1.0, -2.0, 30.0), 0.98, detection=0.9,
    frame=Frame((1, 0, 0), (0, 1, 0), (0, 0, 1)), volume_mm3=31234.56,
    heights_mm=Heights(22.5, 21.25, None), heights_left_mm=Heights(1.0, 2.0, 3.0),
    height_loss=HeightLoss(12.34, 5.0, None, 7.0), density=Density(151.2, 149.0, 30.0, 4000.0),
    flags=("cut", "metal"),
)  # fmt: skip
L1 = Vertebra("L1", (0.5, -1.0, 2.0), 0.9, complete=False, slip=Slip("T12", 2.5, -0.5))
SPINE = Spine(
    (T12, L1),
    Numbering(("last rib",), 0.95, ("T11", "T12"), 0.05, True),
    Curvature((Curve("coronal", "T12", "L1", "T12", 11.0, "left"),)),
    ("Careful.",),
    {"seconds": {"read": 0.5}},
)


@pytest.mark.parametrize("codes", CODES)
def test_centroids_round_trip(tmp_path, codes):
    geometry = grid((40, 40, 40), codes=codes, turn_deg=8)
    write_centroids(SPINE, geometry, tmp_path / "c.json")
    points = read_centroids(tmp_path / "c.json", geometry)
    assert list(points) == [19, 20]
    np.testing.assert_allclose(points[19], T12.center_mm, atol=0.01)


def test_centroid_file_follows_verse(tmp_path):
    geometry = Geometry.from_spacing((10, 20, 30), (2, 4, 5), origin_mm=(-1, -10, 0)).reoriented("RAS")
    write_centroids(Spine((replace(L1, center_mm=(3.0, 2.0, 10.0)),)), geometry, tmp_path / "c.json")
    data = json.loads((tmp_path / "c.json").read_text())
    assert data == [{"direction": ["R", "A", "S"]}, {"label": 20, "X": 7.0, "Y": 16.0, "Z": 2.0}]


def test_centroids_of_another_orientation(tmp_path):
    geometry = grid((40, 40, 40), codes="RAS")
    write_centroids(SPINE, geometry.reoriented("PIR"), tmp_path / "c.json")
    np.testing.assert_allclose(read_centroids(tmp_path / "c.json", geometry)[20], L1.center_mm, atol=0.01)


def test_centroids_of_the_first_challenge(tmp_path):
    geometry = Geometry.from_spacing((20, 20, 20), (1, 1, 2)).reoriented("RAS")
    (tmp_path / "old.json").write_text('[{"X": 3.0, "Y": 5.0, "Z": 7.0, "label": 22}]')
    # 40 mm high: the old grid's first voxel centre is at z = -1 + 40 - 0.5; first y at 0, first x at 0.
    points = read_centroids(tmp_path / "old.json", geometry)
    np.testing.assert_allclose(points[22], (7.0, 5.0, 38.5 - 3.0), atol=1e-6)


def test_missing_points_are_left_out(tmp_path):
    (tmp_path / "n.json").write_text('[{"direction": ["L","P","S"]}, {"label": 3, "X": NaN, "Y": 1, "Z": 1}]')
    assert read_centroids(tmp_path / "n.json", grid()) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ('{"a": 1}', "not a VerSe centroid file: wanted a list"),
        ('[{"label": 3, "X": 1}]', "wanted label, X, Y, Z"),
        ('[{"direction": 5}, {"label": 3, "X": 1, "Y": 1, "Z": 1}]', "not a VerSe centroid file"),
    ],
)
def test_refuses_other_json(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UnreadableError, match=message):
        read_centroids(tmp_path / "x.json", grid())


def test_refuses_a_senseless_direction(tmp_path):
    (tmp_path / "x.json").write_text('[{"direction": ["L","L","S"]}, {"label": 3, "X": 1, "Y": 1, "Z": 1}]')
    with pytest.raises(InputError, match="axis codes name each"):
        read_centroids(tmp_path / "x.json", grid())


def test_spine_round_trip(tmp_path):
    write_spine(SPINE, tmp_path / "s.json")
    assert read_spine(tmp_path / "s.json") == SPINE


def test_numpy_values_become_plain_json(tmp_path):
    spine = replace(
        SPINE, manifest={"n": np.int64(3), "a": np.arange(2), "p": tmp_path, "f": np.float32(0.5)}
    )
    write_spine(spine, tmp_path / "s.json")
    manifest = read_spine(tmp_path / "s.json").manifest
    assert manifest == {"n": 3, "a": [0, 1], "p": str(tmp_path), "f": 0.5}


def test_nan_never_reaches_the_file(tmp_path):
    with pytest.raises(OutputError, match="measured value is NaN or infinite"):
        write_spine(Spine((replace(L1, volume_mm3=float("nan")),)), tmp_path / "s.json")
    assert not (tmp_path / "s.json").exists()


def test_other_objects_have_no_place_in_json(tmp_path):
    with pytest.raises(TypeError, match="object has no place in JSON"):
        write_spine(replace(SPINE, manifest={"o": object()}), tmp_path / "s.json")


def test_read_spine_refuses(tmp_path):
    with pytest.raises(UnreadableError, match=r"cannot be read: No such file.*check the name"):
        read_spine(tmp_path / "gone.json")
    (tmp_path / "l.json").write_text("[]")
    with pytest.raises(UnreadableError, match="a JSON list, wanted a spine"):
        read_spine(tmp_path / "l.json")


def test_table_has_a_row_a_vertebra(tmp_path):
    write_measurements(SPINE, tmp_path / "m.csv")
    with (tmp_path / "m.csv").open(newline="") as stream:
        first, second = csv.DictReader(stream)
    assert (first["level"], first["label"], first["complete"], second["complete"]) == (
        "T12",
        "19",
        "yes",
        "no",
    )
    assert (first["center_x_lps_mm"], first["center_y_lps_mm"], first["center_z_lps_mm"]) == ("1", "-2", "30")
    assert (first["heights_anterior_mm"], first["heights_middle_mm"], first["heights_posterior_mm"]) == (
        "22.5",
        "21.25",
        "",
    )
    assert first["heights_left_posterior_mm"] == "3"
    assert first["height_loss_anterior_percent"] == "12.34"
    assert first["density_mean_hu"] == "151.2"
    assert first["volume_mm3"] == "31234.6"
    assert first["flags"] == "cut; metal"
    assert (first["slip_above"], second["slip_above"], second["slip_left_mm"]) == ("", "T12", "-0.5")


def test_columns_are_unique_and_know_their_units():
    assert len(set(columns())) == len(columns())
    assert columns()[:2] == ("level", "label")
    assert "density_volume_mm3" in columns()


@pytest.mark.parametrize("write", [lambda p: write_spine(SPINE, p), lambda p: write_measurements(SPINE, p),
                                   lambda p: write_centroids(SPINE, grid(), p)])  # fmt: skip
def test_unwritable_targets_are_named(tmp_path, write):
    with pytest.raises(OutputError, match="folder does not exist; create it first"):
        write(tmp_path / "no" / "file")
