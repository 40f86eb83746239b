"""The pages: sign-in, work list, reading page, study, accounts; and what they send and save."""

import secrets
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import RedirectResponse
from fastapi.templating import Jinja2Templates
from starlette.concurrency import run_in_threadpool

import spinelab
from spinelab.errors import InputError
from spinelab.server.accounts import (
    Person,
    SignInRefusedError,
    SignInThrottledError,
    add_account,
    change_account,
    list_accounts,
    sign_in,
    sign_out,
)
from spinelab.server.exports import EXPORTS
from spinelab.server.imports import import_labels
from spinelab.server.readings import find_vertebrae, open_reading
from spinelab.server.refusals import NotAllowedError, NotThereError
from spinelab.server.security import (
    COOKIE,
    FORM_COOKIE,
    Number,
    OptionsHere,
    Signed,
    StoreHere,
    check_form_cookie,
    set_cookie,
)
from spinelab.server.study import measure_agreement, measure_progress
from spinelab.server.tables import ADMIN, ROLES, Audit
from spinelab.server.worklist import Filter, choose_next, count_scans, list_cases

router = APIRouter()
PAGES = Jinja2Templates(directory=Path(__file__).with_name("templates"))
#: Cases on one page of the work list.
PAGE_ROWS = 100
_FORM_S = 3600.0


@router.get("/signin")
def show_sign_in(request: Request, options: OptionsHere) -> Response:
    """The sign-in form."""
    return _sign_in_page(request, options, "", 200)


@router.post("/signin")
def take_sign_in(
    request: Request,
    store: StoreHere,
    options: OptionsHere,
    *,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    form: Annotated[str, Form()] = "",
) -> Response:
    """Signs in, or shows the form again with the reason."""
    if not check_form_cookie(request, form):
        return _sign_in_page(request, options, "The form was out of date. Please sign in again.", 403)
    address = request.client.host if request.client else "unknown"
    try:
        token = sign_in(store, name.strip(), password, address=address, hours=options.session_hours)
    except SignInRefusedError:
        return _sign_in_page(request, options, "Name or password do not match.", 401)
    except SignInThrottledError as error:
        response = _sign_in_page(request, options, f"{str(error).capitalize()}.", 429)
        response.headers["Retry-After"] = str(int(error.wait_s) + 1)
        return response
    response = RedirectResponse("/", 303)
    set_cookie(response, COOKIE, token, options=options, seconds=options.session_hours * 3600)
    response.delete_cookie(FORM_COOKIE)
    return response


@router.post("/signout")
def take_sign_out(request: Request, store: StoreHere, person: Signed) -> Response:
    """Signs out."""
    sign_out(store, request.cookies.get(COOKIE, ""))
    response = RedirectResponse("/signin", 303)
    response.delete_cookie(COOKIE)
    return response


@router.get("/")
def show_work_list(request: Request, store: StoreHere, person: Signed, options: OptionsHere) -> Response:
    """The work list."""
    wanted, page = _read_filter(request)
    with store.reading() as session:
        rows = list_cases(session, person, options, wanted)
        own = measure_progress(session, account_id=person.id)
        scans = count_scans(session)
    last = max(0, (len(rows) - 1) // PAGE_ROWS)
    page = min(page, last)
    readers = [name for name, role, _ in list_accounts(store) if role == "reader"] if person.sees_all else []
    query = {key: value for key, value in request.query_params.items() if key != "page"}
    links = [f"/?{urlencode({**query, 'page': number})}" for number in (page - 1, page + 1)]
    return _page(
        request,
        "worklist.html",
        person,
        rows=rows[page * PAGE_ROWS : (page + 1) * PAGE_ROWS],
        total=len(rows),
        wanted=wanted,
        readers=readers,
        own=own[0] if own else None,
        scans=scans,
        options=options,
        nothing="nothing" in request.query_params,
        earlier=links[0] if page > 0 else None,
        later=links[1] if page < last else None,
    )


@router.get("/next")
def go_to_next(store: StoreHere, person: Signed, options: OptionsHere) -> Response:
    """Leads to the case to take next; to the work list where there is none."""
    with store.reading() as session:
        scan_id = choose_next(session, person, options)
    return RedirectResponse("/?nothing=left" if scan_id is None else f"/cases/{scan_id}", 303)


@router.get("/cases/{scan_id}")
def show_reading_page(
    request: Request, scan_id: Number, store: StoreHere, person: Signed, options: OptionsHere
) -> Response:
    """The reading page; what it shows it asks for itself."""
    with store.reading() as session:
        find_vertebrae(session, scan_id)
    if person.role != ADMIN:
        open_reading(store, person, scan_id, options)
    return _page(request, "case.html", person, scan_id=scan_id)


@router.get("/study")
def show_study(request: Request, store: StoreHere, person: Signed, options: OptionsHere) -> Response:
    """Progress, agreement, exports; for readers their own progress and exports."""
    with store.reading() as session:
        progress = measure_progress(session, account_id=None if person.sees_all else person.id)
        agreement = measure_agreement(session) if person.sees_all else None
        scans = count_scans(session)
    return _page(
        request,
        "study.html",
        person,
        progress=progress,
        agreement=agreement,
        scans=scans,
        exports=[name for name in EXPORTS if name != "audit.csv" or person.role == ADMIN],
        options=options,
        message=request.query_params.get("imported", ""),
    )


@router.get("/export/{name}")
def send_export(name: str, store: StoreHere, person: Signed, options: OptionsHere) -> Response:
    """One export as a file."""
    if name not in EXPORTS:
        raise NotThereError(f"there is no export {name!r}; there are {', '.join(EXPORTS)}")
    export = EXPORTS[name](store, person, options)
    with store.writing() as session:
        session.add(_audit(person, "exported", {"export": name}))
    headers = {"Content-Disposition": f'attachment; filename="{export.name}"'}
    return Response(export.data, media_type=export.media_type, headers=headers)


@router.post("/import")
async def take_import(store: StoreHere, person: Signed, file: Annotated[UploadFile, File()]) -> Response:
    """Takes in earlier labels."""
    count = await run_in_threadpool(import_labels, store, person, await file.read())
    return RedirectResponse(f"/study?{urlencode({'imported': f'{count} labels were taken in.'})}", 303)


@router.get("/accounts")
def show_accounts(request: Request, store: StoreHere, person: Signed) -> Response:
    """The accounts, for admins."""
    _check_admin(person)
    return _accounts_page(request, store, person)


@router.post("/accounts")
def take_account(
    request: Request,
    store: StoreHere,
    person: Signed,
    *,
    name: Annotated[str, Form()],
    role: Annotated[str, Form()],
    password: Annotated[str, Form()],
) -> Response:
    """Adds an account."""
    _check_admin(person)
    try:
        add_account(store, name.strip(), role, password)
    except InputError as error:
        return _accounts_page(request, store, person, str(error), 400)
    return RedirectResponse("/accounts", 303)


@router.post("/accounts/{name}")
def take_account_change(
    name: str, store: StoreHere, person: Signed, active: Annotated[bool, Form()]
) -> Response:
    """Lets an account sign in, or not."""
    _check_admin(person)
    if name == person.name:
        raise NotAllowedError("you cannot lock your own account; another admin can")
    change_account(store, name, active=active)
    return RedirectResponse("/accounts", 303)


def show_refusal(request: Request, message: str, status: int, person: Person | None = None) -> Response:
    """Returns a page that says why something was refused."""
    return _page(request, "refused.html", person, status, message=message)


def _page(request: Request, name: str, person: Person | None, status: int = 200, **values: Any) -> Response:
    shown = {"person": person, "version": spinelab.__version__, **values}
    return PAGES.TemplateResponse(request, name, shown, status_code=status)


def _sign_in_page(request: Request, options: OptionsHere, message: str, status: int) -> Response:
    token = secrets.token_urlsafe(24)
    response = _page(request, "signin.html", None, status, message=message, form=token)
    set_cookie(response, FORM_COOKIE, token, options=options, seconds=_FORM_S)
    return response


def _accounts_page(
    request: Request, store: StoreHere, person: Person, message: str = "", status: int = 200
) -> Response:
    accounts = list_accounts(store)
    return _page(request, "accounts.html", person, status, accounts=accounts, roles=ROLES, message=message)


def _check_admin(person: Person) -> None:
    if person.role != ADMIN:
        raise NotAllowedError("accounts are for admins; ask one of them")


def _read_filter(request: Request) -> tuple[Filter, int]:
    """Reads the filter and the page from an address; what makes no sense is left out."""
    given = request.query_params
    grade, share, page = given.get("grade", ""), given.get("probability", ""), given.get("page", "")
    return Filter(
        text=given.get("text", "")[:64],
        state=given.get("state", ""),
        grade=int(grade) if grade in ("0", "1", "2", "3") else None,
        probability=int(share) / 100 if share.isdecimal() and int(share) <= 100 else None,
        disagreement=given.get("disagreement") == "yes",
        reader=given.get("reader", ""),
        names=given.get("names", "") if given.get("names") in ("sure", "doubtful") else "",
    ), int(page) if page.isdecimal() and len(page) < 7 else 0


def _audit(person: Person, action: str, after: dict[str, Any]) -> Audit:
    import time

    return Audit(at=time.time(), account_id=person.id, action=action, before=None, after=after)
