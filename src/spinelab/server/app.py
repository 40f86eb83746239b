"""The workstation as an application: explicit routes over one results database."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy.exc import IntegrityError, OperationalError
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from spinelab.archive.store import Store
from spinelab.errors import SpinelabError
from spinelab.server import case_routes, page_routes
from spinelab.server.accounts import find_person
from spinelab.server.options import ServeOptions
from spinelab.server.prepared import Preparer
from spinelab.server.refusals import NotAllowedError, NotThereError
from spinelab.server.security import COOKIE, SignedOutError, guard

#: The built page; made by `make workstation`, carried by the wheel.
BUILT = Path(__file__).with_name("built")
LOCAL_HOSTS = ("127.0.0.1", "localhost")


def page_is_built() -> bool:
    """Tells whether the page's scripts have been built."""
    return (BUILT / "reading.js").is_file() and (BUILT / "style.css").is_file()


def build_app(
    store: Store,
    options: ServeOptions = ServeOptions(),  # noqa: B008 frozen
    *,
    hosts: Sequence[str] = LOCAL_HOSTS,
    prepare: bool = True,
) -> FastAPI:
    """Returns the application.

    Args:
        store: The results database; its tables for the workstation are made if they are not there.
        options: How the workstation behaves.
        hosts: Names browsers may call it by; others are refused (DNS rebinding).
        prepare: Whether pictures of all cases are made in the background.
    """
    store.prepare()

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        preparer = Preparer(store) if prepare else None
        if preparer is not None:
            preparer.start()
        yield
        if preparer is not None:
            preparer.stop()

    app = FastAPI(title="spinelab", openapi_url=None, docs_url=None, redoc_url=None, lifespan=run)
    app.state.store, app.state.options = store, options
    app.include_router(page_routes.router)
    app.include_router(case_routes.router)
    app.mount("/static", StaticFiles(directory=BUILT, check_dir=False), name="static")
    app.middleware("http")(guard)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    _add_refusals(app)
    return app


def _add_refusals(app: FastAPI) -> None:
    """Every error becomes an answer: JSON for the reading page, a page for people."""

    @app.exception_handler(SignedOutError)
    def signed_out(request: Request, error: SignedOutError) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"detail": "signed out; sign in again"}, 401)
        return RedirectResponse("/signin", 303)

    @app.exception_handler(SpinelabError)
    def refused(request: Request, error: SpinelabError) -> Response:
        status = (
            403 if isinstance(error, NotAllowedError) else 404 if isinstance(error, NotThereError) else 400
        )
        return _answer(request, str(error), status)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        where = ", ".join(".".join(str(part) for part in e["loc"]) for e in error.errors())
        return _answer(request, f"the request makes no sense at {where}", 422)

    @app.exception_handler(HTTPException)
    def failed(request: Request, error: HTTPException) -> Response:
        return _answer(request, str(error.detail), error.status_code)

    @app.exception_handler(IntegrityError)
    def twice(request: Request, error: IntegrityError) -> Response:
        return _answer(request, "somebody did the same at the same moment; try again", 409)

    @app.exception_handler(OperationalError)
    def busy(request: Request, error: OperationalError) -> Response:
        return _answer(request, "the database is busy or cannot be reached; try again", 503)


def _answer(request: Request, message: str, status: int) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"detail": message}, status)
    person = find_person(request.app.state.store, request.cookies.get(COOKIE))
    return page_routes.show_refusal(request, message, status, person)
