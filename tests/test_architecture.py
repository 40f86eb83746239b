"""The house holds: arrows point one way, torch stays in its rooms, the front door is small and quick."""

import ast
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

import spinelab

SOURCE = Path(str(files("spinelab")))
#: Lower may not know higher; rooms on one floor do not know each other (but for the pairs below).
FLOORS = (
    {"errors", "anatomy"},
    {"volume"},
    {"spine"},
    {"io", "nets", "models", "labels", "measurement", "evaluation"},
    {"simulate", "report"},
    {"tasks"},
    {"train", "archive"},
    {"server"},
    {"cli"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
#: (who, whom): allowed within a floor or against the arrow, with its reason.
EXCEPTIONS = {
    ("anatomy", "errors"): "the level table raises LabelError",
}
#: Only these import torch.
TORCH_ROOMS = {"nets", "train"}
MODULES = sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Dotted names a module imports anywhere, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms_imported(path: Path) -> set[str]:
    names = {name.split(".")[1] for name in imports_of(path) if name.startswith("spinelab.")}
    return names & set(FLOOR)


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def test_every_room_has_a_floor():
    rooms = {room_of(path) for path in MODULES} - {"__init__"}
    assert rooms <= set(FLOOR)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_arrows_point_one_way(path):
    room = room_of(path)
    if room == "__init__":
        pytest.skip("the front door names what is public, for type checkers and on first use")
    wrong = [
        other
        for other in rooms_imported(path)
        if other != room and FLOOR[other] >= FLOOR[room] and (room, other) not in EXCEPTIONS
    ]
    assert not wrong, f"{name_of(path)} imports {wrong}"


def test_nothing_but_the_command_line_imports_training():
    users = {room_of(path) for path in MODULES if "train" in rooms_imported(path)}
    assert users <= {"train", "cli"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_torch_stays_in_its_rooms(path):
    heavy = {name for name in imports_of(path) if name.split(".")[0] in {"torch", "onnx", "monai"}}
    assert not heavy or room_of(path) in TORCH_ROOMS


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_print_outside_the_command_line(path):
    calls = [n.func for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    assert "print" not in names or room_of(path) == "cli"


def test_the_public_names_are_these():
    assert spinelab.__all__ == [
        "Geometry",
        "Image",
        "Mask",
        "Spine",
        "SpinelabError",
        "Vertebra",
        "analyze",
        "convert_mask",
        "evaluate",
        "measure",
        "read",
        "read_mask",
        "segment",
    ]
    assert len(spinelab.__all__) <= 15


@pytest.mark.parametrize("name", spinelab.__all__)
def test_every_public_name_loads_and_says_what_it_is(name):
    value = getattr(spinelab, name)
    assert callable(value)
    assert value.__doc__


def test_no_public_function_shares_its_name_with_a_module():
    below = {entry.stem for entry in SOURCE.iterdir()}
    assert not below & set(spinelab.__all__)


def test_public_functions_stay_functions_whatever_is_imported():
    code = (
        "import spinelab.measurement, spinelab.evaluation, spinelab.tasks.segment, spinelab.tasks.analyze\n"
        "import spinelab.io, types\n"
        "names = ['measure', 'evaluate', 'segment', 'analyze', 'read']\n"
        "assert all(isinstance(getattr(spinelab, n), types.FunctionType) for n in names)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(AttributeError, match=r"spinelab has no 'sgment'; its public names are .*segment"):
        _ = spinelab.sgment


def test_dir_lists_the_public_names():
    assert set(spinelab.__all__) <= set(dir(spinelab))


def test_importing_is_quick_and_loads_nothing_heavy():
    code = (
        "import time, sys\n"
        "start = time.process_time(); import spinelab; spent = time.process_time() - start\n"
        "heavy = {'torch', 'numpy', 'scipy', 'SimpleITK', 'onnxruntime', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert spent < 0.1, spent\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_line_loads_no_torch_and_no_heavy_drawing():
    code = (
        "import sys, spinelab.cli\n"
        "heavy = {'torch', 'onnx', 'SimpleITK', 'onnxruntime', 'matplotlib.pyplot'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
