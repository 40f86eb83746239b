"""The workstation's tables beside those of the archive: accounts, readings, opinions, the audit.

Times are seconds since 1970 (UTC). The audit is append-only: triggers in the database refuse to change or
delete its rows, whichever program asks.
"""

from typing import Any

from sqlalchemy import JSON, Connection, ForeignKey, String, Text, UniqueConstraint, event
from sqlalchemy.orm import Mapped, mapped_column

from spinelab.archive.tables import Base
from spinelab.server.opinions import Opinion

#: What an account may be.
READER, ADJUDICATOR, ADMIN = "reader", "adjudicator", "admin"
ROLES = (READER, ADJUDICATOR, ADMIN)


class Account(Base):
    """Somebody who may sign in.

    Attributes:
        name: What they sign in with.
        role: One of `ROLES`.
        password_hash: argon2id, with its own salt and settings.
        active: False for those who may no longer sign in; their work stays.
    """

    __tablename__ = "account"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(256))
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[float]


class SignIn(Base):
    """A browser that has signed in.

    Attributes:
        token_hash: SHA-256 of the cookie; the cookie itself is nowhere stored.
        csrf: What every changing request must carry beside the cookie.
    """

    __tablename__ = "sign_in"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    csrf: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[float]


class Attempt(Base):
    """A failed sign-in, counted to slow down guessing.

    Attributes:
        name: Hash of the name that was tried, whether or not there is such an account.
        address: Hash of where it came from.
    """

    __tablename__ = "sign_in_attempt"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), index=True)
    address: Mapped[str] = mapped_column(String(64), index=True)
    at: Mapped[float] = mapped_column(index=True)


class Reading(Base):
    """One account's work on one scan: a reading, or for adjudicators the adjudication.

    Attributes:
        names: Vertebra id (as text) -> level, where the account renamed the column; None while it did not.
        variant: Numbering variant chosen with the names.
        closed_at: When it was finished; nothing changes after that.
        suggestion: Protocol under which it was read: "hidden", "shown" or "after".
        imported: Whether it came from a file rather than from the reading page.
    """

    __tablename__ = "reading"
    __table_args__ = (UniqueConstraint("account_id", "scan_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    scan_id: Mapped[int] = mapped_column(ForeignKey("scan.id"), index=True)
    adjudicates: Mapped[bool] = mapped_column(default=False)
    names: Mapped[dict[str, str] | None] = mapped_column(JSON)
    variant: Mapped[str | None] = mapped_column(String(16))
    suggestion: Mapped[str] = mapped_column(String(16))
    imported: Mapped[bool] = mapped_column(default=False)
    opened_at: Mapped[float]
    closed_at: Mapped[float | None]


class Mark(Base):
    """The opinion of one reading on one vertebra as it stands now; how it came about is in the audit.

    Attributes:
        evaluable, grade, shape, points_mm: As in `spinelab.server.opinions.Opinion`.
        seconds: Time the vertebra was in front of the reader.
    """

    __tablename__ = "mark"
    __table_args__ = (UniqueConstraint("reading_id", "vertebra_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    reading_id: Mapped[int] = mapped_column(ForeignKey("reading.id"), index=True)
    vertebra_id: Mapped[int] = mapped_column(ForeignKey("vertebra.id"), index=True)
    evaluable: Mapped[bool | None]
    grade: Mapped[int | None]
    shape: Mapped[str | None] = mapped_column(String(16))
    points_mm: Mapped[list[list[float]] | None] = mapped_column(JSON)
    seconds: Mapped[float] = mapped_column(default=0.0)
    updated_at: Mapped[float]

    @property
    def opinion(self) -> Opinion:
        """The opinion this row holds."""
        columns = ("evaluable", "grade", "shape", "points_mm")
        return Opinion.from_dict({name: getattr(self, name) for name in columns})

    def take(self, opinion: Opinion, now: float) -> None:
        """Holds another opinion from now on (seconds since 1970)."""
        for name, value in opinion.to_dict().items():
            setattr(self, name, value)
        self.updated_at = now


class Audit(Base):
    """One change, with what was before and after; rows are added and never touched again.

    Attributes:
        action: "opened", "graded", "measured", "renamed", "undone", "finished", "reopened", "imported",
            "exported", "account added", "account changed", "signed in".
        undoes: The entry an "undone" one takes back.
    """

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float]
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id"), index=True)
    scan_id: Mapped[int | None] = mapped_column(ForeignKey("scan.id"), index=True)
    vertebra_id: Mapped[int | None] = mapped_column(ForeignKey("vertebra.id"))
    action: Mapped[str] = mapped_column(String(32))
    before: Mapped[Any] = mapped_column(JSON)
    after: Mapped[Any] = mapped_column(JSON)
    undoes: Mapped[int | None] = mapped_column(ForeignKey("audit.id"))
    note: Mapped[str | None] = mapped_column(Text)


#: What the database says to whoever tries to change the audit.
APPEND_ONLY = "the audit is append-only"
_TRIGGERS = {
    "sqlite": [
        f"CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON audit "
        f"BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END"
        for verb in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger AS $$ "
        f"BEGIN RAISE EXCEPTION '{APPEND_ONLY}'; END $$ LANGUAGE plpgsql",
        "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()",
    ],
}


@event.listens_for(Audit.__table__, "after_create")
def _guard_audit(target: object, connection: Connection, **ignored: Any) -> None:
    """Sets the triggers as soon as the table is made."""
    for statement in _TRIGGERS.get(connection.dialect.name, []):
        connection.exec_driver_sql(statement)
