"""The verbs of the workstation."""

import io
import os

import pytest

pytest.importorskip("fastapi", reason="needs the extra server: pip install spinelab[server]")

import uvicorn

from spinelab.archive.store import open_store
from spinelab.cli.app import run
from spinelab.server import app as app_module
from spinelab.server.accounts import list_accounts


@pytest.fixture
def results(tmp_path):
    open_store(tmp_path / "results.db").close()
    return tmp_path / "results.db"


@pytest.fixture
def served(monkeypatch):
    """What uvicorn would have been asked to serve."""
    asked = []
    monkeypatch.setattr(app_module, "page_is_built", lambda: True)
    monkeypatch.setattr(uvicorn, "run", lambda app, **given: asked.append((app, given)))
    return asked


def add(results, monkeypatch, name="ada", role="reader", password="a long sentence"):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    return run(["user", "add", name, "-r", str(results), "--role", role])


def test_accounts_from_the_command_line(results, monkeypatch, capsys):
    assert add(results, monkeypatch) == 0
    assert run(["user", "list", "-r", str(results)]) == 0
    assert run(["user", "lock", "ada", "-r", str(results)]) == 0
    assert run(["user", "list", "-r", str(results)]) == 0
    assert run(["user", "lock", "ada", "--unlock", "-r", str(results)]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("another sentence\n"))
    assert run(["user", "password", "ada", "-r", str(results)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[:4] == [
        ["reader", "ada", "added"],
        ["ada", "reader"],
        ["ada", "is", "locked"],
        ["ada", "reader", "locked"],
    ]
    store = open_store(results)
    assert list_accounts(store) == [("ada", "reader", True)]
    store.close()


def test_accounts_that_will_not_do_are_refused_in_a_line(results, monkeypatch, capsys):
    assert add(results, monkeypatch, password="short") == 2
    assert add(results, monkeypatch, role="king") == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_serving_listens_here_alone_unless_told_otherwise(results, served, monkeypatch, capsys):
    add(results, monkeypatch)
    assert run(["serve", "-r", str(results), "--suggestion", "after", "--readers", "3"]) == 0
    app, given = served[0]
    assert (given["host"], given["port"]) == ("127.0.0.1", 8765)
    assert (app.state.options.suggestion, app.state.options.readers) == ("after", 3)
    told = capsys.readouterr()
    assert "http://127.0.0.1:8765/" in told.out
    assert told.err == ""
    assert run(["serve", "-r", str(results), "--host", "0.0.0.0", "-q"]) == 0
    assert "without HTTPS" in capsys.readouterr().err


def test_no_telemetry_whatever_is_installed(results, served, monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "false")
    assert run(["serve", "-r", str(results), "-q"]) == 0
    assert os.environ["OTEL_SDK_DISABLED"] == "true"


def test_serving_says_when_nobody_can_sign_in(results, served, capsys):
    assert run(["serve", "-r", str(results)]) == 0
    assert "nobody can sign in yet" in capsys.readouterr().err


def test_a_misspelt_database_is_not_made(tmp_path, served, capsys):
    assert run(["serve", "-r", str(tmp_path / "resluts.db")]) == 2
    assert "is not there; spinelab watch makes it" in capsys.readouterr().err
    assert not (tmp_path / "resluts.db").exists()


def test_without_the_built_page_the_way_to_it_is_told(results, monkeypatch, capsys):
    monkeypatch.setattr(app_module, "page_is_built", lambda: False)
    assert run(["serve", "-r", str(results)]) == 2
    assert "make workstation" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["fastapi", "argon2", "uvicorn"])
def test_without_the_extra_the_way_to_it_is_told(results, monkeypatch, capsys, package):
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    assert run(["serve", "-r", str(results)]) == 2
    assert "pip install spinelab[server]" in capsys.readouterr().err


def test_a_wrong_option_is_told(results, served, capsys):
    assert run(["serve", "-r", str(results), "--readers", "0"]) == 2
    assert "at least 1 reader reads a case" in capsys.readouterr().err
