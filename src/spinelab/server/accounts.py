"""Who may sign in: accounts, passwords, sessions, and a brake on guessing."""

import hashlib
import re
import secrets
import time
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from spinelab.archive.store import Store
from spinelab.errors import InputError
from spinelab.server.tables import ADMIN, ROLES, Account, Attempt, Audit, SignIn

#: Passwords are at least so long, as NIST SP 800-63B asks, and no longer than what is worth hashing.
SHORTEST, LONGEST = 10, 256
#: So many failures within so many seconds, for one name or from one address, and sign-in waits.
MOST_FAILURES, MOST_FAILURES_ADDRESS, WINDOW_S = 5, 40, 600.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASHER = PasswordHasher()
#: Checked when no such account exists, so that the answer takes as long as for one that does.
_NOBODY = _HASHER.hash(secrets.token_hex(16))


class SignInRefusedError(Exception):
    """Name or password are wrong; which of them is not said."""


class SignInThrottledError(Exception):
    """Too many failures; `wait_s` tells when to try again."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many failed attempts; try again in {wait_s / 60:.0f} min")
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Person:
    """Who is signed in, with the secret their forms carry."""

    id: int
    name: str
    role: str
    csrf: str

    @property
    def sees_all(self) -> bool:
        """Whether this role may see what several readers said: adjudicators and admins, never readers."""
        return self.role != "reader"


def add_account(store: Store, name: str, role: str, password: str) -> None:
    """Adds an account.

    Raises:
        InputError: The name, role or password will not do, or the name is taken.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"an account name has letters, digits, dot, dash and underscore, at most 64, found {name!r}"
        )
    if role not in ROLES:
        raise InputError(f"a role is {', '.join(ROLES)}, found {role!r}")
    hashed = hash_password(password)
    with store.writing() as session:
        if session.scalar(select(Account).where(Account.name == name)) is not None:
            raise InputError(f"there is an account {name!r} already; choose another name")
        account = Account(name=name, role=role, password_hash=hashed, created_at=time.time())
        session.add(account)
        session.flush()
        session.add(_entry("account added", account))


def change_account(
    store: Store, name: str, *, password: str | None = None, active: bool | None = None
) -> None:
    """Gives an account a new password, or lets it sign in or not; open sessions of it end.

    Raises:
        InputError: No such account, or the password will not do.
    """
    with store.writing() as session:
        account = session.scalar(select(Account).where(Account.name == name))
        if account is None:
            raise InputError(f"there is no account {name!r}; spinelab user list shows those there are")
        if password is not None:
            account.password_hash = hash_password(password)
        if active is not None:
            account.active = active
        session.execute(delete(SignIn).where(SignIn.account_id == account.id))
        session.add(_entry("account changed", account))


def list_accounts(store: Store) -> list[tuple[str, str, bool]]:
    """Returns name, role and whether it may sign in, of every account, by name."""
    with store.reading() as session:
        found = session.scalars(select(Account).order_by(Account.name))
        return [(account.name, account.role, account.active) for account in found]


def hash_password(password: str) -> str:
    """Returns the argon2id hash of a password.

    Raises:
        InputError: It is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise InputError(
            f"a password has {SHORTEST} to {LONGEST} characters, found {len(password)}; a short sentence does"
        )
    return _HASHER.hash(password)


def sign_in(store: Store, name: str, password: str, *, address: str, hours: float) -> str:
    """Checks a password and opens a session.

    Args:
        store: Where the accounts are.
        name: As typed.
        password: As typed.
        address: Where the request comes from, to brake guessing.
        hours: How long the session lasts.

    Returns:
        The token for the cookie.

    Raises:
        SignInThrottledError: Too many failures lately; the password was not even looked at.
        SignInRefusedError: Name or password are wrong, or the account may not sign in.
    """
    now = time.time()
    tried, origin = _digest(name.lower()), _digest(address)
    # The attempt counts before the password is looked at: many at once cannot slip past the brake.
    with store.writing() as session:
        _brake(session, tried, origin, now)
        attempt = Attempt(name=tried, address=origin, at=now)
        session.add(attempt)
        session.flush()
        attempt_id = attempt.id
        account = session.scalar(select(Account).where(Account.name == name, Account.active))
    if not _matches(account.password_hash if account else _NOBODY, password) or account is None:
        raise SignInRefusedError
    token = secrets.token_urlsafe(32)
    with store.writing() as session:
        session.execute(delete(Attempt).where(or_(Attempt.id == attempt_id, Attempt.at < now - WINDOW_S)))
        session.execute(delete(SignIn).where(SignIn.expires_at < now))
        session.add(_new_session(account, token, now + hours * 3600))
        session.add(_entry("signed in", account))
    return token


def find_person(store: Store, token: str | None) -> Person | None:
    """Returns who a cookie belongs to; None where it is of nobody, or has run out."""
    if not token:
        return None
    with store.reading() as session:
        found = session.execute(
            select(Account, SignIn)
            .join(SignIn, SignIn.account_id == Account.id)
            .where(SignIn.token_hash == _digest(token), SignIn.expires_at > time.time(), Account.active)
        ).first()
        if found is None:
            return None
        account, signed = found
        return Person(account.id, account.name, account.role, signed.csrf)


def sign_out(store: Store, token: str) -> None:
    """Ends a session."""
    with store.writing() as session:
        session.execute(delete(SignIn).where(SignIn.token_hash == _digest(token)))


def _new_session(account: Account, token: str, expires_at: float) -> SignIn:
    csrf = secrets.token_urlsafe(24)
    return SignIn(token_hash=_digest(token), account_id=account.id, csrf=csrf, expires_at=expires_at)


def _brake(session: Session, name: str, address: str, now: float) -> None:
    for column, value, most in (
        (Attempt.name, name, MOST_FAILURES),
        (Attempt.address, address, MOST_FAILURES_ADDRESS),
    ):
        recent = select(func.count(), func.min(Attempt.at)).where(
            column == value, Attempt.at > now - WINDOW_S
        )
        count, first = session.execute(recent).one()
        if count >= most:
            raise SignInThrottledError(max(1.0, first + WINDOW_S - now))


def _matches(hashed: str, password: str) -> bool:
    if len(password) > LONGEST:
        return False
    try:
        return _HASHER.verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _entry(action: str, account: Account) -> Audit:
    after = {"name": account.name, "role": account.role, "active": account.active}
    return Audit(at=time.time(), account_id=account.id, action=action, before=None, after=after)


def may_administrate(person: Person) -> bool:
    """Whether somebody may add accounts, import labels and read the audit."""
    return person.role == ADMIN
