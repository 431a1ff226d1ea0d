"""Cancel and Ctrl-C end a check or comparison at once, however long it would take."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from conftest import EngineMaker
from helpers import Child, snapshot_of, within

from soulsense_db import BackupManager

pytestmark = pytest.mark.slow
# How soon it is obeyed, benchmarks/interrupt.py tells. To check it all takes minutes.
_LESS_THAN_ALL_OF_IT = 30
_ROWS = 1_600_000


def _slow_to_check(path: Path) -> Path:
    """Make a small database whose index takes minutes to check: SQLite computes all it has."""
    quick, slow = "zeroblob(1 + 0 * id)", "zeroblob(9000000 + 0 * id)"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        connection.execute(f"CREATE INDEX i ON t (0 * length(hex({quick})) + id)")
        connection.executemany("INSERT INTO t VALUES (?)", ((n,) for n in range(20_000)))
        connection.commit()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, ?, ?)", (quick, slow))
        connection.commit()
    return path


def _slow_to_compare(path: Path) -> Path:
    """Make a database with many rows in another order than they are compared in."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("CREATE TABLE t (k TEXT PRIMARY KEY COLLATE NOCASE, v) WITHOUT ROWID")
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO t SELECT hex(randomblob(8)), i FROM n",
            (_ROWS,),
        )
        connection.commit()
    return path


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("call", ["verify", "restore", "auto", "compare", "import", "export"])
def test_ctrl_c_is_obeyed_at_once(tmp_path: Path, make_engine: EngineMaker, call: str) -> None:
    """Whatever SQLite is at in the only thread that Python sends a signal to, it ends."""
    slow = _slow_to_compare if call == "compare" else _slow_to_check
    database = slow(tmp_path / "app.db")
    (tmp_path / "outside.db").write_bytes(database.read_bytes())
    manager = BackupManager(make_engine(database), catalog=False)
    manager.create()
    before = {name for name in snapshot_of(tmp_path) if not name.endswith(".lock")}
    with Child("interrupted.py", tmp_path, call) as child:
        child.expect("begins")
        time.sleep(0.7)  # it is in the middle of it: at its beginning anything is obeyed
        assert child.process.poll() is None, "not slow enough to be interrupted"
        with within(_LESS_THAN_ALL_OF_IT):
            child.process.send_signal(signal.SIGINT)
            child.expect("interrupted")
            assert child.finish() == ""
    assert {name for name in snapshot_of(tmp_path) if not name.endswith(".lock")} == before


class CancelledError(Exception):
    """The person pressed "Cancel"."""


@pytest.mark.parametrize("call", ["verify", "import", "export", "compare"])
def test_a_cancel_is_obeyed_while_sqlite_checks(
    tmp_path: Path, make_engine: EngineMaker, call: str
) -> None:
    """The progress is called all the time, and what it raises ends the work."""
    slow = _slow_to_compare if call == "compare" else _slow_to_check
    database = slow(tmp_path / "app.db")
    (tmp_path / "outside.db").write_bytes(database.read_bytes())
    manager = BackupManager(make_engine(database), catalog=False)
    manager.create()
    wanted = time.monotonic() + 1  # in the middle of it
    seen: list[tuple[int, int]] = []
    cancelled: list[int] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        if time.monotonic() > wanted:
            cancelled.append(len(seen))
            raise CancelledError

    calls: dict[str, Callable[[], object]] = {
        "verify": lambda: manager.verify("latest", progress=progress),
        "import": lambda: manager.import_file(tmp_path / "outside.db", progress=progress),
        "export": lambda: manager.export("latest", tmp_path / "out.db", progress=progress),
        "compare": lambda: manager.compare("latest", progress=progress),
    }
    with within(_LESS_THAN_ALL_OF_IT), pytest.raises(CancelledError):
        calls[call]()
    assert cancelled == [len(seen)]  # it was asked nothing more
    if call == "compare":
        done, total = seen[-1]
        assert done < total, "all rows were read first"
    assert not (tmp_path / "out.db").exists()
    assert len(manager.list()) == 1


def test_a_check_says_how_far_it_is(tmp_path: Path, make_engine: EngineMaker) -> None:
    """The numbers that a progress is given while SQLite checks never go back."""
    database = _slow_to_check(tmp_path / "app.db")
    manager = BackupManager(make_engine(database), catalog=False)
    manager.create()
    calls: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        calls.append((done, total))
        if len(calls) > 4:
            raise CancelledError

    with pytest.raises(CancelledError):
        manager.verify("latest", progress=progress)
    assert calls == sorted(calls)
