"""The results database: opened by a path (SQLite) or a URL, read and written in short transactions."""

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spinelab.archive.tables import Base, Setting
from spinelab.errors import DependencyError, InputError, OutputError

# isort: split
import sqlalchemy  # after the tables, which say what to install where it is missing
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, ProgrammingError
from sqlalchemy.orm import Session

SCHEMA = "1"
#: How long a transaction waits for another one to finish.
_BUSY_S = 60.0
_CASE_DIGITS = 12


class Store:
    """A results database and the folder beside it with the files of each result.

    Attributes:
        engine: The SQLAlchemy engine.
        files: Folder with one folder a case; `Result.folder` is relative to it.
    """

    def __init__(self, engine: Engine, files: Path) -> None:
        self.engine = engine
        self.files = files
        self._writer = engine.execution_options(spinelab_writes=True)
        self._salt = b""

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Gives a session that sees one state of the database and waits for nobody."""
        with Session(self.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Gives a session that commits at the end of the block, or changes nothing if the block raises.

        On SQLite it holds the write lock from its start, so that what it reads cannot change before it
        writes; keep the block short.
        """
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def case_name(self, key: str) -> str:
        """Returns the name people call a scan by, which cannot be traced back without this database.

        Args:
            key: `Scan.key`.
        """
        digest = hmac.new(self._salt, key.encode(), hashlib.sha256).hexdigest()
        return f"case-{digest[:_CASE_DIGITS]}"

    def close(self) -> None:
        """Gives back every connection."""
        self.engine.dispose()

    def prepare(self) -> None:
        """Makes the tables that are not there yet and checks those that are.

        Raises:
            InputError: The database was made by another version.
        """
        Base.metadata.create_all(self._writer)
        with self.writing() as session:
            found = session.get(Setting, "schema")
            if found is None:
                session.add(Setting(name="schema", value=SCHEMA))
                session.add(Setting(name="salt", value=secrets.token_hex(32)))
                session.flush()
            elif found.value != SCHEMA:
                raise InputError(
                    f"the results database has schema {found.value}, this version reads {SCHEMA}; "
                    "use the version of spinelab that made it, or start a new database"
                )
            salt = session.get(Setting, "salt")
            assert salt is not None, "written together with the schema"
            self._salt = bytes.fromhex(salt.value)


def open_store(results: str | Path, *, files: str | Path | None = None, must_exist: bool = False) -> Store:
    """Opens a results database, making it if it is not there.

    Args:
        results: Path of an SQLite file, or an SQLAlchemy URL (``postgresql+psycopg://user@host/name``).
        files: Folder for the files of the results; for SQLite ``NAME_files`` beside the database if None.
        must_exist: Refuse an SQLite file that is not there, rather than making it.

    Raises:
        OutputError: The database or the folder cannot be made, opened or written.
        InputError: Not such a database, made by another version, or a URL without `files`.
        DependencyError: The database's driver is not installed.

    Example:
        >>> import tempfile, pathlib
        >>> store = open_store(pathlib.Path(tempfile.mkdtemp()) / "results.db")
        >>> store.files.name
        'results_files'
        >>> store.close()
    """
    url = _url(str(results))
    folder = _files_folder(url, files)
    try:
        if url.get_backend_name() == "sqlite":
            _check_sqlite(Path(str(url.database)), must_exist)
        folder.mkdir(parents=True, exist_ok=True)
        store = Store(_engine(url), folder)
    except OSError as error:
        raise _cannot_open(url, error.strerror or str(error)) from error
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"databases of kind {url.get_backend_name()} need the package {error.name}; pip install "
            f"{error.name}[binary]"
            if error.name == "psycopg"
            else f"databases of kind {url.get_backend_name()} need the package {error.name}; install it"
        ) from error
    except NoSuchModuleError as error:
        raise InputError(f"no database is called {url.drivername!r}; use sqlite or postgresql") from error
    try:
        _prepare(store)
    except DBAPIError as error:
        store.close()
        raise _cannot_open(url, str(error.orig)) from error
    except InputError:
        store.close()
        raise
    return store


def _prepare(store: Store) -> None:
    try:
        store.prepare()
    except (IntegrityError, ProgrammingError):  # another process was making the tables at the same moment
        store.prepare()


def _url(results: str) -> sqlalchemy.URL:
    if "://" not in results:
        return sqlalchemy.URL.create("sqlite", database=str(Path(results).absolute()))
    try:
        url = sqlalchemy.make_url(results)
    except ArgumentError as error:
        raise InputError(
            "the database URL cannot be read; write it as sqlite:///FILE or postgresql://..."
        ) from error
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:":
            raise InputError("results must outlive the run: give an SQLite file, not a database in memory")
        return url.set(database=str(Path(url.database).absolute()))
    return url


def _files_folder(url: sqlalchemy.URL, files: str | Path | None) -> Path:
    if files is not None:
        return Path(files).absolute()
    if url.get_backend_name() != "sqlite":
        raise InputError(
            f"{_shown(url)} is not a file, so no folder for the results lies beside it; give one (--files)"
        )
    database = Path(str(url.database))
    return database.with_name(database.stem + "_files")


def _check_sqlite(database: Path, must_exist: bool) -> None:
    if must_exist and not database.exists():
        raise InputError(
            f"there is no results database {database}; check the name, or make it: spinelab watch"
        )
    database.parent.mkdir(parents=True, exist_ok=True)
    if database.is_dir():
        raise OutputError(f"cannot open {database}: it is a folder; give the name of a file in it")
    with database.open("ab"):
        pass
    with database.open("rb") as stream:
        start = stream.read(16)
    if start and start != b"SQLite format 3\0":
        raise InputError(f"{database} is no SQLite database; give another name for the results")


def _engine(url: sqlalchemy.URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_S})
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # sqlite3 then leaves BEGIN to us
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sqlalchemy.Connection) -> None:
    writes = connection.get_execution_options().get("spinelab_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _shown(url: sqlalchemy.URL) -> str:
    return url.render_as_string(hide_password=True)


def _cannot_open(url: sqlalchemy.URL, reason: str) -> OutputError:
    shown = str(url.database) if url.get_backend_name() == "sqlite" else _shown(url)
    return OutputError(
        f"cannot open the results database {shown}: {' '.join(reason.split())}; "
        "check that it can be reached and written, or choose another"
    )
