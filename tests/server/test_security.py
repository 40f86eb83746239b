"""Nobody gets in, out or sideways: sign-in, cookies, forms, headers, paths."""

import re
import time

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import DatabaseError
from starlette.testclient import TestClient

from spinelab.errors import InputError
from spinelab.server import accounts
from spinelab.server.accounts import add_account, change_account, list_accounts
from spinelab.server.tables import Account, Attempt, Audit, SignIn
from tests.server.cases import PASSWORD, ROUTES, grade, make_app, sign_in, vertebra_ids


def visit(app):
    return TestClient(app, base_url="http://127.0.0.1", follow_redirects=False)


def attempt(browser, name, password):
    form = re.search(r'name="form" value="([^"]+)"', browser.get("/signin").text)[1]
    return browser.post("/signin", data={"name": name, "password": password, "form": form})


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(app):
    cookie = attempt(visit(app), "ada", PASSWORD).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie


def test_behind_https_the_cookie_says_so(store):
    assert "Secure" in visit(make_app(store, https=True)).get("/signin").headers["set-cookie"]


def test_passwords_and_cookies_are_nowhere_stored_as_they_are(app, store):
    browser = visit(app)
    attempt(browser, "ada", PASSWORD)
    token = browser.cookies["spinelab_session"]
    with store.reading() as session:
        hashed = session.scalars(select(Account.password_hash)).all()
        kept = session.scalars(select(SignIn.token_hash)).all()
    assert all(value.startswith("$argon2id$") for value in hashed)
    assert token not in kept
    assert PASSWORD.encode() not in (store.files.parent / "results.db").read_bytes()


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong password"), ("nobody", PASSWORD), ("", "")])
def test_wrong_names_and_passwords_get_the_same_answer(app, name, password):
    answer = attempt(visit(app), name, password)
    assert answer.status_code == 401
    assert "Name or password do not match." in answer.text


def test_guessing_is_slowed_down_even_for_the_right_password(app, store):
    browser = visit(app)
    for _ in range(accounts.MOST_FAILURES):
        assert attempt(browser, "ada", "wrong password").status_code == 401
    answer = attempt(browser, "ada", PASSWORD)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 500
    assert "try again in 10 min" in answer.text
    assert attempt(browser, "ben", PASSWORD).status_code == 303
    with store.writing() as session:
        session.execute(update(Attempt).values(at=time.time() - accounts.WINDOW_S - 1))
    assert attempt(browser, "ada", PASSWORD).status_code == 303


def test_guessing_many_names_from_one_address_is_slowed_down(app, monkeypatch):
    monkeypatch.setattr(accounts, "MOST_FAILURES_ADDRESS", 3)
    browser = visit(app)
    assert [attempt(browser, f"name{n}", "wrong password").status_code for n in range(4)] == [
        401,
        401,
        401,
        429,
    ]


def test_a_session_ends(app, store):
    browser = sign_in(app, "ada")
    with store.writing() as session:
        session.execute(update(SignIn).values(expires_at=time.time() - 1))
    assert browser.get("/api/cases/1").status_code == 401
    assert browser.get("/").headers["location"] == "/signin"


def test_signing_out_ends_the_session_on_the_server(app):
    browser = sign_in(app, "ada")
    token = browser.cookies["spinelab_session"]
    assert browser.post("/signout").status_code == 303
    thief = visit(app)
    thief.cookies.set("spinelab_session", token)
    assert thief.get("/").headers["location"] == "/signin"


def test_a_locked_account_is_out_at_once(app, store):
    browser = sign_in(app, "ada")
    change_account(store, "ada", active=False)
    assert browser.get("/").status_code == 303
    assert attempt(visit(app), "ada", PASSWORD).status_code == 401
    change_account(store, "ada", active=True, password="another sentence")
    assert attempt(visit(app), "ada", "another sentence").status_code == 303


@pytest.mark.parametrize("secret", [None, "", "wrong"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/cases/1/open"),
        ("PUT", "/api/cases/1/vertebrae/1"),
        ("POST", "/api/cases/1/undo"),
        ("POST", "/api/cases/1/names"),
        ("POST", "/api/cases/1/finish"),
        ("POST", "/api/cases/1/reopen"),
        ("POST", "/signout"),
        ("POST", "/import"),
        ("POST", "/accounts"),
        ("POST", "/accounts/ben"),
    ],
)
def test_no_change_without_the_secret_of_the_session(app, method, path, secret):
    browser = sign_in(app, "root" if path.startswith(("/acc", "/imp")) else "ada")
    del browser.headers["x-csrf-token"]
    headers = {} if secret is None else {"x-csrf-token": secret}
    answer = browser.request(method, path, headers=headers, json={"evaluable": False})
    assert answer.status_code == 403
    assert "out of date" in answer.text


def test_every_changing_route_wants_somebody_signed_in(app):
    browser = visit(app)
    seen = 0
    for route in ROUTES:
        for method in getattr(route, "methods", ()) or ():
            path = re.sub(r"\{[^}]+\}", "1", route.path)
            if path == "/signin":
                continue
            answer = browser.request(method, path)
            assert answer.status_code in (303, 401), (method, path, answer.status_code)
            seen += 1
    assert seen >= 20


def test_a_form_from_another_site_is_refused(app):
    browser = sign_in(app, "ada")
    answer = browser.post("/signout", headers={"origin": "http://evil.example"})
    assert (answer.status_code, answer.text) == (403, "this request comes from another site")
    assert visit(app).post("/signin", data={"name": "ada", "password": PASSWORD}).status_code == 403


def test_another_host_name_is_refused(app):
    assert TestClient(app, base_url="http://evil.example").get("/signin").status_code == 400


def test_too_large_a_request_is_refused(app):
    browser = sign_in(app, "ada")
    assert browser.post("/api/cases/1/undo", headers={"content-length": "99999999999"}).status_code == 413
    assert browser.post("/api/cases/1/undo", content=iter([b"{}"])).status_code == 413


@pytest.mark.parametrize("path", ["/signin", "/", "/api/cases/1", "/static/none.js", "/nothing"])
def test_every_answer_forbids_what_comes_from_elsewhere(app, path):
    headers = sign_in(app, "ada").get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "http" not in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../../results.db",
        "/static/..%2f..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
        "/api/cases/..%2f1/scan.nii",
        "/api/cases/1/vertebrae/..%2f..%2fcase.json/picture.png",
        "/api/cases/1%00/scan.nii",
        "/export/..%2fresults.db",
        "/cases/../../etc/passwd",
    ],
)
def test_no_path_leads_out(app, path):
    browser = sign_in(app, "ada")
    grade(browser, 1, {"T11": 0})
    answer = browser.get(path)
    assert answer.status_code in (303, 404, 422)
    assert b"SQLite format" not in answer.content
    assert b"root:" not in answer.content
    assert b"def build_app" not in answer.content


def test_a_result_that_points_out_of_the_store_is_not_followed(app, store):
    from spinelab.archive.tables import Result
    from spinelab.server.prepared import index_path

    index_path(store, 1).unlink()
    with store.writing() as session:
        session.get(Result, 1).folder = "../.."
    answer = sign_in(app, "root").get("/api/cases/1")
    assert answer.status_code == 400
    assert "lies outside the results" in answer.json()["detail"]


def test_the_pages_say_nothing_of_where_scans_lie(app, store):
    browser = sign_in(app, "ada")
    grade(browser, 1, {"T11": 0})
    for path in ("/", "/cases/1", "/api/cases/1", "/study", "/export/labels.json"):
        assert str(store.files.parent) not in browser.get(path).text


def test_names_cannot_carry_markup(app):
    browser = sign_in(app, "root")
    data = {"name": "<script>", "role": "reader", "password": PASSWORD}
    answer = browser.post("/accounts", data=data)
    assert answer.status_code == 400
    assert "&lt;script&gt;" in answer.text
    assert "<script>" not in answer.text.replace('<script type="module"', "")
    assert "<b>x" not in browser.get("/", params={"text": "<b>x"}).text


def test_the_database_itself_refuses_to_change_the_audit(app, store):
    grade(sign_in(app, "ada"), 1, {"T11": 0})
    for statement in ("UPDATE audit SET action = 'x'", "DELETE FROM audit"):
        with pytest.raises(DatabaseError, match="append-only"), store.writing() as session:
            session.connection().exec_driver_sql(statement)
    with pytest.raises(DatabaseError, match="append-only"), store.writing() as session:
        session.scalars(select(Audit)).first().action = "something else"
    with pytest.raises(DatabaseError, match="append-only"), store.writing() as session:
        session.delete(session.scalars(select(Audit)).first())


@pytest.mark.parametrize(
    ("name", "role", "password", "message"),
    [
        ("a b", "reader", PASSWORD, "an account name has letters"),
        ("x" * 65, "reader", PASSWORD, "at most 64"),
        ("max", "king", PASSWORD, "a role is reader, adjudicator, admin, found 'king'"),
        ("max", "reader", "short", "a password has 10 to 256 characters, found 5"),
        ("ada", "reader", PASSWORD, "there is an account 'ada' already"),
    ],
)
def test_accounts_that_will_not_do(store, name, role, password, message):
    with pytest.raises(InputError, match=message):
        add_account(store, name, role, password)
    assert len(list_accounts(store)) == 5


def test_an_account_that_is_not_there_cannot_be_changed(store):
    with pytest.raises(InputError, match="there is no account 'max'"):
        change_account(store, "max", active=False)


def test_a_password_as_long_as_a_book_is_not_hashed(app):
    assert attempt(visit(app), "ada", "x" * 1000).status_code == 401


def test_admins_keep_accounts_and_others_do_not(app):
    admin, reader = sign_in(app, "root"), sign_in(app, "ada")
    data = {"name": "new", "role": "reader", "password": PASSWORD}
    assert reader.post("/accounts", data=data).status_code == 403
    assert reader.get("/accounts").status_code == 403
    assert admin.post("/accounts", data=data).status_code == 303
    assert sign_in(app, "new").get("/").status_code == 200
    assert admin.post("/accounts/new", data={"active": "false"}).status_code == 303
    assert attempt(visit(app), "new", PASSWORD).status_code == 401
    assert "cannot lock your own" in admin.post("/accounts/root", data={"active": "false"}).text


def test_pictures_are_for_those_who_opened_the_case(app):
    ada, ben = sign_in(app, "ada"), sign_in(app, "ben")
    grade(ada, 1, {"T11": 0})
    number = vertebra_ids(ada)["T11"]
    for path in (
        "scan.nii",
        "mask.nii",
        "scan.nii?coarse=true",
        "mask.nii?coarse=true",
        f"vertebrae/{number}/picture.png",
    ):
        answer = ada.get(f"/api/cases/1/{path}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert ben.get(f"/api/cases/1/{path}").status_code == 403
