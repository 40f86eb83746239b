"""The second reader: kept apart from geometry, joined as its file says, left out where it cannot look."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from spinelab.measurement import measure
from spinelab.models import Network
from spinelab.spine import Fracture
from spinelab.tasks import fracture_network as reader
from spinelab.tasks.fracture import grade_fractures
from spinelab.tasks.fracture_cautions import BORDERLINE
from spinelab.tasks.fracture_network import (
    DIFFERENT,
    Answer,
    Combination,
    ask_network,
    join_readings,
    read_network,
    rise,
    to_logit,
)
from tests.phantom import make_phantom
from tests.tasks.volumes import Formula

EVEN = Combination((1.0, 0.0), (0.0, 0.0), (1.0, 0.0), (0.5, 0.5, 0.0), 2.0, 1.0)
GEOMETRY = Fracture(True, 0.2, 0, None, 10.0, (2.0, 18.0), "neighbours", ("metal",))


def answer(percent, *, probability=0.8, spread=3.0, shapes=(0.1, 0.7, 0.2)):
    return Answer(np.array([0, 0, 0, percent]), np.full(4, spread), probability, np.array(shapes))


def answering(percent, probability=0.9):
    """A network that says the same of every body."""

    def say(hu, outline, in_view, facts):
        count = len(facts)
        lost = np.tile(np.float32([0, 0, 0, percent]), (count, 1))
        shapes = np.tile(np.float32([1, 0, 0]), (count, 1))
        return [lost, np.full((count, 4), 2, np.float32), np.full(count, probability, np.float32), shapes]

    return Network("fracture", "0" * 64, Formula(say), {"combination": asdict(EVEN)})


@pytest.fixture(scope="module")
def phantom():
    made = make_phantom(levels=("T12", "L1", "L2", "L3"), spacing_mm=(2, 2, 2))
    return made.image, made.mask, grade_fractures(measure(made.image, made.mask, made.spine))


def test_both_are_weighed_and_kept_apart():
    found = join_readings(GEOMETRY, answer(40.0), EVEN, slice_mm=2.5)
    assert found.height_loss_percent == pytest.approx(25.0)
    assert (found.genant_grade, found.shape) == (2, "biconcave")
    assert found.interval_percent == (22.0, 28.0)
    assert found.geometry.height_loss_percent == 10.0
    assert found.geometry.probability == 0.2
    assert found.network.height_loss_percent == 40.0
    assert found.network.interval_percent == (34.0, 46.0)
    assert found.network.shape == "biconcave"
    assert found.probability == pytest.approx(0.5, abs=1e-3)  # logits of 0.2 and 0.8 cancel
    assert found.reference == "neighbours"


def test_reasons_are_told_anew():
    differing = join_readings(replace(GEOMETRY, reasons=(BORDERLINE,)), answer(40.0), EVEN, slice_mm=1.0)
    assert differing.reasons == (DIFFERENT,)
    agreeing = join_readings(GEOMETRY, answer(28.0), EVEN, slice_mm=1.0)
    assert agreeing.reasons == (BORDERLINE, "metal", DIFFERENT)
    assert join_readings(GEOMETRY, answer(10.0), EVEN, slice_mm=1.0).reasons == ("metal",)


def test_the_network_weighs_more_in_thick_slices_where_the_file_says_so():
    leaning = replace(EVEN, network_share=(-2.0, 1.0))
    thin, thick = (
        join_readings(GEOMETRY, answer(40.0), leaning, slice_mm=mm).height_loss_percent for mm in (1.0, 5.0)
    )
    assert thin == pytest.approx(10 + 30 * rise(np.array(-1.0)), abs=0.06)
    assert thick == pytest.approx(10 + 30 * rise(np.array(3.0)), abs=0.06)


def test_the_network_tells_its_loss_along_its_line():
    shrunk = replace(EVEN, network_line=(1.5, -20.0))
    assert join_readings(GEOMETRY, answer(40.0), shrunk, slice_mm=1.0).network.height_loss_percent == 40.0
    assert join_readings(GEOMETRY, answer(10.0), shrunk, slice_mm=1.0).network.height_loss_percent == 0.0


def test_shape_is_geometrys_where_it_has_one():
    wedge = replace(GEOMETRY, genant_grade=1, shape="wedge", height_loss_percent=22.0)
    assert join_readings(wedge, answer(30.0), EVEN, slice_mm=1.0).shape == "wedge"


def test_losses_stay_within_nothing_and_all():
    assert answer(-4.0).most_percent == 0.0
    assert answer(140.0).most_percent == 100.0


def test_logits_and_back():
    assert rise(to_logit(np.array([0.3, 0.9]))) == pytest.approx([0.3, 0.9])
    assert np.isfinite(to_logit(np.array([0.0, 1.0]))).all()


def test_a_combination_comes_back_from_a_file():
    facts = {"combination": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(EVEN).items()}}
    assert Combination.from_facts(facts) == EVEN


def test_every_body_that_geometry_graded_is_looked_at(phantom, monkeypatch):
    image, mask, spine = phantom
    monkeypatch.setattr(reader, "load", lambda name, **_: answering(50.0))
    read = read_network(image, mask, spine)
    for before, after in zip(spine.vertebrae, read.vertebrae, strict=True):
        assert before.fracture.evaluable
        assert after.fracture.network.height_loss_percent == 50.0
        assert after.fracture.geometry.height_loss_percent == before.fracture.height_loss_percent
        assert 24 <= after.fracture.height_loss_percent <= 35
        assert after.fracture.genant_grade in (1, 2)


def test_metal_and_what_is_not_evaluable_stay_as_they_were(phantom, monkeypatch):
    image, mask, spine = phantom
    monkeypatch.setattr(reader, "load", lambda name, **_: answering(50.0))
    first, second, *rest = spine.vertebrae
    refused = replace(first, fracture=Fracture(False, reasons=("cut by the field of view",)))
    odd = replace(spine, vertebrae=(refused, replace(second, flags=("metal",)), *rest))
    read = read_network(image, mask, odd)
    assert read.vertebrae[0].fracture == refused.fracture
    assert read.vertebrae[1].fracture == second.fracture
    assert read.vertebrae[2].fracture.network is not None


def test_nothing_is_loaded_where_there_is_nothing_to_read(phantom, monkeypatch):
    image, mask, spine = phantom
    monkeypatch.delattr(reader, "load")
    bare = replace(spine, vertebrae=tuple(replace(v, fracture=None) for v in spine.vertebrae))
    assert read_network(image, mask, bare) is bare


def test_the_network_sees_five_slices_a_body(phantom):
    image, mask, spine = phantom
    network = answering(10.0)
    assert len(ask_network(network, image, mask, spine.vertebrae)) == 4
    (shapes,) = network.session.passes
    assert shapes["hu"] == shapes["outline"] == shapes["in_view"] == (4, 5, 56, 120)
    assert shapes["facts"] == (4, 2)


def test_the_folder_given_is_used_where_it_holds_such_a_network(tmp_path):
    (tmp_path / "weights.json").write_text('{"locate": {"file": "x.onnx", "sha256": "0"}}')
    assert reader.folder_of(tmp_path) == reader.folder_of(None)
    (tmp_path / "weights.json").write_text('{"fracture": {"file": "x.onnx", "sha256": "0"}}')
    assert reader.folder_of(tmp_path) == tmp_path
