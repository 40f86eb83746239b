"""The database: where it lies, what it refuses, what its transactions promise."""

import builtins
import importlib
import sqlite3
import sys
import threading

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from spinelab.archive.store import Store, open_store
from spinelab.archive.tables import Result, Scan, Setting
from spinelab.errors import DependencyError, InputError, OutputError


def scan(key, case="case-1", **changes):
    return Scan(**{"key": key, "case": case, "source": "/x", "kind": "volume", "found_at": 0.0, **changes})


def test_a_path_makes_a_database_and_a_folder_beside_it(tmp_path):
    store = open_store(tmp_path / "new" / "chests.db")
    assert (tmp_path / "new" / "chests.db").stat().st_size > 0
    assert store.files == tmp_path / "new" / "chests_files"
    assert store.files.is_dir()
    store.close()


def test_a_url_opens_the_same_database_and_case_names_stay(tmp_path):
    first = open_store(tmp_path / "r.db")
    second = open_store(f"sqlite:///{tmp_path / 'r.db'}", files=tmp_path / "elsewhere")
    assert first.case_name("key") == second.case_name("key")
    assert first.case_name("key") != first.case_name("other")
    assert second.files == tmp_path / "elsewhere"
    first.close(), second.close()


def test_case_names_differ_between_databases(tmp_path):
    stores = [open_store(tmp_path / name) for name in ("a.db", "b.db")]
    assert stores[0].case_name("key") != stores[1].case_name("key")
    for store in stores:
        store.close()


def test_sqlite_is_set_up_for_several_processes(store):
    with store.reading() as session:
        pragmas = [
            session.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "foreign_keys")
        ]
        assert pragmas == ["wal", 1]
        assert session.execute(text("PRAGMA busy_timeout")).scalar() == 60_000


def test_a_block_that_raises_changes_nothing(store):
    def write_and_raise():
        with store.writing() as session:
            session.add(scan("a"))
            session.flush()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_and_raise()
    with store.reading() as session:
        assert session.scalars(select(Scan)).all() == []


def test_the_database_itself_refuses_a_double(store):
    with store.writing() as session:
        session.add(scan("a"))
    with pytest.raises(IntegrityError, match="UNIQUE"), store.writing() as session:
        session.add(scan("a", "case-2"))


def test_a_result_needs_its_scan(store):
    facts = {"spine": {}, "files": {}, "weights_sha256": {}, "folder": "", "finding": "", "software": ""}
    result = Result(scan_id=7, rank=0.0, seconds=1.0, **facts)
    with pytest.raises(IntegrityError, match="FOREIGN KEY"), store.writing() as session:
        session.add(result)


def test_writers_wait_for_each_other_and_lose_nothing(store):
    with store.writing() as session:
        session.add(scan("a", attempts=0))

    def count_up():
        for _ in range(10):
            with store.writing() as session:
                session.scalars(select(Scan)).one().attempts += 1

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as session:
        assert session.scalars(select(Scan)).one().attempts == 40


def test_readers_do_not_wait_for_a_writer(store):
    with store.writing() as session:
        session.add(scan("a"))
        session.flush()
        with store.reading() as other:
            assert other.scalars(select(Scan)).all() == []


def test_a_database_of_another_version_is_refused(tmp_path):
    store = open_store(tmp_path / "r.db")
    with store.writing() as session:
        session.get(Setting, "schema").value = "99"
    store.close()
    with pytest.raises(InputError, match="has schema 99, this version reads 1"):
        open_store(tmp_path / "r.db")


def test_a_path_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot open the results database .*file/r.db: .*choose another"):
        open_store(tmp_path / "file" / "r.db")
    with pytest.raises(OutputError, match="it is a folder; give the name of a file"):
        open_store(tmp_path)


def test_a_read_only_database_is_told(tmp_path, monkeypatch):
    open_store(tmp_path / "r.db").close()
    connect = sqlite3.connect

    def connect_read_only(path, *args, **kwargs):
        return connect(f"file:{path}?mode=ro", *args, uri=True, **kwargs)

    (tmp_path / "r.db").rename(tmp_path / "old.db")
    old = sqlite3.connect(tmp_path / "old.db")
    old.execute("DROP TABLE place")
    old.commit()
    old.close()
    monkeypatch.setattr(sqlite3.dbapi2, "connect", connect_read_only)
    with pytest.raises(OutputError, match=r"cannot open the results database .*readonly database"):
        open_store(tmp_path / "old.db")


def test_two_that_make_the_tables_at_once_both_open_it(tmp_path, monkeypatch):
    prepare = Store.prepare
    tries = iter([ProgrammingError("CREATE TABLE", {}, RuntimeError("exists")), None])

    def collide_once(self):
        error = next(tries)
        if error is not None:
            raise error
        prepare(self)

    monkeypatch.setattr(Store, "prepare", collide_once)
    open_store(tmp_path / "r.db").close()
    assert next(tries, "no further try") == "no further try"


def test_another_file_is_not_overwritten(tmp_path):
    (tmp_path / "scan.nii").write_bytes(b"not a database at all")
    with pytest.raises(InputError, match="is no SQLite database; give another name"):
        open_store(tmp_path / "scan.nii")
    assert (tmp_path / "scan.nii").read_bytes() == b"not a database at all"


def test_who_only_looks_makes_no_database(tmp_path):
    with pytest.raises(InputError, match=r"there is no results database .*none\.db"):
        open_store(tmp_path / "none.db", must_exist=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("://", "the database URL cannot be read"),
        ("sqlite://", "must outlive the run"),
        ("nosuch://host/name", "no database is called 'nosuch'"),
    ],
)
def test_odd_urls_are_refused(url, message, tmp_path):
    with pytest.raises(InputError, match=message):
        open_store(url, files=tmp_path)


def test_a_server_needs_a_folder_and_the_message_holds_no_password():
    with pytest.raises(
        InputError, match=r"no folder for the results lies beside it; give one \(--files\)"
    ) as told:
        open_store("postgresql://reader:secret@host/name")
    assert "secret" not in str(told.value)


def test_a_missing_driver_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DependencyError, match="databases of kind postgresql need the package psycopg"):
        open_store("postgresql+psycopg://host/name", files=tmp_path)


def test_without_the_extra_the_message_names_it(monkeypatch):
    plain = builtins.__import__

    def without(name, *rest, **more):
        if name.split(".")[0] == "sqlalchemy":
            raise ModuleNotFoundError(f"No module named {name!r}", name="sqlalchemy")
        return plain(name, *rest, **more)

    kept = sys.modules["spinelab.archive.tables"]
    monkeypatch.delitem(sys.modules, "spinelab.archive.tables")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        DependencyError, match=r"sqlalchemy, which is not installed; pip install spinelab\[archive\]"
    ):
        importlib.import_module("spinelab.archive.tables")
    monkeypatch.undo()
    sys.modules["spinelab.archive.tables"] = kept
