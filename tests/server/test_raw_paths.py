"""Paths as only an attacker sends them: no client in between that would tidy them up."""

import http.client
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from spinelab.server import accounts
from spinelab.server.options import ServeOptions
from spinelab.server.security import COOKIE
from tests.server.cases import PASSWORD

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from workstation import serving

PATHS = (
    "/static/../../../results.db",
    "/static/../app.py",
    "/static/..%2fapp.py",
    "/static/%2e%2e/app.py",
    "/static/..%5capp.py",
    "/static//etc/passwd",
    "/static/%00",
    "/../../../../etc/passwd",
    "//etc/passwd",
    "/api/cases/../../results.db",
    "/api/cases/1/vertebrae/../../../../results.db",
    "/api/cases/-1/scan.nii",
    "/api/cases/1e0/scan.nii",
    "/api/cases/99999999999999999999/scan.nii",
    "/export/../results.db",
    "/export/labels.csv%00.db",
)


@pytest.fixture
def ask(store):
    token = accounts.sign_in(store, "root", PASSWORD, address="test", hours=1)
    with serving(store, ServeOptions(), prepare=False) as address:

        def get(path):
            connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
            connection.putrequest("GET", path)
            connection.putheader("Cookie", f"{COOKIE}={token}")
            connection.endheaders()
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            return answer.status, body

        yield get


def test_no_path_reaches_a_file_of_the_machine(ask, store):
    assert ask("/export/labels.csv")[0] == 200
    for path in PATHS:
        status, body = ask(path)
        assert status in (400, 404, 422), (path, status)
        for sign in (b"SQLite format", b"root:x", b"def build_app", str(store.files).encode()):
            assert sign not in body, path
