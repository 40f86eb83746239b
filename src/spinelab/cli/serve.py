"""`spinelab serve`: the workstation. Needs the extra ``server``."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from spinelab.cli.console import complain, say
from spinelab.cli.extras import needing_the_extra
from spinelab.cli.flags import with_flags
from spinelab.cli.parameters import Files, Quiet, Results
from spinelab.errors import InputError
from spinelab.server.options import ServeOptions


@with_flags(ServeOptions)
def serve_workstation(
    *,
    results: Results,
    files: Files = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8765,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Further name browsers may call this machine by; repeat it for several."),
    ] = None,
    quiet: Quiet = False,
    options: ServeOptions,
) -> None:
    """Serve the workstation, a web page on which readers grade vertebrae; stop it with Ctrl-C."""
    app_module, uvicorn = _load()
    if not app_module.page_is_built():
        raise InputError(
            "the workstation's page is not built; install a wheel, or in a checkout run: make workstation"
        )
    from spinelab.archive.store import open_store
    from spinelab.server.accounts import list_accounts

    store = open_store(_existing(results), files=files)
    hosts = [*app_module.LOCAL_HOSTS, host, *(allow_host or [])]
    app = app_module.build_app(store, options, hosts=hosts)
    if not list_accounts(store):
        complain("nobody can sign in yet; add an account: spinelab user add NAME --role reader")
    if host not in app_module.LOCAL_HOSTS and not options.https:
        complain(f"listening on {host} without HTTPS: put a proxy with HTTPS in front and say --https")
    if not quiet:
        say(f"workstation: http://{host}:{port}/ (Ctrl-C stops it)")
    try:
        uvicorn.run(app, host=host, port=port, log_level="warning", server_header=False)
    finally:
        store.close()


def _existing(results: str) -> str:
    """Refuses a file that is not there: a misspelt name would serve an empty list."""
    if "://" not in results and not Path(results).is_file():
        raise InputError(f"{results} is not there; spinelab watch makes it, or check the name")
    return results


def _load() -> tuple[Any, Any]:
    """Returns the application's module and the server.

    Raises:
        DependencyError: The extra is not installed.
    """
    # FastAPI carries the interface of OpenTelemetry; should an exporter be installed, it stays silent.
    os.environ["OTEL_SDK_DISABLED"] = "true"
    with needing_the_extra("server", "the workstation"):
        import argon2  # noqa: F401
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import sqlalchemy  # noqa: F401
        import uvicorn
    from spinelab.server import app

    return app, uvicorn
