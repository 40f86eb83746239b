"""A results database with synthetic cases, as the archive leaves it, and people who may sign in."""

import time
from functools import cache

import SimpleITK
from starlette.testclient import TestClient

from spinelab.archive.store import open_store
from spinelab.archive.tables import DONE, Base, Result, Scan, VertebraRow
from spinelab.io import write_mask
from spinelab.io.verse import write_centroids
from spinelab.measurement import measure
from spinelab.server import accounts, case_routes, page_routes
from spinelab.server.accounts import add_account
from spinelab.server.app import build_app
from spinelab.server.options import ServeOptions
from spinelab.server.security import COOKIE
from tests.phantom import Collapse, make_phantom

PASSWORD = "a long sentence"
#: The model's opinion on the middle vertebra of every synthetic case, and on its neighbours.
FRACTURED = {
    "evaluable": True,
    "probability": 0.81,
    "grade": 2,
    "shape": "wedge",
    "height_loss_percent": 31.0,
}
NORMAL = {"evaluable": True, "probability": 0.04, "grade": 0, "shape": None, "height_loss_percent": 3.0}
#: Every address of the workstation but the static files.
ROUTES = (*page_routes.router.routes, *case_routes.router.routes)
LEVELS = ("T11", "T12", "L1", "L2")


@cache
def phantom():
    made = make_phantom(
        levels=LEVELS, spacing_mm=(2.0, 2.0, 2.0), collapse={"T12": Collapse(anterior=0.65, middle=0.85)}
    )
    return made, measure(made.image, made.mask, made.spine)


def write_scan(image, path):
    """Writes an upright image as NIfTI, as a hospital would send it."""
    itk = SimpleITK.GetImageFromArray(image.array.transpose(2, 1, 0))
    itk.SetSpacing(image.spacing_mm)
    itk.SetOrigin([float(value) for value in image.geometry.affine[:3, 3]])
    SimpleITK.WriteImage(itk, str(path))


def add_case(store, number=0):
    """Adds one read scan to a database and returns its number."""
    made, spine = phantom()
    folder = store.files / f"case{number}"
    folder.mkdir(parents=True)
    source = store.files.parent / f"scan{number}.nii.gz"
    write_scan(made.image, source)
    write_mask(made.mask, folder / "x_vert.nii.gz")
    write_centroids(spine, made.mask.geometry, folder / "x_ctd.json")
    key = f"{number:064d}"
    return add_result(store, (key, source, folder.name), spine)


def add_result(store, where, spine):
    """Adds a scan and its result, the mask and the centroids lying in its folder already."""
    key, source, folder = where
    opinions = [FRACTURED if v.level == "T12" else NORMAL for v in spine.vertebrae]
    with store.writing() as session:
        scan = Scan(
            key=key,
            case=store.case_name(key),
            source=str(source),
            kind="volume",
            status=DONE,
            found_at=time.time(),
        )
        session.add(scan)
        session.flush()
        session.add(
            Result(
                scan_id=scan.id,
                spine=spine.to_dict(),
                folder=folder,
                files={"mask": "x_vert.nii.gz", "centroids": "x_ctd.json"},
                rank=0.81,
                finding="T12 moderate wedge",
                worst_level="T12",
                worst_probability=0.81,
                worst_grade=2,
                worst_loss_percent=31.0,
                seconds=1.0,
                software="0",
                weights_sha256={},
            )
        )
        session.flush()
        for position, (vertebra, said) in enumerate(zip(spine.vertebrae, opinions, strict=True)):
            row = VertebraRow(
                scan_id=scan.id,
                position=position,
                level=vertebra.level,
                level_probability=vertebra.probability,
                complete=vertebra.complete,
                **said,
            )
            session.add(row)
        return scan.id


def make_store(folder, cases=1, *, url=None):
    """Returns a database with cases 1 to `cases` and an account of every kind; a URL is emptied first."""
    import spinelab.server.tables  # noqa: F401 so that its tables are made too

    store = open_store(url or folder / "results.db", files=folder / "results_files")
    if url is not None:
        Base.metadata.drop_all(store.engine)
        store.prepare()
    for number in range(cases):
        add_case(store, number)
    for name, role in (("ada", "reader"), ("ben", "reader"), ("eve", "reader"), ("jo", "adjudicator")):
        add_account(store, name, role, PASSWORD)
    add_account(store, "root", "admin", PASSWORD)
    return store


def make_app(store, **options):
    return build_app(store, ServeOptions(**options), prepare=False)


def sign_in(app, name, password=PASSWORD):
    """Returns a browser that has signed in, its secret in every request (the form has its own tests)."""
    browser = TestClient(app, base_url="http://127.0.0.1", follow_redirects=False)
    store = app.state.store
    token = accounts.sign_in(store, name, password, address="test", hours=1)
    browser.cookies.set(COOKIE, token)
    browser.headers["x-csrf-token"] = accounts.find_person(store, token).csrf
    return browser


def vertebra_ids(browser, scan_id=1):
    return {v["level"]: v["id"] for v in browser.get(f"/api/cases/{scan_id}").json()["vertebrae"]}


def grade(browser, scan_id, verdicts):
    """Opens a case and saves verdicts: level -> grade, (grade, shape), or None for not evaluable."""
    assert browser.post(f"/api/cases/{scan_id}/open").status_code == 200
    ids = vertebra_ids(browser, scan_id)
    for name, verdict in verdicts.items():
        number, shape = verdict if isinstance(verdict, tuple) else (verdict, None)
        body = {"evaluable": number is not None, "grade": number, "shape": shape, "seconds": 2.0}
        answer = browser.put(f"/api/cases/{scan_id}/vertebrae/{ids[name]}", json=body)
        assert answer.status_code == 200, answer.text


def read_whole(browser, scan_id=1, **changes):
    """Grades every vertebra 0 but for `changes` and finishes."""
    grade(browser, scan_id, {name: changes.get(name, 0) for name in LEVELS})
    answer = browser.post(f"/api/cases/{scan_id}/finish")
    assert answer.status_code == 200, answer.text
