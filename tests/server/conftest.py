import pytest

pytest.importorskip("fastapi", reason="needs the extra server: pip install spinelab[server]")
pytest.importorskip("argon2", reason="needs the extra server: pip install spinelab[server]")

import shutil

from argon2 import PasswordHasher

from tests.server.cases import make_app, make_store


@pytest.fixture(scope="session", autouse=True)
def quick_passwords():
    """Passwords are hashed with little memory and time, but by the same code."""
    from spinelab.server import accounts

    slow, accounts._HASHER = accounts._HASHER, PasswordHasher(time_cost=1, memory_cost=64)
    yield
    accounts._HASHER = slow


@pytest.fixture(scope="session")
def prepared_folder(tmp_path_factory, quick_passwords):
    """A database with two cases whose pictures have been made; copied for each test."""
    from spinelab.server.prepared import prepare_case

    folder = tmp_path_factory.mktemp("workstation")
    store = make_store(folder, cases=2)
    for scan_id in (1, 2):
        prepare_case(store, scan_id)
    store.close()
    return folder


@pytest.fixture
def store(prepared_folder, tmp_path):
    from spinelab.archive.store import open_store

    shutil.copytree(prepared_folder, tmp_path / "results")
    opened = open_store(tmp_path / "results" / "results.db")
    yield opened
    opened.close()


@pytest.fixture
def app(store):
    return make_app(store)
