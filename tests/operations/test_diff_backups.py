"""What differs between a backup and the live database, and between two backups, of any form."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from age_keys import Key
from conftest import EngineMaker
from helpers import Mode, execute, make_database, snapshot_of
from hypothesis import given, settings
from hypothesis import strategies as st

from soulsense_db import BackupManager
from soulsense_db.drivers import DiffReport
from soulsense_db.errors import (
    BackupNotFoundError,
    DatabaseDamagedError,
    DatabaseFileNotFoundError,
    IdentityError,
    InvalidBackupError,
    OptionError,
)

pytestmark = pytest.mark.slow


def _rows(report: DiffReport) -> dict[str, tuple[int, int, int | None]]:
    return {t.table: (t.added, t.removed, t.changed) for t in report.changed_tables}


def _change(database: Path) -> None:
    execute(
        database,
        "DELETE FROM child WHERE id <= 2",
        "UPDATE parent SET name = 'changed' WHERE id = 3",
        "INSERT INTO parent VALUES (77, 'new', 0)",
    )


CHANGED = {"child": (0, 2, 0), "parent": (1, 0, 1)}


def test_from_a_backup_to_the_live_database(manager: BackupManager, database: Path) -> None:
    """Added is what came since the backup; our own table does not count; nothing is written."""
    manager.create()
    manager.create()
    assert manager.diff("latest").identical
    assert manager.diff("latest~1").identical
    _change(database)
    before = snapshot_of(database.parent)
    assert _rows(manager.diff("latest")) == CHANGED
    assert snapshot_of(database.parent) == before


def test_from_one_backup_to_another(manager: BackupManager, database: Path) -> None:
    """Whatever the live database has become, or whether it is there at all."""
    first = manager.create()
    _change(database)
    second = manager.create()
    execute(database, "DELETE FROM child")
    assert _rows(manager.diff(first, second)) == CHANGED
    back = manager.diff(second, first, rows=1)
    assert _rows(back) == {"child": (2, 0, 0), "parent": (0, 1, 1)}
    assert manager.diff(first, first).identical
    database.unlink()
    assert _rows(manager.diff(first, second)) == CHANGED


def test_the_safety_backup_is_compared_too(manager: BackupManager, database: Path) -> None:
    """What undo would bring back can be looked at row by row."""
    manager.create()
    _change(database)
    manager.restore("latest")
    safety = manager.safety_backup()
    assert safety is not None
    assert _rows(manager.diff(safety)) == {"child": (2, 0, 0), "parent": (0, 1, 1)}


def test_backups_of_every_form(database: Path, make_engine: EngineMaker, tmp_path: Path) -> None:
    """Compressed, differential and encrypted ones, in whatever pair; no copy is left anywhere."""
    key = Key(tmp_path, "key.txt")
    identities = str(key.path)
    forms: list[dict[str, object]] = [
        {},
        {"compression": "zstd"},
        {"differential": True},
        {"recipients": [key.public]},
        {"recipients": [key.public], "differential": True},
    ]
    engine = make_engine(database)
    managers = [BackupManager(engine, identities=identities, **f) for f in forms]  # type: ignore[arg-type]
    infos = [manager.create() for manager in managers]
    assert len({info.form for info in infos}) >= 4
    _change(database)
    infos += [manager.create() for manager in managers]
    before = snapshot_of(tmp_path)
    for number, first in enumerate(infos):
        second = infos[-number - 1]
        report = managers[0].diff(first, second)
        is_later = number < len(forms)
        assert report.identical is False
        assert _rows(report)["child"] == ((0, 2, 0) if is_later else (2, 0, 0))
        assert managers[0].diff(first).identical is not is_later
    assert snapshot_of(tmp_path) == before
    without_key = BackupManager(engine)
    with pytest.raises(IdentityError):
        without_key.diff(infos[3])


@pytest.mark.parametrize("which", [0, 1])
def test_a_damaged_backup_is_named(
    manager: BackupManager, database: Path, which: int, make_engine: EngineMaker
) -> None:
    """Which of the two is damaged, the error says, also where the other one is decoded."""
    compressed = BackupManager(make_engine(database), compression="zstd")
    plain = manager.create()
    Path(plain.path).write_bytes(Path(plain.path).read_bytes()[:6000])
    other = compressed.create()
    pair = (plain, other) if which == 0 else (other, plain)
    with pytest.raises(InvalidBackupError) as error:
        manager.diff(*pair)
    assert plain.filename in error.value.what
    assert other.filename not in error.value.what
    assert error.value.path in {None, Path(plain.path)}


def test_a_damaged_live_database_is_said_so(manager: BackupManager, database: Path) -> None:
    """Damage in the copy that is compared is the live database's, and not a backup's."""
    info = manager.create()
    data = bytearray(database.read_bytes())
    data[4096 * 4 : 4096 * 6] = b"\xff" * 8192
    database.write_bytes(data)
    with pytest.raises(DatabaseDamagedError, match=r"app\.db"):
        manager.diff(info)


def test_what_cannot_be_compared(manager: BackupManager, database: Path) -> None:
    """Unknown backups and tables, numbers that make no sense, a live database that is gone."""
    info = manager.create()
    for ref, other in (("nosuch", None), (info, "nosuch")):
        with pytest.raises(BackupNotFoundError):
            manager.diff(ref, other)
    for rows in (-1, 1001):
        with pytest.raises(OptionError, match="rows"):
            manager.diff(info, rows=rows)
    with pytest.raises(OptionError, match="childs") as error:
        manager.diff(info, tables=["childs"])
    assert "child" in error.value.hint
    _change(database)
    assert _rows(manager.diff(info, tables="child")) == {"child": (0, 2, 0)}
    database.unlink()
    with pytest.raises(DatabaseFileNotFoundError):
        manager.diff(info)


def test_a_backup_of_another_database_is_said_so(
    manager: BackupManager,
    tmp_path: Path,
    make_engine: EngineMaker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It may be what somebody wants to know; a warning says that they are two databases."""
    other = BackupManager(make_engine(make_database(tmp_path / "other.db")))
    theirs = other.create()
    with caplog.at_level(logging.WARNING, "soulsense_db"):
        assert manager.diff(theirs).identical
    assert f"{theirs.filename} is a backup of another database" in caplog.text
    assert "other.db" in caplog.text


def test_no_row_is_in_a_log_or_an_error(
    manager: BackupManager, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What people wrote is shown to who asks for samples, and to nobody else."""
    execute(database, "INSERT INTO parent VALUES (500, 'my secret', 0)")
    info = manager.create()
    execute(database, "UPDATE parent SET name = 'another secret' WHERE id = 500")
    with caplog.at_level(logging.DEBUG):
        report = manager.diff(info, rows=3)
        assert "secret" in repr(report)
        assert "secret" not in repr(manager.diff(info))
        path = Path(info.path)
        path.write_bytes(path.read_bytes()[:9000])
        with pytest.raises(InvalidBackupError) as error:
            manager.diff(info, rows=3)
    assert "secret" not in caplog.text
    assert "secret" not in str(error.value)


class CancelledError(Exception):
    """The person pressed "Cancel"."""


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_cancel_leaves_nothing(
    database: Path, make_engine: EngineMaker, compression: str | None
) -> None:
    """What the progress raises comes out as it is, no file stays, and none is open."""
    manager = BackupManager(make_engine(database), compression=compression)
    info = manager.create()
    before = snapshot_of(database.parent)

    def cancel(_done: int, _total: int) -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        manager.diff(info, progress=cancel)
    assert snapshot_of(database.parent) == before
    calls: list[tuple[int, int]] = []
    manager.diff(info, progress=lambda *call: calls.append(call))
    assert calls[-1] == (620, 620)
    if Path("/proc/self/fd").exists():
        links = [os.path.realpath(one) for one in Path("/proc/self/fd").iterdir()]
        assert not [one for one in links if one.startswith(str(manager.directory))]


@contextmanager
def _writing(database: Path) -> Iterator[None]:
    """Insert rows in pairs, each pair in one transaction, as long as the block runs."""
    ended = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            while not ended.is_set():
                for _ in range(2):
                    connection.execute(
                        "INSERT INTO child (parent_id, amount, body) VALUES (1, 0, 'pair')"
                    )
                connection.commit()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_one_moment_is_compared_under_writers(
    tmp_path: Path, make_engine: EngineMaker, mode: Mode
) -> None:
    """No half of a transaction is ever seen, and no writer is in the way for long."""
    database = make_database(tmp_path / "app.db", mode=mode)
    manager = BackupManager(make_engine(database), catalog=False)
    info = manager.create()
    with _writing(database):
        for _ in range(5):
            added = dict.get(_rows(manager.diff(info)), "child", (0, 0, 0))[0]
            assert added % 2 == 0


@settings(deadline=None, max_examples=30)
@given(deleted=st.integers(0, 300), changed=st.integers(0, 300), added=st.integers(0, 20))
def test_compare_and_diff_agree(
    tmp_path_factory: pytest.TempPathFactory,
    deleted: int,
    changed: int,
    added: int,
) -> None:
    """What a restore would take away is what was added, and so on: one engine finds both."""
    database = make_database(tmp_path_factory.mktemp("agree") / "app.db")
    manager = BackupManager.from_url(f"sqlite:///{database}")
    manager.create()
    new = [(f"line {n}",) for n in range(added)]
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DELETE FROM child WHERE id < ?", (deleted,))
        connection.execute("UPDATE child SET body = body || '!' WHERE id > ?", (changed,))
        connection.executemany("INSERT INTO child (parent_id, amount, body) VALUES (1, 0, ?)", new)
        connection.commit()
    compared = {t.table: (t.lost, t.gained, t.changed) for t in manager.compare("latest").tables}
    report = manager.diff("latest")
    assert _rows(report) == compared
    assert report.identical == manager.compare("latest").identical
