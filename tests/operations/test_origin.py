"""Whose backup a file is: what says so, what is meant without being named, and ``adopt``."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import EngineMaker
from helpers import add_child, digest, flip, make_database, scalar
from shell import Shell
from sqlalchemy.engine import Engine

from soulsense_db import BackupManager, db_backup
from soulsense_db.backup_info.fields import digest_of
from soulsense_db.backup_info.info import BackupInfo
from soulsense_db.backup_info.meta_format import to_meta
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    ChecksumMismatchError,
    InvalidBackupError,
    MetaFileError,
    NewerFormatError,
    NotConfirmedError,
    WrongDatabaseError,
)
from soulsense_db.health import State, check_health
from soulsense_db.operations.references import Doubt, doubts_about
from soulsense_db.retention import Period, RetentionPolicy, apply_policy
from soulsense_db.scheduled import run_auto

PREFIX = "soulsense_backup"
AHEAD = timedelta(days=3)


def say(info: BackupInfo, **facts: object) -> None:
    """Rewrite the meta file of a backup with other facts, sealed as any other."""
    Path(info.meta_path).write_bytes(to_meta(replace(info, **facts)))  # type: ignore[arg-type]


def say_nothing_of_database(info: BackupInfo) -> None:
    """Leave a whole meta file that does not say of which database the backup is."""
    told = json.loads(Path(info.meta_path).read_text())
    del told["meta_sha256"]
    told["database"] = None
    told["meta_sha256"] = digest_of(told)
    Path(info.meta_path).write_text(json.dumps(told))


# What leaves nothing that can be trusted to say whose a backup is.
UNKNOWN: dict[str, Callable[[BackupInfo], object]] = {
    "no meta file": lambda info: Path(info.meta_path).unlink(),
    "cut short": lambda info: os.truncate(info.meta_path, 40),
    "a byte flipped": lambda info: Path(info.meta_path).write_bytes(
        Path(info.meta_path).read_bytes().replace(b'"id"', b'"ie"')
    ),
    "empty": lambda info: Path(info.meta_path).write_bytes(b""),
    "a description only": lambda info: Path(info.meta_path).write_text("Before the holidays"),
    "no database in it": say_nothing_of_database,
}


@pytest.fixture
def other(tmp_path: Path, make_engine: EngineMaker, manager: BackupManager) -> BackupManager:
    """Return a manager of another database in the same directory."""
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE of_the_other (x)")
        connection.commit()
    return BackupManager(make_engine(path), manager.directory)


def refs(info: BackupInfo) -> list[str | Path]:
    """Return the ways to name a backup."""
    return [info.filename, Path(info.path), info.path]


@pytest.mark.parametrize("lose", UNKNOWN.values(), ids=UNKNOWN)
def test_what_says_not_whose_it_is_is_never_meant(
    manager: BackupManager,
    other: BackupManager,
    database: Path,
    lose: Callable[[BackupInfo], object],
) -> None:
    """A backup of unknown origin is listed, and meant by no `latest`, `latest~1` or schedule."""
    mine = manager.create("mine")
    theirs = other.create("theirs")
    lose(theirs)
    before = digest(database)
    (unknown,) = [info for info in manager.list() if info.of_unknown_origin]
    assert unknown.filename == theirs.filename
    assert manager.candidates() == [mine]
    assert manager.get("latest") == mine
    with pytest.raises(BackupNotFoundError, match="1 of unknown origin"):
        manager.get("latest~1")
    manager.restore("latest")
    assert digest(database) == before
    report = run_auto(manager)
    assert report is not None
    assert report.created is None
    assert report.verified.backup.filename == mine.filename


@pytest.mark.parametrize("lose", UNKNOWN.values(), ids=UNKNOWN)
def test_alone_it_is_not_meant_either(
    other: BackupManager, manager: BackupManager, lose: Callable[[BackupInfo], object]
) -> None:
    """Where there is nothing but a backup of unknown origin, `latest` is an error, and no guess."""
    lose(other.create("theirs"))
    for ref in ("latest", "latest~0"):
        with pytest.raises((BackupNotFoundError, MetaFileError)):
            manager.get(ref)


def test_a_revision_means_only_what_is_known(manager: BackupManager, database: Path) -> None:
    """`revision:` passes over a newer backup at it whose meta file says not whose it is."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('abc123')")
        connection.commit()
    mine, newer = manager.create("mine"), manager.create("newer")
    say(newer, database=None)
    assert manager.get("revision:abc123") == mine
    say(mine, half_run=True)
    with pytest.raises(BackupNotFoundError, match="'abc'") as raised:
        manager.get("revision:abc")
    assert f"{newer.filename} is of unknown origin" in raised.value.hint


@pytest.mark.parametrize("lose", ["no meta file", "a description only", "no database in it"])
def test_naming_it_works(manager: BackupManager, database: Path, lose: str) -> None:
    """Functions that take a path or a name do as they are told: nothing is asked."""
    before = digest(database)
    info = manager.create("mine")
    UNKNOWN[lose](info)
    for ref in [*refs(info), manager.get(info.filename).id]:
        add_child(database)
        manager.restore(ref)
        assert digest(database) == before
    db_backup.configure(manager._repository.driver.engine)
    try:
        add_child(database)
        assert db_backup.restore_backup(info.path)
        assert digest(database) == before
    finally:
        db_backup.configure(None)


@pytest.mark.parametrize("ahead", [timedelta(minutes=5), AHEAD, timedelta(days=365 * 70)])
def test_what_is_dated_in_the_future_is_not_the_latest(
    manager: BackupManager, database: Path, ahead: timedelta
) -> None:
    """A backup dated ahead is listed first and passed over by whatever means the newest one."""
    dated_ahead = manager.create("ahead")
    say(dated_ahead, created_at=datetime.now(UTC) + ahead)
    with pytest.raises(BackupNotFoundError, match="1 dated in the future"):
        manager.get("latest")
    mine = manager.create("mine")
    assert [info.description for info in manager.list()] == ["mine", "ahead"]
    assert manager.get("latest") == mine
    Path(mine.path).unlink()
    Path(mine.meta_path).unlink()
    report = run_auto(manager)
    assert report is not None
    assert report.created is not None


def test_a_file_whose_name_is_ahead_is_not_the_latest(manager: BackupManager) -> None:
    """The date in the name of a file without a meta file counts as well."""
    mine = manager.create("mine")
    shutil.copy(mine.path, manager.directory / f"{PREFIX}_20990101_000000_from_elsewhere.db")
    assert manager.get("latest") == mine
    (info, _) = manager.list()
    assert doubts_about(info) == (Doubt.ORIGIN, Doubt.FUTURE)


def test_a_half_run_backup_is_meant_by_name_only(manager: BackupManager) -> None:
    """What was taken of a half migrated database is none that `latest` means."""
    whole, half = manager.create("whole"), manager.create("half")
    say(half, half_run=True)
    assert manager.get("latest") == whole
    assert manager.get(half.id).half_run
    with pytest.raises(BackupNotFoundError, match="1 half-run"):
        manager.get("latest~1")


def test_what_is_passed_over_is_told(
    manager: BackupManager, caplog: pytest.LogCaptureFixture
) -> None:
    """Who asks for the latest hears that there is a newer file, and why it is not the one."""
    mine = manager.create("mine")
    with caplog.at_level(logging.WARNING, "soulsense_db"):
        manager.get("latest")
        assert not caplog.records
        newer = manager.create("newer")
        say(newer, database=None)
        assert manager.get("latest") == mine
    (record,) = caplog.records
    assert newer.filename in record.getMessage()
    assert "of unknown origin" in record.getMessage()


def test_status_counts_what_is_known(manager: BackupManager) -> None:
    """A half-copied file is no newest backup: `status` speaks of the one that `latest` means."""
    mine = manager.create("mine")
    name = manager.directory / f"{PREFIX}_{datetime.now():%Y%m%d_%H%M%S}_zzz.db"
    name.write_bytes(b"half of a copy")
    manager.catalog.rebuild()
    report = check_health(manager)
    assert report.state is State.OK
    told = {check.name: check.message for check in report.checks}
    assert mine.id in told["newest backup"]
    assert "1 of unknown origin" in told["files"]


# Retention


def test_what_is_unknown_takes_no_place_of_a_rule(
    manager: BackupManager, other: BackupManager
) -> None:
    """`keep_last` counts one's own: a foreign file stays, and pushes none of them out."""
    own = [manager.create(f"number {n}") for n in range(3)]
    foreign = other.create("theirs")
    Path(foreign.meta_path).unlink()
    report = manager.prune(RetentionPolicy(keep_last=2))
    assert [d.backup.id for d in report.removed] == [own[0].id]
    assert {info.filename for info in manager.list()} == {
        foreign.filename,
        own[1].filename,
        own[2].filename,
    }


def test_half_run_backups_push_out_no_whole_one(manager: BackupManager) -> None:
    """Those of a half-run database are counted by themselves, and do not stay for ever either."""
    whole = [manager.create(f"whole {n}") for n in range(3)]
    half = [manager.create(f"half {n}") for n in range(3)]
    for info in half:
        say(info, half_run=True)
    report = manager.prune(RetentionPolicy(keep_last=2))
    assert {d.backup.id for d in report.removed} == {whole[0].id, half[0].id}
    assert {info.id for info in manager.list()} == {info.id for info in whole[1:] + half[1:]}


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=30), timedelta(days=9000)])
def test_keep_within_counts_from_the_newest_that_is_not_ahead(ahead: timedelta) -> None:
    """A backup dated in the future moves no border of `keep_within`."""
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    ages = [-ahead, timedelta(days=1), timedelta(days=2), timedelta(days=10)]
    backups = [
        BackupInfo(
            id=f"{n}",
            path=f"/backups/{PREFIX}_{n}.db",
            created_at=now - age,
            size_bytes=1,
            database="app.db",
            sha256="0" * 64,
        )
        for n, age in enumerate(ages)
    ]
    policy = RetentionPolicy(keep_within=Period.parse("3d"))
    report = apply_policy(backups, policy, now=now)
    assert {d.backup.id for d in report.kept} == {"0", "1", "2"}
    assert [d.backup.id for d in report.removed] == ["3"]


# adopt


@pytest.mark.parametrize("lose", UNKNOWN.values(), ids=UNKNOWN)
def test_adopting_makes_it_one_of_this_database(
    manager: BackupManager, database: Path, lose: Callable[[BackupInfo], object]
) -> None:
    """After a full check the meta file says whose it is, its checksum, its revision."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('abc123')")
        connection.commit()
    info = manager.create("mine")
    lose(info)
    unknown = manager.get(info.filename)
    adopted = manager.adopt(info.filename)
    assert manager.list() == manager.candidates() == [adopted]
    assert manager.get("latest") == manager.get(adopted.id) == adopted
    assert (adopted.sha256, adopted.size_bytes) == (info.sha256, info.size_bytes)
    assert adopted.alembic_heads == ("abc123",)
    assert (adopted.created_at, adopted.description) == (unknown.created_at, unknown.description)
    assert adopted.verified_at is not None
    assert manager.verify(adopted).checksum
    assert scalar(database, "SELECT group_concat(id) FROM backups") == adopted.id
    flip(Path(info.path), 5000)
    with pytest.raises(ChecksumMismatchError):
        manager.verify("latest")


def test_what_a_backup_does_not_record_is_no_obstacle(
    manager: BackupManager, database: Path
) -> None:
    """A revision that is too long for a meta file is left out, as when the backup is taken."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", ("r" * 2000,))
        connection.commit()
    info = manager.create()
    Path(info.meta_path).unlink()
    assert manager.adopt(info.filename).alembic_heads == info.alembic_heads == ()


def test_what_is_known_is_not_adopted(manager: BackupManager, other: BackupManager) -> None:
    """One's own needs no new meta file, and another database's is imported instead."""
    mine, theirs = manager.create("mine"), other.create("theirs")
    with pytest.raises(BackupError, match="already") as raised:
        manager.adopt(mine)
    assert "nothing to do" in raised.value.hint
    with pytest.raises(WrongDatabaseError) as wrong:
        manager.adopt(theirs.filename)
    assert "import" in wrong.value.hint
    assert [manager.get(mine.id), other.get(theirs.id)] == [mine, theirs]


def test_nothing_is_adopted_that_fails_its_check(manager: BackupManager) -> None:
    """A file that is no whole database gets no meta file."""
    info = manager.create("mine")
    Path(info.meta_path).unlink()
    for contents in (b"half of a copy", Path(info.path).read_bytes()[:-4096], b""):
        Path(info.path).write_bytes(contents)
        with pytest.raises(InvalidBackupError):
            manager.adopt(info.filename)
        assert not Path(info.meta_path).exists()


def test_a_newer_programs_meta_file_is_left_alone(manager: BackupManager) -> None:
    """What this version cannot read is no reason to write over it."""
    info = manager.create("mine")
    told = json.loads(Path(info.meta_path).read_text())
    told["format"] = 99
    Path(info.meta_path).write_text(json.dumps(told))
    with pytest.raises(NewerFormatError):
        manager.adopt(info.filename)
    assert json.loads(Path(info.meta_path).read_text()) == told


@pytest.mark.parametrize("end", ["-wal", "-journal"])
def test_a_file_with_a_log_beside_it_is_not_adopted(manager: BackupManager, end: str) -> None:
    """What lies in a log would be lost: such a file is imported, with its log."""
    info = manager.create("mine")
    Path(info.meta_path).unlink()
    Path(info.path + end).write_bytes(b"pages")
    with pytest.raises(BackupError, match=end) as raised:
        manager.adopt(info.filename)
    assert "import" in raised.value.hint
    assert not Path(info.meta_path).exists()


@pytest.mark.parametrize("end", ["-wal", "-journal"])
def test_a_file_with_a_log_beside_it_is_not_deleted(manager: BackupManager, end: str) -> None:
    """It may be somebody's database, in use: without the log its data would be torn in two."""
    info = manager.create("mine")
    meta = Path(info.meta_path).read_bytes()
    Path(info.meta_path).unlink()
    Path(info.path + end).write_bytes(b"pages")
    with pytest.raises(BackupError, match=end):
        manager.delete(info.filename)
    assert Path(info.path).exists()
    Path(info.meta_path).write_bytes(meta)  # what says that it is ours goes all the same
    manager.delete(info.filename)
    assert not Path(info.path).exists()


def test_what_was_replaced_while_it_was_read_is_not_adopted(
    manager: BackupManager, engine: Engine
) -> None:
    """A meta file is never written for other data than those that were checked."""
    info = manager.create("mine")
    Path(info.meta_path).unlink()

    def replace_it(done: int, total: int) -> None:
        fresh = Path(f"{info.path}.fresh")
        shutil.copy(info.path, fresh)
        fresh.replace(info.path)

    with pytest.raises(BackupError, match="was replaced by another program a moment ago"):
        manager.adopt(info.filename, progress=replace_it)
    assert not Path(info.meta_path).exists()


# The command line


@pytest.mark.slow
def test_the_command_line_asks_and_shows_the_tables(shell: Shell) -> None:
    """A backup of unknown origin is restored after a question with its tables, or with --yes."""
    shell.create()
    (meta,) = (shell.folder / "data" / "backups").glob("*.meta")
    meta.unlink()
    name = meta.name.removesuffix(".meta")
    assert "of unknown origin" in shell.ok("list")
    assert "unknown: nothing says" in shell.ok("show", name)
    add_child(shell.database)
    before = digest(shell.database)
    assert shell.run("restore", name).returncode == NotConfirmedError.exit_code
    assert digest(shell.database) == before
    told = shell.ok("restore", name, "--yes")
    assert "nothing says that it belongs to this database" in told
    cells = [line.split() for line in told.splitlines()]
    assert ["child", "300", "301"] in cells
    assert digest(shell.database) != before
    shown = json.loads(shell.ok("show", name, "--json"))
    assert shown["result"]["backup"]["unknown_origin"] is True


@pytest.mark.slow
def test_adopt_on_the_command_line(shell: Shell) -> None:
    """`adopt` makes `latest` mean a backup again, and says when there is nothing to do."""
    shell.create()
    (meta,) = (shell.folder / "data" / "backups").glob("*.meta")
    os.truncate(meta, 40)
    hint = shell.fails(MetaFileError, "restore", meta.name.removesuffix(".meta"), "--yes")
    assert "'latest' no longer means it" in hint
    assert f"soulsense-db adopt {meta.name.removesuffix('.meta')}" in hint
    told = json.loads(shell.ok("adopt", meta.name.removesuffix(".meta"), "--json"))
    assert told["result"]["backup"]["unknown_origin"] is False
    shell.ok("restore", "latest", "--yes")
    assert "nothing to do" in shell.fails(BackupError, "adopt", "latest")


def test_adopt_of_what_is_dated_in_the_future_promises_nothing(shell: Shell) -> None:
    """`latest` does not mean it, and nobody is told that it can."""
    shell.create()
    directory = shell.folder / "data" / "backups"
    (made,) = directory.glob("*.db")
    ahead = directory / f"{PREFIX}_29991231_000000_ahead.db"
    shutil.copy(made, ahead)
    said = shell.ok("adopt", ahead.name)
    assert "dated in the future" in said
    assert "latest" not in said
    assert made.name in shell.run("show", "latest").stdout


@pytest.mark.slow
def test_a_directory_of_two_databases_from_the_shell(shell: Shell) -> None:
    """With one meta file of the other gone, `restore latest` still restores one's own."""
    shell.create()
    other = make_database(shell.folder / "data" / "other.db", rows=7)
    shell.ok("create", "theirs", "--url", str(other))
    (meta,) = (shell.folder / "data" / "backups").glob("*theirs.db.meta")
    meta.unlink()
    before = digest(shell.database)
    assert shell.run("restore", "latest", "--yes").returncode == 0
    assert digest(shell.database) == before
