"""A store in a temporary folder."""

import pytest

from spinelab.archive.store import open_store


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path / "results.db")
    yield opened
    opened.close()
