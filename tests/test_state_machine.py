# ruff: noqa: D401 - as a test, a rule says what holds
"""Any sequence of calls against a model that is a few dicts: the two never differ.

More of it: ``python3 -m pytest tests/test_state_machine.py --hypothesis-profile=long``.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
import time_machine
from helpers import Mode, flip, leftovers
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from soulsense_db import BackupInfo, BackupManager, Period, RetentionPolicy, errors

pytestmark = pytest.mark.slow

settings.register_profile(
    "long", database=None, deadline=None, max_examples=2000, stateful_step_count=60
)

Contents = dict[str, list[tuple[object, ...]]]
"""The rows of each table of the application, by its name."""
Order = tuple[datetime, datetime, str]

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
MOST_BACKUPS = 12  # what a look at all of them takes is paid at each step
_COMPANIONS = ("-wal", "-shm", "-journal")

words = st.sampled_from(["", "Before import", "before import", "naïve; Zeilen\n"])
# Which of the backups that are there; where there are fewer, counting goes on from the first.
which = st.integers(0, MOST_BACKUPS - 1)
counts = st.sampled_from([0, 0, 1, 2, 3, -1])
policies = st.builds(
    RetentionPolicy,
    keep_last=counts,
    keep_daily=counts,
    keep_within=st.none() | st.builds(Period, hours=st.sampled_from([1, 30])),
)
jumps = st.builds(
    lambda unit, times: unit * times,
    st.sampled_from(
        [timedelta(seconds=1), timedelta(minutes=50), timedelta(days=1), timedelta(days=400)]
    ),
    st.sampled_from([1, 1, 2, -1, -3]),
)


@dataclass
class Expected:
    """What is to be said of one backup, and what is to be in it."""

    id: str
    created_at: datetime
    order: Order
    kind: str
    contents: Contents
    pinned: bool = False
    is_own: bool = True


@dataclass
class Model:
    """What is to be there."""

    live: Contents
    undo: Contents | None = None
    backups: dict[str, Expected] = field(default_factory=dict)
    """By file name."""

    def newest_first(self) -> list[str]:
        """Return the file names as they are to be listed."""
        return sorted(self.backups, key=lambda name: self.backups[name].order, reverse=True)

    def candidates(self, now: datetime) -> list[str]:
        """Return those that ``latest`` may mean."""
        return [
            name
            for name in self.newest_first()
            if self.backups[name].is_own and self.backups[name].created_at <= now
        ]

    def kept(self, policy: RetentionPolicy, now: datetime, *, just_made: str = "") -> set[str]:
        """Return what is to stay after ``policy``, rule by rule as the documentation has them."""
        stays = {just_made}
        stays |= {n for n, b in self.backups.items() if not b.is_own or b.created_at > now}
        stays |= {name for name, backup in self.backups.items() if backup.pinned}
        past = self.candidates(now)
        stays |= set(past[:1])  # the newest verified one, for all are
        for kind in {self.backups[name].kind for name in past}:
            pool = [name for name in past if self.backups[name].kind == kind]
            stays |= {pool[0], *self._kept_by_rules(pool, policy)}
        return stays & self.backups.keys()

    def _kept_by_rules(self, pool: list[str], policy: RetentionPolicy) -> Iterator[str]:
        made = {name: self.backups[name].created_at for name in pool}
        if not policy.has_keep_rule:
            yield from pool
        yield from pool if policy.keep_last == -1 else pool[: policy.keep_last]
        newest_of_day = {made[name].astimezone().date(): name for name in reversed(pool)}
        days = sorted(newest_of_day, reverse=True)
        for day in days if policy.keep_daily == -1 else days[: policy.keep_daily]:
            yield newest_of_day[day]
        if policy.keep_within is not None:
            since = made[pool[0]] - timedelta(hours=policy.keep_within.hours)
            yield from (name for name in pool if made[name] > since)


def contents_of(path: Path) -> Contents:
    """Return what the application has in a database file."""
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'backups' ORDER BY 1"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()
            for (name,) in connection.execute(tables).fetchall()
        }


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files below ``folder`` but locks and what SQLite keeps in memory."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith((".lock", "-shm"))
    }


class Calls(RuleBasedStateMachine):
    """A database, its manager, and the model of both, through any sequence of calls."""

    @initialize(mode=st.sampled_from(["wal", "delete"]), policy=st.none() | policies)
    def begin(self, mode: Mode, policy: RetentionPolicy | None) -> None:
        """Make the database in a journal mode, and a manager with or without a policy."""
        memory = "/dev/shm"  # noqa: S108 - a directory of our own in it; flushing takes no time
        parent = memory if os.access(memory, os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="state-machine-", dir=parent)).resolve()
        self.database = self.folder / "app.db"
        self.outside = self.folder / "outside"
        self.outside.mkdir()
        with closing(sqlite3.connect(self.database)) as connection:
            connection.execute(f"PRAGMA journal_mode = {mode}")
            connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, body TEXT)")
        self.policy = policy
        self.model = Model(live={"entry": []})
        self.now = NOON
        self.number = 0
        self.clock = time_machine.travel(self.now.timestamp(), tick=False)
        self.traveller = self.clock.start()
        self._open()

    def _open(self) -> None:
        self.engine = sa.create_engine(f"sqlite:///{self.database}")
        self.manager = BackupManager(self.engine, retention=self.policy, lock_timeout=5)

    def teardown(self) -> None:
        """Verify every backup in full, and remove all of it."""
        if not hasattr(self, "engine"):
            return
        try:
            for name in self.model.backups:
                self.manager.verify(name, level="full")
        finally:
            self.engine.dispose()
            self.clock.stop()
            shutil.rmtree(self.folder)

    # What is asked for

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _name(self, index: int) -> str:
        names = self.model.newest_first()
        return names[index % len(names)]

    def _has_backups(self) -> bool:
        return bool(self.model.backups)

    def _has_room(self) -> bool:
        return len(self.model.backups) < MOST_BACKUPS

    def _expect(self, info: BackupInfo, contents: Contents, *, kind: str) -> None:
        assert info.kind == kind
        self.model.backups[info.filename] = Expected(
            info.id, info.created_at, info.order, kind, contents
        )

    def _made(self, info: BackupInfo, *, kind: str) -> None:
        """Expect a backup of the live database, the newest of all, and what the policy leaves."""
        assert info.created_at == self.now
        assert info.filename not in self.model.backups
        self._expect(info, dict(self.model.live), kind=kind)
        assert self.model.newest_first()[0] == info.filename
        if self.policy is not None:
            kept = self.model.kept(self.policy, self.now, just_made=info.filename)
            self.model.backups = {
                n: b for n, b in self.model.backups.items() if n in kept or b.kind != kind
            }

    @contextmanager
    def _refused(self, *expected: type[Exception]) -> Iterator[None]:
        """Whatever is refused leaves every file as it was."""
        before = files_in(self.folder)
        with pytest.raises(expected):
            yield
        assert files_in(self.folder) == before

    # The application

    @rule(rows=st.integers(1, 3))
    def write(self, rows: int) -> None:
        """The application adds rows."""
        table = self.model.live["entry"] = list(self.model.live["entry"])
        with self.engine.begin() as connection:
            for _ in range(rows):
                row = (self._next(), "x" * (self.number * 97 % 5000))
                connection.exec_driver_sql("INSERT INTO entry VALUES (?, ?)", row)
                table.append(row)

    @rule()
    def remove_rows(self) -> None:
        """The application deletes every second row."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM entry WHERE id % 2 = 0")
        kept = [row for row in self.model.live["entry"] if int(str(row[0])) % 2]
        self.model.live = {**self.model.live, "entry": kept}

    @rule()
    def make_a_table(self) -> None:
        """The application makes a table."""
        name = f"table_{self._next()}"
        with self.engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE TABLE {name} (x)")
        self.model.live = {**self.model.live, name: []}

    @rule()
    def start_again(self) -> None:
        """The application is started again."""
        self.engine.dispose()
        self._open()

    @rule(jump=jumps)
    def set_the_clock(self, jump: timedelta) -> None:
        """Time goes by, or somebody sets the clock."""
        self.now += jump
        self.traveller.move_to(self.now.timestamp())

    # Backups

    @precondition(_has_room)
    @rule(description=words, kind=st.sampled_from(["manual", "automatic"]))
    def create(self, description: str, kind: str) -> None:
        """A new backup is the newest of all, whatever the clock says."""
        info = self.manager.create(description, kind=kind)  # type: ignore[arg-type]
        assert info.description == description
        self._made(info, kind=kind)

    @precondition(lambda self: self._has_backups() and self._has_room())
    @rule(index=which)
    def create_unless_same(self, index: int) -> None:
        """A backup is made exactly if its content would be another one."""
        name = self._name(index)
        info = self.manager.create_unless_same(name)
        assert (info is None) == (self.model.backups[name].contents == self.model.live)
        if info is not None:
            self._made(info, kind="automatic")

    @precondition(_has_backups)
    @rule(index=which, pinned=st.booleans())
    def pin(self, index: int, pinned: bool) -> None:
        """A pin stays until it is taken away, also on one of unknown origin."""
        name = self._name(index)
        change: Callable[[str], object] = self.manager.pin if pinned else self.manager.unpin
        change(name)
        self.model.backups[name].pinned = pinned

    @precondition(_has_backups)
    @rule(index=which)
    def delete(self, index: int) -> None:
        """A backup is gone when it was deleted, and stays when it is pinned."""
        name = self._name(index)
        if self.model.backups[name].pinned:
            with self._refused(errors.ProtectedBackupError):
                self.manager.delete(name)
            return
        self.manager.delete(name)
        del self.model.backups[name]

    @rule(policy=policies, dry_run=st.booleans())
    def prune(self, policy: RetentionPolicy, dry_run: bool) -> None:
        """Exactly what the policy keeps is there, and the report says so."""
        kept = self.model.kept(policy, self.now)
        report = self.manager.prune(policy, dry_run=dry_run)
        assert {decision.backup.filename for decision in report.kept} == kept
        assert {d.backup.filename for d in report.removed} == self.model.backups.keys() - kept
        if not dry_run:
            self.model.backups = {n: b for n, b in self.model.backups.items() if n in kept}

    @precondition(lambda self: self._has_backups() and self._has_room())
    @rule(index=which, description=words, with_meta=st.booleans())
    def export_and_import(self, index: int, description: str, with_meta: bool) -> None:
        """A backup that was away comes back by its date; without its meta file, by the file's."""
        name = self._name(index)
        there = self.manager.export(name, self.outside / f"{self._next()}.db")
        meta = Path(f"{there}.meta")
        changed = self.now - timedelta(hours=1)
        if not with_meta:
            meta.unlink()
            os.utime(there, (changed.timestamp(), changed.timestamp()))
        known = self.model.backups[name]
        info = self.manager.import_file(there, description)
        self._expect(info, known.contents, kind="imported")
        if with_meta:
            assert info.created_at == known.created_at
        else:
            assert info.created_at == changed
        with self._refused(errors.StorageError):
            self.manager.export(name, there)  # never over a file that is there

    @precondition(lambda self: self._has_backups() and self._has_room())
    @rule(index=which)
    def put_there_by_hand(self, index: int) -> None:
        """A file that somebody copied into the directory is listed, by the date in its name."""
        number = self._next()
        source = Path(self.manager.get(self._name(index)).path)
        copy = source.with_name(f"soulsense_backup_20260103_{number // 60:02}{number % 60:04}.db")
        if number > 50:  # the name has no more seconds
            return
        shutil.copyfile(source, copy)
        info = self.manager.get(copy.name)
        assert info.of_unknown_origin
        self._expect(info, self.model.backups[source.name].contents, kind="manual")
        self.model.backups[copy.name].is_own = False
        assert self.manager.catalog.sync()

    @precondition(_has_backups)
    @rule(index=which)
    def adopt(self, index: int) -> None:
        """One of unknown origin becomes one of this database; no other changes."""
        name = self._name(index)
        known = self.model.backups[name]
        if known.is_own:
            with self._refused(errors.BackupError):
                self.manager.adopt(name)
            return
        info = self.manager.adopt(name)
        assert info.created_at == known.created_at
        known.id, known.order, known.is_own = info.id, info.order, True

    # Restores

    @precondition(_has_backups)
    @rule(index=which)
    def restore(self, index: int) -> None:
        """The live database is the backup, and what it was is what an undo goes back to."""
        name = self._name(index)
        report = self.manager.restore(name)
        assert report.verified
        assert report.catalog_rebuilt
        assert not report.warnings
        self.model.undo, self.model.live = self.model.live, dict(self.model.backups[name].contents)

    @rule()
    def undo(self) -> None:
        """An undo goes back, and the next one forth again; without a restore it is refused."""
        if self.model.undo is None:
            with self._refused(errors.NothingToUndoError):
                self.manager.undo_restore()
            return
        self.manager.undo_restore()
        self.model.undo, self.model.live = self.model.live, self.model.undo

    @precondition(_has_backups)
    @rule(index=which)
    def lose_the_database_and_restore(self, index: int) -> None:
        """A database that is gone comes back, and then there is nothing to undo."""
        name = self._name(index)
        self.engine.dispose()
        for ending in ("", *_COMPANIONS):
            Path(f"{self.database}{ending}").unlink(missing_ok=True)
        with self._refused(errors.DatabaseFileNotFoundError):
            self.manager.create()
        report = self.manager.restore(name)
        assert report.safety_backup is None
        assert bool(report.moved_aside) == (self.model.undo is not None)
        self.model.undo, self.model.live = None, dict(self.model.backups[name].contents)

    # What is refused

    @precondition(_has_backups)
    @rule(index=which)
    def restore_a_damaged_one(self, index: int) -> None:
        """A backup with a changed byte is restored by nobody."""
        info = self.manager.get(self._name(index))
        if not self.model.backups[info.filename].is_own:
            return  # without a checksum not every byte is seen
        flip(Path(info.path), 40)
        for call in (self.manager.restore, self.manager.adopt):
            with self._refused(errors.BackupError):
                call(info.filename)
        with pytest.raises(errors.InvalidBackupError):
            self.manager.export(info.filename, self.outside / "damaged.db")
        assert not (self.outside / "damaged.db").exists()
        flip(Path(info.path), 40)

    @rule()
    def name_what_is_not_there(self) -> None:
        """What is not there is not found, by any call."""
        manager = self.manager
        for call in (manager.get, manager.restore, manager.delete, manager.verify, manager.pin):
            with self._refused(errors.BackupNotFoundError):
                call("soulsense_backup_20000101_000000_never.db")
        with self._refused(errors.BackupError):
            manager.import_file(self.database)
        (self.outside / "no database").write_text("no database")
        with self._refused(errors.NotADatabaseError):
            manager.import_file(self.outside / "no database")

    # What holds after each of them

    @invariant()
    def the_rows_are_those_of_the_model(self) -> None:
        """The application reads what it wrote or restored, and an undo has what was there."""
        assert contents_of(self.database) == self.model.live
        safety = self.manager.safety_backup()
        if self.model.undo is None:
            assert safety is None
        else:
            assert safety is not None
            assert contents_of(Path(safety.path)) == self.model.undo

    @invariant()
    def the_list_is_that_of_the_model(self) -> None:
        """Names, order, dates, kinds, pins and contents; ``latest``; the files; the catalog."""
        names = self.model.newest_first()
        listed = self.manager.list()
        assert [info.filename for info in listed] == names
        for info in listed:
            expected = self.model.backups[info.filename]
            found = info.id, info.created_at, info.order, info.kind, info.pinned
            assert found == (
                expected.id,
                expected.created_at,
                expected.order,
                expected.kind,
                expected.pinned,
            )
            assert info.of_unknown_origin != expected.is_own
            assert contents_of(Path(info.path)) == expected.contents
            assert self.manager.get(info.id) == info
        candidates = self.model.candidates(self.now)
        assert [info.filename for info in self.manager.candidates()] == candidates
        if candidates:
            assert self.manager.get("latest").filename == candidates[0]
        assert (self.manager.catalog.names() or frozenset()) == set(names)

    @invariant()
    def every_backup_verifies(self) -> None:
        """Whatever was done, no backup is damaged, and none is half there."""
        for name in self.model.backups:
            self.manager.verify(name, level="quick")
        assert not self.manager.orphans()
        assert not leftovers(self.manager.directory) if self.manager.directory.exists() else True


TestCalls = Calls.TestCase
TestCalls.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
