"""What every request passes: headers that forbid anything from elsewhere, who asks, the secret of forms."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Path, Request, Response
from starlette.datastructures import UploadFile

from spinelab.archive.store import Store
from spinelab.server.accounts import Person, find_person
from spinelab.server.options import ServeOptions
from spinelab.server.refusals import NotAllowedError

COOKIE, FORM_COOKIE = "spinelab_session", "spinelab_form"
#: No request is larger than this; imports of labels are the largest.
MOST_BYTES = 20_000_000
_SAFE = {"GET", "HEAD"}
#: Nothing but the workstation itself: no script, picture, font or connection from anywhere else.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class SignedOutError(Exception):
    """Nobody is signed in, or no longer."""


async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Refuses what comes from another site or is too large, and sets the headers of every answer."""
    if _comes_from_elsewhere(request):
        response = Response("this request comes from another site", 403, media_type="text/plain")
    elif _is_too_large(request):
        response = Response(f"at most {MOST_BYTES} bytes a request", 413, media_type="text/plain")
    else:
        response = await call_next(request)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if not request.url.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _comes_from_elsewhere(request: Request) -> bool:
    origin = request.headers.get("origin")
    if request.method in _SAFE or origin is None:
        return False
    return urlsplit(origin).netloc != request.headers.get("host")


def _is_too_large(request: Request) -> bool:
    """A body without a length (chunked) is refused as well: no browser sends one."""
    if request.method in _SAFE:
        return False
    if "transfer-encoding" in request.headers:
        return True
    length = request.headers.get("content-length", "0")
    return not length.isdecimal() or int(length) > MOST_BYTES


def store_of(request: Request) -> Store:
    """Returns the database this workstation is on."""
    store: Store = request.app.state.store
    return store


def options_of(request: Request) -> ServeOptions:
    """Returns how this workstation behaves."""
    options: ServeOptions = request.app.state.options
    return options


async def whoever(request: Request, store: Annotated[Store, Depends(store_of)]) -> Person:
    """Returns who is signed in; a changing request must carry the secret of that session.

    Raises:
        SignedOutError: Nobody is.
        NotAllowedError: The secret is missing or wrong.
    """
    from starlette.concurrency import run_in_threadpool

    person = await run_in_threadpool(find_person, store, request.cookies.get(COOKIE))
    if person is None:
        raise SignedOutError
    if request.method not in _SAFE:
        given = request.headers.get("x-csrf-token") or await _form_field(request, "csrf")
        if not secrets.compare_digest(given.encode(), person.csrf.encode()):
            raise NotAllowedError("the page is out of date; load it again")
    return person


async def _form_field(request: Request, name: str) -> str:
    if not request.headers.get("content-type", "").startswith(
        ("application/x-www-form-urlencoded", "multipart/form-data")
    ):
        return ""
    value = (await request.form()).get(name, "")
    return "" if isinstance(value, UploadFile) else value


def check_form_cookie(request: Request, field: str) -> bool:
    """Tells whether a form sent before signing in is one this browser was given (double submit)."""
    cookie = request.cookies.get(FORM_COOKIE, "")
    return bool(cookie) and secrets.compare_digest(cookie.encode(), field.encode())


def set_cookie(response: Response, name: str, value: str, *, options: ServeOptions, seconds: float) -> None:
    """Sets a cookie that no script reads and no other site sends."""
    response.set_cookie(
        name,
        value,
        max_age=int(seconds),
        httponly=True,
        samesite="strict",
        secure=options.https,
        path="/",
    )


#: The largest number a row can have in every database.
LARGEST = 2_147_483_647
#: A row's number in an address.
Number = Annotated[int, Path(ge=1, le=LARGEST)]
#: What routes declare to be given these.
StoreHere = Annotated[Store, Depends(store_of)]
OptionsHere = Annotated[ServeOptions, Depends(options_of)]
Signed = Annotated[Person, Depends(whoever)]
