"""`spinelab user`: the accounts of the workstation. Needs the extra ``server``."""

import sys
from typing import Annotated, Any

import typer

from spinelab.cli.console import say
from spinelab.cli.extras import needing_the_extra
from spinelab.cli.parameters import Files, Quiet, Results

app = typer.Typer(
    help="The workstation's accounts: add one, set a password, lock or unlock, list.", rich_markup_mode=None
)
Name = Annotated[str, typer.Argument(help="Name to sign in with.")]


@app.command("add")
def add_user(
    name: Name,
    *,
    results: Results,
    role: Annotated[str, typer.Option(help="reader, adjudicator or admin.")],
    files: Files = None,
    quiet: Quiet = False,
) -> None:
    """Add an account; the password is asked for, or read from the first line of stdin."""
    accounts, store = _open(results, files)
    accounts.add_account(store, name, role, _ask_password())
    if not quiet:
        say(f"{role} {name} added")


@app.command("password")
def set_password(name: Name, *, results: Results, files: Files = None, quiet: Quiet = False) -> None:
    """Give an account a new password; it is signed out everywhere."""
    accounts, store = _open(results, files)
    accounts.change_account(store, name, password=_ask_password())
    if not quiet:
        say(f"password of {name} changed")


@app.command("lock")
def lock_user(
    name: Name,
    *,
    results: Results,
    files: Files = None,
    unlock: Annotated[bool, typer.Option("--unlock", help="Let it sign in again.")] = False,
    quiet: Quiet = False,
) -> None:
    """Keep an account from signing in; its labels stay."""
    accounts, store = _open(results, files)
    accounts.change_account(store, name, active=unlock)
    if not quiet:
        say(f"{name} may sign in again" if unlock else f"{name} is locked")


@app.command("list")
def list_users(*, results: Results, files: Files = None) -> None:
    """List the accounts."""
    accounts, store = _open(results, files)
    for name, role, active in accounts.list_accounts(store):
        say(f"{name:24} {role:12} {'' if active else 'locked'}".rstrip())


def _open(results: str, files: Any) -> tuple[Any, Any]:
    with needing_the_extra("server", "the workstation"):
        import spinelab.server.tables  # noqa: F401
        from spinelab.archive.store import open_store
        from spinelab.server import accounts
    return accounts, open_store(results, files=files)


def _ask_password() -> str:
    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return password
    return sys.stdin.readline().rstrip("\r\n")
