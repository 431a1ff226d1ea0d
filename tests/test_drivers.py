"""What every driver owes its callers: one suite, run over each of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from conftest import EngineMaker
from helpers import snapshot_of
from sqlalchemy.engine import Connection, Engine

from soulsense_db import BackupManager
from soulsense_db.drivers import Driver, Findings, RowCounts, SnapshotInfo, driver_for, engine_for
from soulsense_db.errors import (
    DatabaseDamagedError,
    DatabaseFileNotFoundError,
    EmptyBackupError,
    InvalidBackupError,
    NotADatabaseError,
    UnsupportedDatabaseError,
)

metadata = sa.MetaData()
notes = sa.Table(
    "notes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)
alembic_version = sa.Table(
    "alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True)
)


@dataclass(frozen=True)
class Case:
    """One driver on one live database, for the tests below.

    To run the suite over another dialect, add a function to ``LIVE`` that makes one.
    """

    driver: Driver
    folder: Path

    @property
    def engine(self) -> Engine:
        """The application's own engine."""
        return self.driver.engine

    def bodies(self) -> list[str]:
        """Return all rows, as the application sees them."""
        with self.engine.connect() as connection:
            return list(connection.scalars(sa.select(notes.c.body).order_by(notes.c.id)))

    def add(self, *bodies: str) -> None:
        """Commit rows."""
        with self.engine.begin() as connection:
            connection.execute(sa.insert(notes), [{"body": body} for body in bodies])

    def new_file(self, name: str = "backup") -> Path:
        """Make the empty file that a snapshot is written to."""
        path = self.folder / f"{name}{self.driver.suffix}"
        path.touch()
        return path

    def snapshot(self, name: str = "backup") -> tuple[Path, SnapshotInfo]:
        """Take a snapshot."""
        path = self.new_file(name)
        return path, self.driver.snapshot(path)


Make = Callable[[EngineMaker, Path], Engine]
LIVE: dict[str, Make] = {
    "sqlite file": lambda make, folder: make(folder / "live.db"),
    "sqlite memory": lambda make, _: make("sqlite://"),
}


@pytest.fixture(params=LIVE)
def case(
    request: pytest.FixtureRequest, make_engine: EngineMaker, tmp_path: Path
) -> Iterator[Case]:
    """Return a driver on a live database with two rows."""
    engine = LIVE[request.param](make_engine, tmp_path)
    folder = tmp_path / "copies"
    folder.mkdir()
    metadata.create_all(engine)
    made = Case(driver_for(engine, lock_timeout=2), folder)
    made.add("one", "two")
    yield made


def test_a_driver_says_what_it_is(case: Case) -> None:
    """Dialect, suffix and the database's name are there for the meta file and file names."""
    assert case.driver.dialect == case.engine.dialect.name
    assert case.driver.suffix.startswith(".")
    assert case.driver.database
    if case.driver.location is not None:
        assert case.driver.location.is_absolute()
    case.driver.require_database()


def test_a_snapshot_holds_all_rows_and_comes_back(case: Case) -> None:
    """What was in the database at the snapshot is in it again after loading, and nothing else."""
    path, snapshot = case.snapshot()
    case.add("later")
    case.driver.load(path)
    assert case.bodies() == ["one", "two"]
    assert snapshot.size_bytes == path.stat().st_size
    assert all(isinstance(fact, str) for fact in snapshot.facts.values())


def test_size_is_about_that_of_a_snapshot(case: Case) -> None:
    """The room asked for before a snapshot is the room it takes."""
    _, snapshot = case.snapshot()
    assert snapshot.size_bytes * 0.5 <= case.driver.size() <= snapshot.size_bytes * 2


def test_progress_of_a_snapshot_goes_up_to_the_end(case: Case) -> None:
    """Bytes done grow to the total, for a dialog to show."""
    calls: list[tuple[int, int]] = []
    path = case.new_file()
    snapshot = case.driver.snapshot(path, progress=lambda *call: calls.append(call))
    assert calls == sorted(calls)
    assert calls[-1] == (snapshot.size_bytes, snapshot.size_bytes)


def test_progress_of_a_load_ends_before_it_is_too_late(case: Case) -> None:
    """Every report of a load can still cancel it: none comes once the data is replaced."""
    path, _ = case.snapshot()
    calls: list[tuple[int, int]] = []
    case.driver.load(path, progress=lambda *call: calls.append(call))
    assert calls == sorted(calls)
    assert all(done < total for done, total in calls)


def test_progress_of_a_comparison_is_the_rows_of_both(case: Case) -> None:
    """Rows read grow to all that there are, in the backup and in the live database."""
    path, _ = case.snapshot()
    case.add("later")
    calls: list[tuple[int, int]] = []
    found = case.driver.compare(path, ignore=(), progress=lambda *call: calls.append(call))
    assert calls == sorted(calls)
    assert calls[-1] == (5, 5)
    assert found == case.driver.compare(path, ignore=())


class CancelledError(Exception):
    """The person pressed "Cancel"."""


def cancel(_done: int, _total: int) -> None:
    """Cancel at the first report."""
    raise CancelledError


def test_a_cancelled_snapshot_leaves_the_database_usable(case: Case) -> None:
    """Nothing stays locked or open after a backup that was cancelled."""
    with suppress(CancelledError):
        case.driver.snapshot(case.new_file(), progress=cancel)
    case.add("three")
    assert case.bodies() == ["one", "two", "three"]


def test_a_cancelled_comparison_leaves_the_database_usable(case: Case) -> None:
    """Nothing stays locked or open after a comparison that was cancelled."""
    path, _ = case.snapshot()
    with pytest.raises(CancelledError):
        case.driver.compare(path, ignore=(), progress=cancel)
    case.add("three")
    assert case.bodies() == ["one", "two", "three"]


def test_rows_are_counted_on_both_sides(case: Case) -> None:
    """Each table has its numbers of rows, None where it is not there, but for those left out."""
    path, _ = case.snapshot()
    case.add("later")
    alembic_version.create(case.engine)
    rows = RowCounts(table="notes", backup=2, live=3)
    new = RowCounts(table="alembic_version", backup=None, live=0)
    before = snapshot_of(case.folder)
    assert case.driver.row_counts(path, ignore=()) == (new, rows)
    assert case.driver.row_counts(path, ignore={"notes"}) == (new,)
    assert snapshot_of(case.folder) == before
    metadata.drop_all(case.engine)
    gone = RowCounts(table="notes", backup=2, live=None)
    assert case.driver.row_counts(path, ignore={"alembic_version"}) == (gone,)


@pytest.mark.parametrize("contents", [b"", b"hello\n" * 50])
def test_rows_of_what_is_no_backup_are_not_counted(case: Case, contents: bytes) -> None:
    """An empty file and a text file are errors, not backups without tables."""
    path = case.new_file()
    path.write_bytes(contents)
    with pytest.raises(InvalidBackupError):
        case.driver.row_counts(path, ignore=())


def test_a_load_that_raises_changed_nothing(case: Case) -> None:
    """A restore that ends in an error left every row of before; too late to cancel is no error."""
    path, _ = case.snapshot()
    case.add("later")
    before = path.read_bytes()
    try:
        case.driver.load(path, progress=cancel)  # so small that the first report is the last
    except CancelledError:
        assert case.bodies() == ["one", "two", "later"]
    else:
        assert case.bodies() == ["one", "two"]
    assert path.read_bytes() == before
    case.add("and on")


def test_loading_leaves_the_backup_as_it_is(case: Case) -> None:
    """A restore consumes nothing: the backup has the same bytes, and nothing lies beside it."""
    path, _ = case.snapshot()
    before = snapshot_of(case.folder)
    case.driver.load(path)
    case.driver.read_back(case.driver.contents(path))
    assert snapshot_of(path.parent) == before


def test_a_file_can_be_copied_like_a_database(case: Case) -> None:
    """A file from elsewhere becomes a backup with the same rows, and stays as it is."""
    source, _ = case.snapshot("source")
    before = source.read_bytes()
    calls: list[int] = []
    target = case.new_file("target")
    copied = case.driver.copy_file(source, target, progress=lambda done, _: calls.append(done))
    assert copied.size_bytes == target.stat().st_size
    assert calls
    assert source.read_bytes() == before
    case.add("later")
    case.driver.load(target)
    assert case.bodies() == ["one", "two"]


@pytest.mark.parametrize("level", ["quick", "pages", "full"])
def test_a_good_backup_passes_every_check_untouched(case: Case, level: Any) -> None:
    """Checking reads only: no byte, no time, and no file beside the backup is changed."""
    path, _ = case.snapshot()
    before = snapshot_of(case.folder)
    assert case.driver.check(path, level=level) == Findings()
    assert snapshot_of(case.folder) == before


@pytest.mark.parametrize("level", ["quick", "pages", "full"])
@pytest.mark.parametrize(
    ("contents", "expected"),
    [(b"", EmptyBackupError), (b"hello\n" * 50, NotADatabaseError)],
)
def test_other_files_pass_no_check(
    case: Case, level: Any, contents: bytes, expected: type[InvalidBackupError]
) -> None:
    """An empty file and a text file are told apart and refused at every depth, before copying."""
    path = case.new_file()
    path.write_bytes(contents)
    with pytest.raises(expected, match="Invalid backup file"):
        case.driver.check(path, level=level)
    with pytest.raises(expected, match="Invalid backup file"):
        case.driver.copy_file(path, case.new_file("target"))
    assert path.read_bytes() == contents


def test_a_file_of_one_byte_is_no_database(case: Case) -> None:
    """SQLite takes a file of exactly one byte for an empty database; nobody's backup is that."""
    path = case.new_file()
    path.write_bytes(b"x")
    with pytest.raises(NotADatabaseError):
        case.driver.check(path, level="quick")
    with pytest.raises(NotADatabaseError):
        case.driver.copy_file(path, case.new_file("target"))


def test_a_cut_backup_passes_no_check(case: Case) -> None:
    """A backup that lost its end is refused at every depth."""
    path, snapshot = case.snapshot()
    os.truncate(path, snapshot.size_bytes // 2)
    for level in ("quick", "pages", "full"):
        with pytest.raises(InvalidBackupError):
            case.driver.check(path, level=level)


def test_reading_back_notices_another_database(case: Case) -> None:
    """A live database that lacks tables of the backup is not what was loaded."""
    path, _ = case.snapshot()
    case.driver.read_back(case.driver.contents(path))
    metadata.drop_all(case.engine)
    with pytest.raises(DatabaseDamagedError):
        case.driver.read_back(case.driver.contents(path))


def test_heads_are_those_of_alembic(case: Case) -> None:
    """The revisions are read sorted from ``alembic_version``; without it nobody can tell."""
    assert case.driver.alembic_heads("alembic_version") is None
    alembic_version.create(case.engine)
    with case.engine.begin() as connection:
        values = [{"version_num": "b2"}, {"version_num": "a1"}]
        connection.execute(sa.insert(alembic_version), values)
    assert case.driver.alembic_heads("alembic_version") == ("a1", "b2")
    _, snapshot = case.snapshot()
    assert snapshot.alembic_heads == ("a1", "b2")


def test_a_transaction_commits_what_it_did(case: Case) -> None:
    """Work in a transaction is there afterwards, and its result is returned."""

    def work(connection: Connection) -> int:
        connection.execute(sa.insert(notes), [{"body": "three"}])
        return 42

    assert case.driver.transaction(work, lock_timeout=1) == 42
    assert case.bodies() == ["one", "two", "three"]


def test_a_transaction_that_fails_takes_all_back(case: Case) -> None:
    """Work that raises leaves nothing, and what it raised comes out as it is."""

    def work(connection: Connection) -> None:
        connection.execute(sa.insert(notes), [{"body": "three"}])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        case.driver.transaction(work, lock_timeout=1)
    assert case.bodies() == ["one", "two"]


def test_returning_idle_connections_spares_those_in_use(case: Case) -> None:
    """A connection that the application is using goes on, with its transaction."""
    with case.engine.begin() as connection:
        connection.execute(sa.insert(notes), [{"body": "mine"}])
        case.driver.return_idle_connections()
    assert case.bodies() == ["one", "two", "mine"]


def test_a_missing_database_is_an_error_and_stays_missing(
    make_engine: EngineMaker, tmp_path: Path
) -> None:
    """A database that is not there is never made by looking at it, and can be rebuilt."""
    driver = driver_for(make_engine(tmp_path / "live.db"), lock_timeout=1)
    work: list[Callable[[], object]] = [
        driver.require_database,
        driver.size,
        lambda: driver.alembic_heads("alembic_version"),
        lambda: driver.snapshot(tmp_path / "target"),
        lambda: driver.transaction(lambda _: None, lock_timeout=1),
    ]
    for call in work:
        with pytest.raises(DatabaseFileNotFoundError, match="Database file not found"):
            call()
    driver.return_idle_connections()
    assert os.listdir(tmp_path) == []


def test_an_unknown_dialect_names_the_known_ones(make_engine: EngineMaker) -> None:
    """Whoever uses another database learns at once which are supported."""
    engine = make_engine("sqlite://")
    engine.dialect.name = "oracle"
    with pytest.raises(UnsupportedDatabaseError) as caught:
        driver_for(engine, lock_timeout=1)
    assert "oracle" in caught.value.message
    assert "sqlite" in caught.value.hint


def test_what_is_no_engine_is_a_type_error() -> None:
    """A URL in place of an engine is a programmer's mistake and is named as one."""
    with pytest.raises(TypeError, match="must be an Engine"):
        driver_for("sqlite://", lock_timeout=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("style", ["{}", "sqlite:///{}", "sqlite+aiosqlite:///{}"])
def test_a_manager_is_made_from_a_path_or_url(tmp_path: Path, style: str) -> None:
    """The command line takes a file's path, odd characters and all, or a database URL."""
    path = tmp_path / ("a b.db" if "://" in style else "a#b?c%41.db")
    path.touch()
    manager = BackupManager.from_url(style.format(path), tmp_path / "backups")
    assert manager.database == path
    assert manager.live.alembic_heads() == ()
    assert engine_for(str(path)).url.database == str(path)


@pytest.mark.parametrize(
    "url", ["://", "sqlite://host/path", "oracle://u:secret@h/d", "1:/x://y", "sqlite+nosuch:x://"]
)
def test_what_is_no_url_is_refused_without_its_password(url: str) -> None:
    """A URL that leads nowhere is an error of the tree, and no password is repeated."""
    with pytest.raises(UnsupportedDatabaseError) as caught:
        engine_for(url)
    assert "secret" not in str(caught.value)


_TOY = """
from soulsense_db.drivers import SQLiteDriver
class ToyDriver(SQLiteDriver):
    dialect = "toy"
NoDriver = object
"""
_ASK = """
import sys
from soulsense_db.drivers import registry
from soulsense_db.errors import UnsupportedDatabaseError
for dialect in ("toy", "none", "broken", "unknown"):
    try:
        print(registry._driver_class(dialect).__name__)
    except UnsupportedDatabaseError as error:
        print(error)
"""


def test_a_package_brings_a_driver_by_an_entry_point(tmp_path: Path) -> None:
    """A dialect that another package knows is used; what is no driver is an error of the tree."""
    (tmp_path / "toy.py").write_text(_TOY)
    (tmp_path / "toy-1.dist-info").mkdir()
    (tmp_path / "toy-1.dist-info" / "METADATA").write_text("Name: toy\nVersion: 1\n")
    (tmp_path / "toy-1.dist-info" / "entry_points.txt").write_text(
        "[soulsense_db.drivers]\ntoy = toy:ToyDriver\nnone = toy:NoDriver\nbroken = toy:Nothing\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", _ASK],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    toy, none, broken, unknown = done.stdout.splitlines()
    assert toy == "ToyDriver"
    assert "toy:NoDriver, the driver for dialect 'none', is no soulsense_db.drivers.Driver" in none
    assert "The driver toy:Nothing for dialect 'broken' cannot be loaded" in broken
    assert "Supported: broken, none, sqlite, toy." in unknown
