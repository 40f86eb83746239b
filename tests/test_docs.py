"""The pages keep up with the code: commands, options, schemes, outputs, links, Python."""

import ast
import re
from pathlib import Path

import pytest
import typer.main

from spinelab.cli.app import VERBS, app
from spinelab.evaluation import METRICS
from spinelab.labels import SCHEMES
from spinelab.tasks.analyze import OUTPUTS
from spinelab.tasks.convert import NAMES

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
CLI = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app).commands


def section(name):
    """Text from a heading to the next of its kind."""
    match = re.search(rf"^(##+) {re.escape(name)}$(.*?)(?=^\1 |\Z)", CLI, re.M | re.S)
    assert match, f"docs/cli.md has no section {name!r}"
    return match[2]


EVERYWHERE = CLI[: CLI.index("## analyze")]


def options_of(command):
    return [opt for p in command.params for opt in (*p.opts, *p.secondary_opts) if opt.startswith("--")]


@pytest.mark.parametrize("verb", VERBS)
def test_the_page_lists_every_command_and_option(verb):
    text = section(verb)
    for option in options_of(COMMANDS[verb]):
        assert f"`{option}`" in text + EVERYWHERE, f"{verb} {option}"


def test_the_page_lists_the_options_of_the_root():
    for option in options_of(typer.main.get_command(app)):
        assert f"`{option}`" in EVERYWHERE


@pytest.mark.train
@pytest.mark.parametrize("verb", ["segment", "landmarks", "fracture"])
def test_the_page_lists_the_options_of_training(verb):
    pytest.importorskip("torch")
    from spinelab.cli import train

    inner = typer.Typer(add_completion=False)
    inner.command()(getattr(train, f"{verb}_command")())
    for option in options_of(typer.main.get_command(inner)):
        assert f"`{option}`" in section(f"train {verb}") + EVERYWHERE, option


def test_the_page_names_no_option_that_is_not_there():
    known = {o for verb in VERBS for o in options_of(COMMANDS[verb])} | {
        "--help",
        "--data",
        "--debug",
        "--version",
    }
    written = set(re.findall(r"`(--[a-z][a-z-]*)`", CLI[: CLI.index("### train segment")]))
    assert written <= known


def test_every_command_is_in_the_readme():
    for verb in (*VERBS, "train segment"):
        assert f"spinelab {verb}" in README


def test_every_output_is_in_the_readme():
    for ending in OUTPUTS.values():
        assert f"`STEM{ending}`" in README


@pytest.mark.parametrize("scheme", [*SCHEMES, NAMES])
def test_the_table_of_schemes_agrees_with_the_code(scheme):
    row = next(line for line in CLI.splitlines() if line.startswith(f"| `{scheme}` |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    if scheme == NAMES:
        return
    numbers = {name: str(label) for label, name in SCHEMES[scheme].items()}
    assert cells[1:8] == [numbers.get(name, "") for name in ("L5", "L1", "T12", "T1", "C7", "C1", "S")]


def test_every_metric_is_explained():
    for metric in METRICS:
        assert f"| `{metric}` |" in CLI


def test_the_commands_of_the_readme_are_targets():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)$", README, re.M):
        assert re.search(rf"^{target}:", makefile, re.M)
    assert re.findall(r"^make (\w+)$", README, re.M) == ["demo", "test"]


def test_ci_runs_what_the_readme_says():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for target in ("make check", "make test", "make demo"):
        assert re.search(rf"^{target}\b", script, re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_on_the_pages_parses(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
        ast.parse(block)


def test_versions_agree():
    import spinelab

    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {spinelab.__version__}" in citation
    assert f"## {spinelab.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_pins_cover_every_dependency():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(d for e in project["optional-dependencies"].values() for d in e)]
    pins = {line.split("==")[0].lower().replace("_", "-") for line in _pins()}
    missing = {re.split(r"[><=\[]", d)[0].lower().replace("_", "-") for d in wanted} - pins
    assert not missing
    assert "torch==2.13.0" in _pins()


def _pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]
