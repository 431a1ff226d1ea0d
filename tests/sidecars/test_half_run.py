"""A half-run migration is a fact about the data: what ends its alarm, and what does not."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from helpers import ROWS, digest, execute, make_database, scalar, write_marker
from shell import Shell

from soulsense_db import BackupInfo, BackupManager
from soulsense_db.backup_info.fields import digest_of
from soulsense_db.errors import BackupError, BackupNotFoundError
from soulsense_db.health import check_health
from soulsense_db.meta_file import read_backup
from soulsense_db.scheduled import run_auto
from soulsense_db.sidecars.migration_marker import (
    UNREADABLE,
    Chain,
    MigrationMarker,
    marker_path,
    new_marker,
    read_markers,
)

HALF = "DELETE FROM child WHERE id > 10"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return a database at revision r1."""
    path = make_database(tmp_path / "app.db")
    execute(path, "CREATE TABLE alembic_version (version_num TEXT)")
    execute(path, "INSERT INTO alembic_version VALUES ('r1')")
    return path


@pytest.fixture
def manager(database: Path) -> Iterator[BackupManager]:
    """Return a manager of it."""
    engine = sa.create_engine(f"sqlite:///{database}", poolclass=sa.NullPool)
    yield BackupManager(engine)
    engine.dispose()


def die(
    manager: BackupManager, *, statement: str = HALF, table: str = "alembic_version"
) -> BackupInfo:
    """Leave the database as a migration to r2 does that was killed; return its safety backup."""
    assert manager.database is not None
    before = manager.create("Before r2", kind="pre_migration", target_revision="r2", record=False)
    marker = new_marker(
        backup=before.path,
        backup_id=before.id,
        backup_sha256=before.sha256,
        alembic_heads=("r1",),
        target_heads=("r2",),
        chain=Chain(version_table=table, section="alembic"),
    )
    with manager.exclusive() as lock:
        lock.markers.add([marker])
    execute(manager.database, statement)
    return before


def _stands(manager: BackupManager) -> bool:
    return manager.alarm.error() is not None


# What ends it


@pytest.mark.parametrize("how", ["by name", "by revision", "moved", "imported", "identical"])
def test_its_own_backup_ends_it(manager: BackupManager, tmp_path: Path, how: str) -> None:
    """Wherever the backup from before the migration is by now, putting it back ends the alarm."""
    manager.create()  # makes the catalog's table
    same = manager.create("an hour before")
    before = die(manager)
    if how == "by name":
        manager.restore(before.filename)
    elif how == "by revision":
        manager.restore("revision:r1")
    elif how == "identical":
        manager.restore(same)
    elif how == "moved":
        copy = manager.export(before, tmp_path / "copy.db")
        manager.restore(manager.import_file(copy))
    else:
        plain = tmp_path / "plain.db"
        shutil.copy(before.path, plain)
        manager.restore(manager.import_file(plain))
    assert not _stands(manager)
    assert not marker_path(manager.database or Path()).exists()


@pytest.mark.parametrize("heads", ["r2", "r2 and another chain"])
def test_its_own_version_table_at_the_target_ends_it(manager: BackupManager, heads: str) -> None:
    """A migration that had ended before it was killed is no alarm."""
    assert manager.database is not None
    die(manager)
    execute(manager.database, "UPDATE alembic_version SET version_num = 'r2'")
    if "another" in heads:
        execute(manager.database, "CREATE TABLE other_version (version_num TEXT)")
    assert not _stands(manager)
    assert not manager.create().half_run
    assert check_health(manager).state.name == "OK"


@pytest.mark.parametrize("table", ["there", "dropped"])
def test_a_downgrade_to_base_has_ended_where_an_empty_version_table_says_so(
    manager: BackupManager, table: str
) -> None:
    """A step that drops every table drops the version table too: its absence tells nothing."""
    assert manager.database is not None
    before = manager.create("Before", kind="pre_migration", record=False)
    marker = new_marker(
        backup=before.path, alembic_heads=("r1",), target_heads=(), chain=Chain(section="alembic")
    )
    with manager.exclusive() as lock:
        lock.markers.add([marker])
    emptied = "DELETE FROM" if table == "there" else "DROP TABLE"
    execute(manager.database, f"{emptied} alembic_version")
    assert _stands(manager) is (table == "dropped")


def test_a_person_ends_it(manager: BackupManager) -> None:
    """`restore --accept` ends all of it; what is taken afterwards is of a database like any."""
    die(manager)
    assert manager.alarm.accept()
    assert not _stands(manager)
    assert not manager.create().half_run


# What does not


@pytest.mark.parametrize("other", ["an older one", "a half-run one", "an import", "undo"])
def test_another_restore_does_not_end_it(
    manager: BackupManager, tmp_path: Path, other: str
) -> None:
    """Whatever else is restored: the alarm stands until its own backup is put back."""
    assert manager.database is not None
    older = manager.create("yesterday")
    execute(manager.database, "INSERT INTO parent VALUES (77, 'today', 0)")
    before = die(manager)
    if other == "an older one":
        manager.restore(older)
    elif other == "a half-run one":
        manager.restore(manager.create())
    elif other == "an import":
        manager.restore(manager.import_file(make_database(tmp_path / "other.db", rows=3)))
    else:
        manager.restore(older)
        manager.undo_restore()
    assert _stands(manager)
    manager.restore(before)
    assert not _stands(manager)


@pytest.mark.parametrize("table", ["other_version", "ver_two", "no_such_table"])
def test_another_chain_does_not_end_it(manager: BackupManager, table: str) -> None:
    """One chain at the revision that another one was going to says nothing about that."""
    assert manager.database is not None
    die(manager, table=table)
    execute(manager.database, "UPDATE alembic_version SET version_num = 'r2'")
    assert _stands(manager)


def test_an_undo_of_the_put_back_raises_it_again(manager: BackupManager) -> None:
    """The safety backup of the put-back is half migrated: going back to it is told, and marked."""
    assert manager.database is not None
    before = die(manager)
    half = digest(manager.database)
    manager.restore(before)
    safety = manager.safety_backup()
    assert safety is not None
    assert safety.half_run
    manager.undo_restore()
    assert digest(manager.database) == half
    error = manager.alarm.error()
    assert error is not None
    assert before.filename in error.hint  # it still says how to go on
    manager.restore(before)
    assert not _stands(manager)


def test_each_of_several_chains_ends_by_itself(manager: BackupManager) -> None:
    """Two entries in one marker: one at its target ends, the other one stands."""
    assert manager.database is not None
    first, second = die(manager), die(manager, statement="SELECT 1", table="ver_two")
    execute(manager.database, "UPDATE alembic_version SET version_num = 'r2'")
    error = manager.alarm.error()
    assert error is not None
    assert "ver_two" in error.message
    assert second.half_run  # taken while the first one stood
    manager.restore(first)
    assert [marker.backup for marker in read_markers(manager.database)] == [second.path]


# What is taken while it stands


def test_what_is_taken_meanwhile_is_never_meant(manager: BackupManager) -> None:
    """Neither `latest` nor `revision:` leads to a backup of the half-migrated database."""
    good = manager.create("good")
    before = die(manager)
    by_hand, scheduled = manager.create(), run_auto(manager)
    assert by_hand.half_run
    assert scheduled is not None
    assert all(i.half_run for i in manager.list() if i.id not in {good.id, before.id})
    for ref, meant in (("latest", before), ("latest~1", good), ("revision:r1", before)):
        assert manager.get(ref).id == meant.id
    with pytest.raises(BackupNotFoundError):
        manager.get("latest~2")
    assert manager.get(by_hand.id).half_run
    assert read_backup(Path(by_hand.path)).half_run


@pytest.mark.parametrize("how", ["accepted", "exported and imported", "without its facts"])
def test_restoring_one_raises_the_alarm_again(
    manager: BackupManager, tmp_path: Path, how: str
) -> None:
    """However its alarm had ended: the half-migrated data is back, so is the alarm."""
    assert manager.database is not None
    die(manager)
    half = manager.create()
    manager.alarm.accept()
    if how == "exported and imported":
        half = manager.import_file(manager.export(half, tmp_path / "half.db"))
        assert half.half_run
    elif how == "without its facts":
        meta = Path(half.meta_path)
        facts = json.loads(meta.read_text())
        del facts["driver_facts"]["half_run"], facts["meta_sha256"]
        meta.write_text(json.dumps(facts | {"meta_sha256": digest_of(facts)}))
        half = manager.get(half.id)
    manager.restore(half)
    error = manager.alarm.error()
    assert error is not None
    assert "--accept" in error.hint
    assert manager.create().half_run


def test_a_restore_that_fails_raises_no_alarm(
    manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing changed there is nothing to be alarmed about."""
    die(manager)
    half = manager.create()
    manager.alarm.accept()
    Path(half.path).write_bytes(b"damaged")
    with pytest.raises(BackupError):
        manager.restore(half)
    assert not _stands(manager)


# The marker itself


def _facts(database: Path, **changed: Any) -> None:
    """Write a marker with a true checksum whose one entry has these facts changed."""
    write_marker(database, backup="/b.db", alembic_heads=("r1",), target_revision="r2")
    facts = json.loads(marker_path(database).read_text())
    del facts["sha256"]
    facts["migrations"][0] |= changed
    marker_path(database).write_text(json.dumps(facts | {"sha256": digest_of(facts)}))


@pytest.mark.parametrize(
    "changed",
    [
        {"backup": 5},
        {"alembic_heads": "r1"},
        {"alembic_heads": [1]},
        {"target_heads": None},
        {"started_at": 3.5},
        {"started_at": "x" * 5_000},
        {"chain": "alembic_version"},
        {"chain": {"version_table": ["nested"]}},
        {"process": {"host": "h", "pid": "7"}},
        {"process": {"host": "h", "pid": -1}},
        {"unknown": 1},
    ],
)
def test_a_fact_of_the_wrong_type_is_an_alarm(database: Path, changed: dict[str, Any]) -> None:
    """Facts are checked where they come in: what is not what it should be makes no marker."""
    _facts(database, **changed)
    assert read_markers(database) == (UNREADABLE,)
    assert "--accept" in UNREADABLE.error(database).hint


def test_a_marker_of_an_older_version_is_read(manager: BackupManager) -> None:
    """It does not say which chain: it ends with its backup or by a person, by nothing else."""
    assert manager.database is not None
    before = manager.create(kind="pre_migration")
    facts = {
        "format": 1,
        "backup": before.path,
        "alembic_heads": ["r0"],
        "target_revision": "r1",
        "started_at": "2026-01-15T10:30:00+00:00",
    }
    marker_path(manager.database).write_text(json.dumps(facts | {"sha256": digest_of(facts)}))
    error = manager.alarm.error()
    assert error is not None
    assert "from r0 to r1, started 2026-01-15T10:30:00+00:00" in error.message
    execute(manager.database, HALF)
    manager.restore(before)
    assert not _stands(manager)


def test_a_marker_says_who_was_migrating(database: Path) -> None:
    """Host, process and its start, chain and both ends: what a person needs to find out more."""
    write_marker(database, backup="/b.db", alembic_heads=("r1",), target_revision="r2,x1")
    [marker] = read_markers(database)
    assert marker.process is not None
    assert marker.process.pid > 0
    assert marker.process.host
    assert marker.target_heads == ("r2", "x1")
    assert (
        f"by process {marker.process.pid} on {marker.process.host}"
        in marker.error(database).message
    )


@pytest.mark.parametrize("text", ["\x1b[2Jr1", "r1\nAll is well", "r1\u202er2", "r1\x07"])
def test_nothing_in_a_marker_acts_on_a_terminal(database: Path, text: str) -> None:
    """Text from a file is shown without control characters, also in the command to copy."""
    backup = f"/data/{text}; rm -rf x/b.db"
    write_marker(database, backup=backup, alembic_heads=(text,), target_revision=text)
    [marker] = read_markers(database)
    error = marker.error(database)
    for said in (error.message, error.hint):
        assert not any(c in said for c in "\x1b\n\u202e\x07")
    command = error.hint.removeprefix("To put it back: ").split("   Or leave")[0]
    assert len(shlex.split(command)) == 7


def test_entries_end_one_by_one(manager: BackupManager) -> None:
    """Taking one entry out leaves the others; the last one takes the file with it."""
    made = [new_marker(backup=f"/{n}", alembic_heads=(), target_heads=("r",)) for n in "abc"]
    with manager.exclusive() as lock:
        lock.markers.add(made)
        assert manager.database is not None
        lock.markers.remove({made[1].id})
        assert read_markers(manager.database) == lock.markers.read() == (made[0], made[2])
        lock.markers.add([made[1]])
        lock.markers.remove({marker.id for marker in made})
        assert lock.markers.read() == ()
        assert not marker_path(manager.database).exists()


def test_odd_bytes_in_a_path_survive(database: Path) -> None:
    """A path that is no text is written, and read back as it was."""
    odd = b"/data/\xff\xfe/b.db".decode(errors="surrogateescape")
    write_marker(database, backup=odd, alembic_heads=(), target_revision="r2")
    [marker] = read_markers(database)
    assert isinstance(marker, MigrationMarker)
    assert marker.backup == odd


# On the command line


@pytest.mark.slow
def test_the_command_line_says_that_the_alarm_stands(shell: Shell) -> None:
    """`list` marks what is half-run; a restore that ends no alarm says how to end it."""
    shell.ok("create", "yesterday")
    execute(shell.database, "INSERT INTO parent VALUES (77, 'today', 0)")
    manager = BackupManager.from_url(str(shell.database))
    before = die(manager)
    half = manager.create("by hand")
    lines = shell.ok("list").splitlines()
    assert [("half-run" in line) for line in lines[1:]] == [True, False, False]
    assert "before a migration had finished" in shell.ok("show", half.id)
    assert json.loads(shell.ok("show", half.id, "--json"))["result"]["backup"]["half_run"]
    told = shell.run("restore", "latest~1", "--yes")
    assert told.returncode == 0
    assert "Migrations are refused now" in told.stderr
    assert "may run again" not in told.stdout
    assert before.filename in told.stderr
    told = shell.run("restore", half.id, "--yes")
    assert "half migrated, and the database will be, too" in told.stderr
    assert shell.run("status").returncode == 2
    told = shell.run("restore", "latest", "--yes")
    assert told.returncode == 0
    assert "are refused" not in told.stderr
    assert "migrations may run again" in told.stdout
    assert "no interrupted migration" in shell.run("status").stdout


@pytest.mark.slow
def test_what_is_no_marker_is_in_nobodys_way(shell: Shell) -> None:
    """A directory in its place: schedules go on, and a restore that was done is called done."""
    shell.run("create", "one")
    execute(shell.database, "DELETE FROM child")
    shell.database.with_name(f"{shell.database.name}.migrating").mkdir()
    scheduled = shell.run("auto")
    assert scheduled.returncode == 0
    assert scheduled.stderr.count("is not a migration marker") == 1
    restored = shell.run("restore", "latest~1", "--yes", "--json")
    assert restored.returncode == 0
    assert json.loads(restored.stdout)["ok"] is True
    assert scalar(shell.database, "SELECT count(*) FROM child") == ROWS


def test_a_restore_that_is_cancelled_raises_no_alarm(manager: BackupManager) -> None:
    """The alarm of a half-run backup comes with its data, and not when nothing was restored."""
    die(manager)
    half = manager.create()
    assert half.half_run
    assert manager.alarm.accept()

    class CancelledError(Exception):
        """What the window raises is no error of the tree."""

    def cancel(_done: int, _total: int) -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        manager.restore(half, progress=cancel)
    assert not _stands(manager)
    manager.restore(half)
    assert _stands(manager)


def test_a_marker_that_is_not_there_is_none_whatever_the_system_says(
    manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that fails once must not make a sound backup one of a half-run database for ever."""
    assert manager.database is not None
    place = str(marker_path(manager.database))
    opened = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path) == place:
            raise PermissionError(errno.EACCES, "Permission denied", place)
        return opened(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        made = manager.create()
    assert not made.half_run


def test_a_copy_of_a_half_run_backup_is_known_by_its_checksum(
    manager: BackupManager, tmp_path: Path
) -> None:
    """Imported without its meta file it would be meant by `revision:`, and end no alarm."""
    before = die(manager)
    half = manager.create()
    copy = tmp_path / "copy.db"
    shutil.copy(half.path, copy)
    assert manager.import_file(copy).half_run
    assert manager.get("revision:r1").id == before.id
