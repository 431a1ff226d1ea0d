"""A clock that is wrong, or is changed: order, names, pruning, and what monitoring is told."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from helpers import Child, add_child, execute

from soulsense_db import BackupInfo, BackupManager, RetentionPolicy
from soulsense_db.backup_info.meta_format import to_meta
from soulsense_db.cli import app
from soulsense_db.health import State, check_health
from soulsense_db.scheduled import run_auto

ONE = RetentionPolicy(keep_last=1)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
YEAR = timedelta(days=365)
# What the clock said, in UTC, at one backup after the other; some seconds pass between them.
CLOCKS: dict[str, list[datetime]] = {
    "right": [NOON, NOON + timedelta(hours=1), NOON + timedelta(hours=2)],
    "stopped": [NOON, NOON, NOON],
    "back a second": [NOON, NOON - timedelta(seconds=1), NOON, NOON - timedelta(seconds=1)],
    "back an hour": [
        *(NOON + timedelta(minutes=minutes) for minutes in (0, 10, 20)),
        *(NOON + timedelta(minutes=minutes) for minutes in (-30, 25, 40)),
    ],
    "back a year, and right again": [
        NOON,
        *(NOON - YEAR + timedelta(days=days) for days in (1, 2, 3)),
        *(NOON + timedelta(days=days) for days in (4, 5)),
    ],
    "ten years ahead, and right again": [
        NOON,
        *(NOON + 10 * YEAR + timedelta(days=days) for days in (1, 2, 3)),
        *(NOON + timedelta(days=days) for days in (4, 5)),
    ],
    "a leap day": [
        datetime(2028, 2, 28, 22, 59, 59, 500_000, tzinfo=UTC),
        datetime(2028, 2, 28, 23, tzinfo=UTC),  # 29 February in Berlin
        datetime(2028, 2, 29, 22, 59, tzinfo=UTC),
        datetime(2028, 2, 29, 23, tzinfo=UTC),
    ],
    "back a year on a leap day": [
        datetime(2028, 2, 29, 12, tzinfo=UTC),
        datetime(2027, 3, 1, 12, tzinfo=UTC),
        datetime(2028, 3, 1, 12, tzinfo=UTC),
    ],
    "summer time begins": [
        datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC),  # 1:59:59
        datetime(2026, 3, 29, 1, 0, 0, tzinfo=UTC),  # 3:00:00
        datetime(2026, 3, 29, 1, 30, 0, tzinfo=UTC),
    ],
    "summer time ends": [
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),  # 2:30
        datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC),
        datetime(2026, 10, 25, 1, 30, tzinfo=UTC),  # 2:30 once more
        datetime(2026, 10, 25, 1, 59, 59, tzinfo=UTC),
        datetime(2026, 10, 25, 2, 30, tzinfo=UTC),  # 3:30
    ],
}


@pytest.fixture(autouse=True)
def _in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    assert time.tzname == ("CET", "CEST"), "the time zones of the system are missing"
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(params=CLOCKS.values(), ids=list(CLOCKS))
def clock(request: pytest.FixtureRequest) -> list[datetime]:
    """Return what the clock says at one backup after the other."""
    moments: list[datetime] = request.param
    return moments


def at(moment: datetime, *, tick: bool = True) -> time_machine.travel:
    """Set the clock; as a number, for a time zone would be set as well."""
    return time_machine.travel(moment.timestamp(), tick=tick)


def create_at(manager: BackupManager, database: Path, moments: list[datetime]) -> list[BackupInfo]:
    """Make a backup of other rows at each moment; return them, newest first."""
    made = []
    for moment in moments:
        add_child(database)
        with at(moment, tick=False):
            made.append(manager.create("Same name"))
    return made[::-1]


def ids(infos: list[BackupInfo]) -> list[str]:
    """Return what tells backups apart."""
    return [info.id for info in infos]


def test_the_order_is_that_of_creation(
    manager: BackupManager, database: Path, clock: list[datetime]
) -> None:
    """``list`` has what was made last first; ``latest``, ``latest~1`` and ``revision:`` name it.

    These pass over what is dated in the future as long as it is.
    """
    execute(database, "CREATE TABLE alembic_version (version_num)")
    execute(database, "INSERT INTO alembic_version VALUES ('r1')")
    made: list[BackupInfo] = []
    for moment in clock:
        made = create_at(manager, database, [moment]) + made
        assert made[0].created_at == moment
        assert ids(manager.list()) == ids(made)
        past = [info for info in made if info.created_at <= moment]
        assert past[0] == made[0]
        with at(moment, tick=False):
            assert manager.candidates() == past
            assert manager.get("latest").id == past[0].id
            assert manager.get("revision:r1").id == past[0].id
            if len(past) > 1:
                assert manager.get("latest~1").id == past[1].id
    assert manager.list() == made


def test_nothing_is_overwritten(
    manager: BackupManager, database: Path, clock: list[datetime]
) -> None:
    """Names are those of the local time, each its own; every backup has the bytes it was made with.

    In the hour that the end of summer time repeats all names come a second time.
    """
    made: dict[str, str] = {}
    for moment in clock:
        (info,) = create_at(manager, database, [moment])
        local = moment.astimezone()
        assert info.filename.startswith(f"soulsense_backup_{local:%Y%m%d_%H%M%S}_Same_name")
        assert info.filename not in made
        made[info.filename] = hashlib.sha256(Path(info.path).read_bytes()).hexdigest()
    assert {info.filename: info.sha256 for info in manager.list()} == made
    for info in manager.list():
        assert manager.verify(info).checksum


def test_the_program_lists_in_that_order(
    manager: BackupManager,
    database: Path,
    clock: list[datetime],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command line shows the newest first, with the date of each as the clock said it."""
    made = create_at(manager, database, clock)
    with at(clock[-1] + timedelta(seconds=5)):
        app(["list", "--json", "--url", str(database)], standalone_mode=False)
        listed = json.loads(capsys.readouterr().out)["result"]["backups"]
        app(["list", "--url", str(database)], standalone_mode=False)
    assert [facts["id"] for facts in listed] == ids(made)
    assert [facts["created_at"] for facts in listed] == [m.isoformat() for m in clock[::-1]]
    shown = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in shown] == [info.id[:8] for info in made]


def test_a_schedule_goes_on(manager: BackupManager, database: Path, clock: list[datetime]) -> None:
    """A run of ``auto`` backs up what has changed, once, and does not remove what it just made."""
    for moment in clock:
        add_child(database)
        with at(moment) as travel:
            first = run_auto(manager, ONE)
            travel.shift(timedelta(milliseconds=100))
            second = run_auto(manager, ONE)
            latest = manager.get("latest")
        assert first is not None
        assert first.created is not None
        assert second is not None
        assert second.created is None
        assert latest.id == first.created.id


def test_pruning_keeps_what_was_made_last(
    manager: BackupManager, database: Path, clock: list[datetime]
) -> None:
    """Of all that is not dated in the future the last made stay, as many as the policy says."""
    two = RetentionPolicy(keep_last=2)
    there: list[BackupInfo] = []
    for moment in clock:
        there = create_at(manager, database, [moment]) + there
        with at(moment + timedelta(milliseconds=1)):
            report = manager.prune(two)
            now = datetime.now(UTC)
        past = [info for info in there if info.created_at <= now]
        assert {d.backup.id for d in report.removed} == set(ids(past[2:]))
        there = [info for info in there if info not in past[2:]]
        assert ids(manager.list()) == ids(there)


@pytest.mark.parametrize("rule", ["keep_hourly", "keep_daily", "keep_monthly", "keep_yearly"])
def test_a_calendar_keeps_the_newest_of_each_bucket(
    manager: BackupManager, database: Path, clock: list[datetime], rule: str
) -> None:
    """Hours to years are those that the clock showed on the wall; within one the last made stays.

    A clock that was set back for a while takes no place from the days before.
    """
    form = {
        "keep_hourly": "%Y-%m-%d %H",
        "keep_daily": "%Y-%m-%d",
        "keep_monthly": "%Y-%m",
        "keep_yearly": "%Y",
    }[rule]
    made = create_at(manager, database, clock)
    newest_of: dict[str, str] = {}
    for info in made:
        newest_of.setdefault(info.timestamp.strftime(form), info.id)
    last_two = sorted(newest_of)[-2:]
    with at(max(clock) + timedelta(seconds=5)):
        manager.prune(RetentionPolicy(**{rule: 2}))  # type: ignore[arg-type]
    wanted = {newest_of[bucket] for bucket in last_two} | {made[0].id}
    assert set(ids(manager.list())) == wanted


def test_monitoring_is_told_of_the_clock_and_no_nonsense(
    manager: BackupManager, database: Path, clock: list[datetime]
) -> None:
    """Right after a backup nothing is critical, no age is negative, and a wrong date is named."""
    made: list[BackupInfo] = []
    for moment in clock:
        made += create_at(manager, database, [moment])
        with at(moment + timedelta(seconds=5), tick=False):
            report = check_health(manager)
            now = datetime.now(UTC)
        ahead = [info for info in made if info.created_at > now]
        youngest = max(info.created_at for info in made if info not in ahead)
        assert report.state is (State.WARNING if ahead else State.OK)
        said = [check.message for check in report.checks if check.name == "clock"]
        assert bool(said) == bool(ahead)
        if ahead:
            assert f"{len(ahead)} backup(s)" in said[0]
            assert max(info.timestamp_display for info in ahead) in said[0]
        assert report.numbers["newest_age_seconds"] == (now - youngest).total_seconds() <= 5
        assert report.numbers["newest_verified_age_seconds"] == (now - youngest).total_seconds()


def test_a_clock_put_right_makes_no_false_alarm(manager: BackupManager, database: Path) -> None:
    """One made with the clock a year back does not hide that there is one of a minute before it."""
    create_at(manager, database, [NOON, NOON - YEAR])
    with at(NOON + timedelta(hours=1), tick=False):
        report = check_health(manager)
    assert report.state is State.OK
    assert report.numbers["newest_age_seconds"] == 3600


def test_what_was_made_last_outlives_a_clock_set_back(
    manager: BackupManager, database: Path
) -> None:
    """When the clock has caught up with the others, the newest is no older than they are."""
    minutes = [timedelta(minutes=minutes) for minutes in (0, 10, 20, -30)]
    last, before, *_ = create_at(manager, database, [NOON + passed for passed in minutes])
    with at(NOON + timedelta(minutes=25)):
        manager.prune(RetentionPolicy(keep_last=2))
    assert ids(manager.list()) == ids([last, before])


def test_a_check_or_a_pin_moves_no_backup(manager: BackupManager, database: Path) -> None:
    """What is written to a meta file later leaves the backup in its place."""
    made = create_at(manager, database, [NOON, NOON - YEAR, NOON - 2 * YEAR])
    for info in made:
        manager.verify(info)
        manager.pin(info)
        manager.unpin(info)
    assert ids(manager.list()) == ids(made)


def test_imported_backups_are_in_the_place_of_their_date(
    manager: BackupManager, database: Path, tmp_path: Path
) -> None:
    """A backup from elsewhere is as old as it says; the next one made here is newer all the same.

    What clock it was made with there is of no meaning here.
    """
    elsewhere = BackupManager.from_url(str(database), tmp_path / "elsewhere")
    dated = {"ahead": NOON + YEAR, "old": NOON - YEAR, "recent": NOON + timedelta(minutes=1)}
    brought = {}
    with at(NOON):
        manager.create("Here")
    for name, moment in dated.items():
        (info,) = create_at(elsewhere, database, [moment])
        copy = elsewhere.export(info, tmp_path / f"{name}.db")
        with at(NOON + timedelta(minutes=5)):
            brought[name] = manager.import_file(copy, name)
        assert brought[name].created_at == moment
    with at(NOON + timedelta(minutes=6)):
        manager.create("Last")
        Path(f"{tmp_path / 'ahead.db'}.meta").unlink()
        for name, moment in (("by its file", NOON + timedelta(minutes=5)), ("now", NOON + YEAR)):
            os.utime(tmp_path / "ahead.db", (moment.timestamp(), moment.timestamp()))
            manager.import_file(tmp_path / "ahead.db", name)
    told = [info.description for info in manager.list()]
    assert told == ["now", "Last", "ahead", "by its file", "recent", "Here", "old"]


def test_meta_files_of_before_are_ordered_by_date(manager: BackupManager, database: Path) -> None:
    """A meta file without the fact is whole; one made now is newer than it, whatever it says."""
    made = create_at(manager, database, [NOON + YEAR, NOON])
    for info in made:
        facts = json.loads(Path(info.meta_path).read_bytes())
        del facts["ordered_at"], facts["meta_sha256"]
        canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        facts["meta_sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
        Path(info.meta_path).write_text(json.dumps(facts))
    assert ids(manager.list()) == ids(made[::-1])
    assert not any(info.meta_problem for info in manager.list())
    (last,) = create_at(manager, database, [NOON])
    assert ids(manager.list()) == ids([last, *made[::-1]])


LAST_MOMENT = datetime.max.replace(tzinfo=UTC)


def _last_moment_of_the_calendar(info: BackupInfo) -> None:
    Path(info.meta_path).write_bytes(to_meta(replace(info, created_at=LAST_MOMENT)))


def _order_at_the_end_of_the_calendar(info: BackupInfo) -> None:
    Path(info.meta_path).write_bytes(to_meta(replace(info, ordered_at=LAST_MOMENT)))


def _name_of_the_last_day(info: BackupInfo) -> None:
    Path(info.meta_path).unlink()
    os.replace(info.path, Path(info.path).with_name("soulsense_backup_99991231_235959.db"))


def _meta_file_is_a_directory(info: BackupInfo) -> None:
    Path(info.meta_path).unlink()
    Path(info.meta_path).mkdir()


def _meta_file_is_garbage(info: BackupInfo) -> None:
    Path(info.meta_path).write_bytes(b'{"ordered_at": "9999"')


@pytest.mark.parametrize(
    "spoil",
    [
        _last_moment_of_the_calendar,
        _order_at_the_end_of_the_calendar,
        _name_of_the_last_day,
        _meta_file_is_a_directory,
        _meta_file_is_garbage,
    ],
)
def test_an_impossible_date_stops_no_backup(
    manager: BackupManager, database: Path, spoil: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever one meta file or name says, backups are made, checked, listed and pruned."""
    assert callable(spoil)
    spoil(manager.create("Spoilt"))
    made = create_at(manager, database, [NOON, NOON + timedelta(hours=1)])
    assert len({info.filename for info in manager.list()}) == 3
    for info in made:
        manager.verify(info)
    with at(NOON + timedelta(days=1)):
        add_child(database)
        report = run_auto(manager)
        assert report is not None
        assert report.created is not None
        app(["list", "--url", str(database)], standalone_mode=False)
        app(["prune", "--keep-last=2", "--yes", "--url", str(database)], standalone_mode=False)
        assert check_health(manager).numbers["newest_age_seconds"] is not None
    assert capsys.readouterr().out
    assert {made[0].id, report.created.id} <= set(ids(manager.list()))


@dataclass
class Program:
    """Another process, in which the clock is wrong by ``offset``, and what it has made."""

    child: Child
    made: list[str]

    def begin(self) -> None:
        """Have it make a backup."""
        assert self.child.process.stdin is not None
        self.child.process.stdin.write("go\n")
        self.child.process.stdin.flush()

    def end(self) -> str:
        """Wait for the backup; return its id."""
        self.made.append(self.child.line())
        return self.made[-1]


def program(database: Path, offset: timedelta) -> Program:
    """Start a process that makes backups as it is told."""
    return Program(
        Child("create_at_an_offset.py", f"sqlite:///{database}", offset.total_seconds()), []
    )


@pytest.mark.parametrize("offset", [timedelta(0), -YEAR, YEAR], ids=["right", "back", "ahead"])
def test_two_processes_at_once(manager: BackupManager, database: Path, offset: timedelta) -> None:
    """Backups made at once are all there, in one order; what one began after another is newer."""
    first = manager.create()
    one, two = program(database, timedelta(0)), program(database, offset)
    with one.child, two.child:
        in_turns = []
        for which in (one, two, two, one):
            which.begin()
            in_turns.append(which.end())
        assert ids(manager.list()) == [*in_turns[::-1], first.id]
        for _ in range(5):
            one.begin()
            two.begin()
            pair = {one.end(), two.end()}
            assert {info.id for info in manager.list()[:2]} == pair
    listed = ids(manager.list())
    assert len(listed) == 15
    for which in (one, two):
        assert [backup for backup in listed if backup in which.made] == which.made[::-1]
    assert len({info.filename for info in manager.list()}) == 15
    for info in manager.list():
        manager.verify(info)
