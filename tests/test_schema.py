"""The published schema fits the data, refuses strays, and does not drift from the dataclasses."""

import json
from dataclasses import fields
from importlib.resources import files

import jsonschema
import pytest

from spinelab import spine as objects
from spinelab.spine import (
    Corners,
    Curvature,
    Curve,
    Density,
    Disc,
    EndplateShape,
    Fracture,
    FractureReading,
    Frame,
    HeightLoss,
    Heights,
    Numbering,
    Slip,
    Spine,
    Vertebra,
)

SCHEMA = json.loads(files("spinelab").joinpath("spine.schema.json").read_text("utf-8"))
CHECKER = jsonschema.Draft202012Validator(SCHEMA)

HEIGHTS = Heights(24.0, 23.5, None)
FULL = Vertebra(
    level="L1",
    center_mm=(1.0, 2.0, 3.0),
    probability=0.97,
    complete=True,
    detection=0.99,
    frame=Frame((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    volume_mm3=41000.0,
    heights_mm=HEIGHTS,
    heights_left_mm=HEIGHTS,
    heights_right_mm=HEIGHTS,
    height_loss=HeightLoss(12.0, None, 3.0, -1.0),
    density=Density(140.0, 138.0, 30.0, 9000.0),
    slip=Slip("T12", 2.0, -0.5),
    slice_mm=2.5,
    endplates=EndplateShape(3.5, None, 2.0),
    fracture=Fracture(
        True,
        0.9,
        2,
        "wedge",
        31.0,
        (24.0, 38.0),
        "own posterior height",
        ("thick slices",),
        FractureReading(0.8, 29.0, (20.0, 37.0), "wedge"),
        FractureReading(0.95, 33.0, (25.0, 40.0)),
    ),
    center_sd_mm=1.5,
    corners=Corners(
        (0.0, -9.0, 14.0), (0.0, 9.0, 14.0), (0.0, -9.0, -8.0), (0.0, 9.0, -8.0), (1.0, 1.5, 2.0, 2.5)
    ),
    flags=("metal",),
)
CURVE = Curve("coronal", "T12", "S", "L2", 12.0, "left")
SPINE = Spine(
    vertebrae=(Vertebra("T12", (1.0, 2.0, 33.0), 0.5, complete=False), FULL),
    numbering=Numbering(("sacrum",), 0.9, ("T11", "T12"), 0.05, True, ("L6",), "Counted from the sacrum."),
    curvature=Curvature((CURVE,), None, Curve("sagittal", "L1", "S", "L3", 40.0, "anterior")),
    discs=(
        Disc("T12", "L1", (1.0, 2.0, 18.0), 1.2, 8.5, 7.0, 1.1, 4.0),
        Disc("L5", "S", (1.0, 2.0, -90.0), 2.5),
    ),
    warnings=("slices are thick",),
    manifest={"versions": {"spinelab": "0.1.0"}},
)


def data():
    return json.loads(json.dumps(SPINE.to_dict()))


def test_the_schema_is_valid_itself():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_filled_spine_fits():
    CHECKER.validate(data())


def test_an_empty_spine_fits():
    CHECKER.validate(json.loads(json.dumps(Spine(()).to_dict())))


def test_the_filled_spine_survives_the_way_there_and_back():
    assert Spine.from_dict(data()) == SPINE


@pytest.mark.parametrize(
    ("definition", "kind", "extra"),
    [
        ("vertebra", Vertebra, {"label"}),
        ("heights", Heights, set()),
        ("frame", Frame, set()),
        ("density", Density, set()),
        ("height_loss", HeightLoss, set()),
        ("slip", Slip, set()),
        ("endplate_shape", EndplateShape, set()),
        ("fracture", Fracture, set()),
        ("fracture_reading", FractureReading, set()),
        ("numbering", Numbering, set()),
        ("corners", Corners, set()),
        ("disc", Disc, set()),
        ("curve", Curve, set()),
        ("curvature", Curvature, set()),
    ],
)
def test_every_field_is_in_the_schema_and_required(definition, kind, extra):
    wanted = {field.name for field in fields(kind)} | extra
    part = SCHEMA["$defs"][definition]
    assert set(part["properties"]) == wanted
    assert set(part["required"]) == wanted


def test_the_top_has_every_field_of_the_spine():
    assert set(SCHEMA["required"]) == {f.name for f in fields(Spine)} | {"schema_version", "frame"}
    assert set(SCHEMA["properties"]) == set(SCHEMA["required"])


def test_no_dataclass_is_left_out():
    kinds = [k for k in vars(objects).values() if isinstance(k, type) and k.__module__ == objects.__name__]
    assert {k.__name__.lower() for k in kinds} == {
        name.replace("_", "") for name in SCHEMA["$defs"] if name not in {"point", "level", "named"}
    } | {"spine"}


def test_the_schema_reads_the_version_the_code_writes():
    jsonschema.validate(objects.SCHEMA_VERSION, SCHEMA["properties"]["schema_version"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(extra=1), "Additional properties are not allowed"),
        (lambda d: d["vertebrae"][0].update(level="L7"), "'L7' is not one of"),
        (lambda d: d["vertebrae"][0].update(probability=1.5), "greater than the maximum"),
        (lambda d: d["vertebrae"][0].pop("complete"), "'complete' is a required property"),
        (lambda d: d["vertebrae"][1]["density"].update(mean_hu=None), "None is not of type 'number'"),
        (lambda d: d["vertebrae"][0].update(center_mm=[1, 2]), "is too short"),
        (lambda d: d["vertebrae"][1]["fracture"].update(genant_grade=4), "4 is not one of"),
        (lambda d: d.update(schema_version="2.0"), "does not match"),
    ],
)
def test_strays_are_refused(change, message):
    changed = data()
    change(changed)
    found = [e for top in CHECKER.iter_errors(changed) for e in (top, *(top.context or ()))]
    assert any(message in error.message for error in found), [error.message for error in found]
