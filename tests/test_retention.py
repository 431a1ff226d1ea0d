"""The rules of retention: what a policy keeps and removes, and why."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from soulsense_db.backup_info.info import BackupInfo, BackupKind
from soulsense_db.retention import (
    ALL,
    COUNTS,
    Period,
    PruneReport,
    RetentionPolicy,
    apply_policy,
    parse_size,
)

GOLDEN = sorted(Path(__file__).parent.joinpath("golden", "retention").glob("*.txt"))
KINDS: tuple[BackupKind, ...] = get_args(BackupKind)
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)


@pytest.fixture
def set_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a function that sets the local time zone until the end of the test."""

    def set_to(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_to
    monkeypatch.undo()
    time.tzset()


# Golden files: a case each, as a person would write it down.

_LINE = re.compile(r"(?P<verdict>keep|drop) (?P<at>\S+ \S+)  (?P<facts>.+?)  (?P<reasons>.+)")


def read_header(text: str) -> dict[str, str]:
    """Return the lines like ``now: 2026-11-23 12:00`` by their names."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return dict(line.split(": ", 1) for line in lines)


def read_policy(text: str, **options: bool) -> RetentionPolicy:
    """Read ``keep_daily 7, keep_within 1m``, the words of a policy for itself."""
    values: dict[str, Any] = dict(options)
    for name, value in (rule.split(" ", 1) for rule in text.split(", ") if rule != "no rules"):
        read = {"keep_within": Period.parse, "max_total_size": parse_size}.get(name, int)
        values[name] = read(value)
    return RetentionPolicy(**values)


def read_time(text: str) -> datetime:
    """Read a time that is local where it names no offset."""
    return datetime.fromisoformat(text).astimezone(UTC)


def read_backup(line: str, number: int) -> BackupInfo:
    """Read ``automatic, 4.0 GB, unverified, pinned "note"`` and the time before it."""
    found = _LINE.fullmatch(line)
    assert found, line
    kind, *marks = found["facts"].split(", ")
    assert kind in KINDS
    at = read_time(found["at"])
    facts: dict[str, Any] = {"kind": kind, "verified_at": at, "size_bytes": 1}
    for mark in marks:
        if mark == "unverified":
            facts["verified_at"] = None
        elif mark.startswith("pinned"):
            facts |= {"pinned": True, "pin_note": mark.removeprefix("pinned").strip(' "')}
        else:
            facts["size_bytes"] = parse_size(mark)
    return BackupInfo(id=str(number), path=f"/backups/{number}.db", created_at=at, **facts)


def write_line(line: str, report: PruneReport, number: int) -> str:
    """Return ``line`` with what ``report`` says of its backup."""
    for verdict, decisions in (("keep", report.kept), ("drop", report.removed)):
        for decision in decisions:
            if decision.backup.id == str(number):
                at_and_facts = line.split("  ")[:2]
                words = [verdict, at_and_facts[0].split(" ", 1)[1]]
                return "  ".join([" ".join(words), at_and_facts[1], "; ".join(decision.reasons)])
    return f"nothing is said of: {line}"


@pytest.mark.parametrize("path", GOLDEN, ids=[path.stem for path in GOLDEN])
def test_a_golden_case_is_decided_as_written(path: Path, set_zone: Callable[[str], None]) -> None:
    """Each backup of the file stays or goes for the reasons that are written beside it."""
    header, _, body = path.read_text(encoding="utf-8").partition("\n\n")
    facts, lines = read_header(header), body.splitlines()
    set_zone(facts["zone"])
    assert time.timezone != 0, "the time zones of the system are missing"
    policy = read_policy(facts["policy"], allow_empty="allow_empty" in facts)
    assert str(policy) == facts["policy"]
    backups = [read_backup(line, number) for number, line in enumerate(lines)]
    assert backups == sorted(backups, key=lambda backup: backup.created_at, reverse=True)
    report = apply_policy(backups, policy, now=read_time(facts["now"]))
    assert [write_line(line, report, number) for number, line in enumerate(lines)] == lines


def test_there_are_golden_cases() -> None:
    """The golden files are found: none of them would be as good as all of them passing."""
    assert len(GOLDEN) >= 22


# Properties: what holds for every list of backups and every policy.


def make(number: int, hours_ago: int, kind: str, size: int, marks: str) -> BackupInfo:
    """Return a backup; ``marks`` has ``v`` for verified, ``p`` for pinned."""
    at = NOW - timedelta(hours=hours_ago)
    facts: dict[str, Any] = {"kind": kind, "size_bytes": size}
    facts |= {"verified_at": at if "v" in marks else None, "pinned": "p" in marks}
    return BackupInfo(id=str(number), path=f"/backups/{number:02}.db", created_at=at, **facts)


def backup_lists(
    *, kinds: Sequence[str] = KINDS[:3], marks: str = "vp", youngest: int = -30
) -> st.SearchStrategy[list[BackupInfo]]:
    """Return lists in any order, over hours to years, some dated in the future."""
    ages = (
        st.integers(youngest, 80)
        | st.integers(0, 100).map(lambda days: days * 24)
        | st.integers(0, 40).map(lambda months: months * 24 * 30)
    )
    texts = st.lists(st.sampled_from(["", *marks, marks]), min_size=1, max_size=1).map("".join)
    facts = st.lists(st.tuples(ages, st.sampled_from(kinds), st.integers(0, 9), texts), max_size=25)
    return facts.map(lambda rows: [make(number, *row) for number, row in enumerate(rows)])


_PERIODS = st.builds(
    Period, months=st.integers(0, 3), days=st.integers(0, 9), hours=st.integers(0, 30)
)
_COUNTS = {name: st.sampled_from([0, 0, 0, 1, 2, 3, 7, ALL]) for name in COUNTS}
KEEP_POLICIES = st.builds(RetentionPolicy, keep_within=st.none() | _PERIODS, **_COUNTS)
SIZES = st.none() | st.integers(1, 40)


@st.composite
def any_policy(draw: st.DrawFn) -> RetentionPolicy:
    """Return a policy of any rules, also of none."""
    rules = draw(KEEP_POLICIES | st.just(RetentionPolicy()))
    return replace(rules, max_total_size=draw(SIZES), allow_empty=draw(st.booleans()))


POLICIES = any_policy()


def kept(backups: Iterable[BackupInfo], policy: RetentionPolicy) -> list[BackupInfo]:
    """Return what stays, newest first."""
    return [decision.backup for decision in apply_policy(backups, policy, now=NOW).kept]


def said(
    backups: Iterable[BackupInfo], policy: RetentionPolicy
) -> dict[str, tuple[bool, tuple[str, ...]]]:
    """Return by id whether a backup stays, and why."""
    report = apply_policy(backups, policy, now=NOW)
    stays = {decision.backup.id: (True, decision.reasons) for decision in report.kept}
    return stays | {d.backup.id: (False, d.reasons) for d in report.removed}


def newest(backups: Iterable[BackupInfo]) -> BackupInfo:
    """Return the newest; of two of the same moment the one whose name comes last."""
    return max(backups, key=lambda backup: (backup.created_at, backup.filename))


def in_the_past(backups: Iterable[BackupInfo]) -> list[BackupInfo]:
    """Return those that are not dated after ``NOW``."""
    return [backup for backup in backups if backup.created_at <= NOW]


@given(backup_lists(), POLICIES)
def test_a_second_run_removes_nothing(backups: list[BackupInfo], policy: RetentionPolicy) -> None:
    """What a policy kept it keeps again at the same moment."""
    assert apply_policy(kept(backups, policy), policy, now=NOW).removed == ()


@given(backup_lists(), POLICIES)
def test_every_backup_is_in_one_list_and_has_reasons(
    backups: list[BackupInfo], policy: RetentionPolicy
) -> None:
    """Each backup is kept or removed for one reason or more; both lists are newest first."""
    report = apply_policy(backups, policy, now=NOW)
    for decisions in (report.kept, report.removed):
        times = [decision.backup.created_at for decision in decisions]
        assert times == sorted(times, reverse=True)
        assert all(decision.reasons and all(decision.reasons) for decision in decisions)
    ids = [decision.backup.id for decision in (*report.kept, *report.removed)]
    assert sorted(ids) == sorted(backup.id for backup in backups)
    assert report.removed_bytes == sum(d.backup.size_bytes for d in report.removed)


@given(backup_lists(), POLICIES, st.randoms(use_true_random=False))
def test_the_order_of_the_backups_does_not_matter(
    backups: list[BackupInfo], policy: RetentionPolicy, rng: random.Random
) -> None:
    """The same backups in another order give the same report, also where moments are equal."""
    shuffled = rng.sample(backups, k=len(backups))
    assert apply_policy(shuffled, policy, now=NOW) == apply_policy(backups, policy, now=NOW)


@given(backup_lists(), POLICIES)
def test_the_newest_stays(backups: list[BackupInfo], policy: RetentionPolicy) -> None:
    """The newest of all and the newest of each kind stay, the clock right or not."""
    assume(backups)
    policy = replace(policy, allow_empty=False)
    stays = kept(backups, policy)
    assert newest(backups) in stays
    for kind in {backup.kind for backup in backups}:
        pool = [backup for backup in backups if backup.kind == kind]
        assert newest(pool) in stays
        if in_the_past(pool):
            assert newest(in_the_past(pool)) in stays


@given(backup_lists(), POLICIES, st.data())
def test_newest_is_what_was_made_last(
    backups: list[BackupInfo], policy: RetentionPolicy, data: st.DataObject
) -> None:
    """Whatever dates they have: the last made of all kinds and of each, and ``keep_last`` of them.

    A clock that was set back gives backups an order that is not that of their dates.
    """
    made = data.draw(st.permutations(backups))
    ordered = [
        replace(backup, ordered_at=NOW + timedelta(microseconds=number))
        for number, backup in enumerate(made)
    ]
    stays = kept(ordered, policy)
    assert stays == [backup for backup in reversed(ordered) if backup in stays]
    for kind in KINDS:
        pool = [backup for backup in reversed(in_the_past(ordered)) if backup.kind == kind]
        if not policy.allow_empty:
            assert pool[:1] == [backup for backup in pool[:1] if backup in stays]
        if policy.keep_last > 0 and policy.max_total_size is None:
            assert all(backup in stays for backup in pool[: policy.keep_last])
    verified = [backup for backup in in_the_past(ordered) if backup.verified_at]
    assert verified[-1:] == [backup for backup in verified[-1:] if backup in stays]


@given(backup_lists(marks="", youngest=0), st.integers(1, 3), st.data())
def test_a_wrong_clock_takes_no_bucket_of_the_calendar(
    backups: list[BackupInfo], count: int, data: st.DataObject
) -> None:
    """The last days that have a backup are the same in whatever order they were made."""
    policy = RetentionPolicy(keep_daily=count)
    made = [
        replace(backup, ordered_at=NOW + timedelta(microseconds=number))
        for number, backup in enumerate(data.draw(st.permutations(backups)))
    ]
    for kind in KINDS:
        days = {local(backup).date() for backup in backups if backup.kind == kind}
        stays = {local(backup).date() for backup in kept(made, policy) if backup.kind == kind}
        assert set(sorted(days)[-count:]) <= stays


@given(backup_lists(), POLICIES)
def test_the_newest_verified_stays(backups: list[BackupInfo], policy: RetentionPolicy) -> None:
    """Of all kinds, the newest backup that passed its check and is not from the future stays."""
    verified = [backup for backup in in_the_past(backups) if backup.verified_at]
    assume(verified)
    assert newest(verified) in kept(backups, policy)


@given(backup_lists(), POLICIES)
def test_pinned_and_future_backups_stay(backups: list[BackupInfo], policy: RetentionPolicy) -> None:
    """Nothing removes a backup that is pinned or dated in the future."""
    protected = [backup for backup in backups if backup.pinned or backup.created_at > NOW]
    stays = kept(backups, policy)
    assert all(backup in stays for backup in protected)


@given(backup_lists(), POLICIES, st.data())
def test_what_is_spared_stays_for_the_reason_given(
    backups: list[BackupInfo], policy: RetentionPolicy, data: st.DataObject
) -> None:
    """A backup that the caller spares by its name stays, with the caller's reason if it is past."""
    assume(in_the_past(backups))
    spared = data.draw(st.sampled_from(in_the_past(backups)))
    report = apply_policy(backups, policy, now=NOW, protected={spared.filename: "in use"})
    (decision,) = [decision for decision in report.kept if decision.backup == spared]
    assert "in use" in decision.reasons


@given(
    backup_lists(),
    POLICIES,
    st.sampled_from(KINDS[:3]),
    st.integers(0, 50),
    st.text("vp", max_size=2),
)
def test_an_older_backup_removes_no_newer_one(
    backups: list[BackupInfo],
    policy: RetentionPolicy,
    kind: str,
    size: int,
    marks: str,
) -> None:
    """Adding the oldest of a kind, whatever it is, costs no newer backup its place."""
    pool = [backup for backup in backups if backup.kind == kind]
    age = max(((NOW - backup.created_at) // timedelta(hours=1) for backup in pool), default=500)
    added = make(99, age + 1, kind, size, marks)
    stays = kept([*backups, added], policy)
    newer = [b for b in kept(backups, policy) if b.created_at > added.created_at]
    assert all(backup in stays for backup in newer)


@given(backup_lists(kinds=KINDS[:2]), backup_lists(kinds=KINDS[2:3], marks="p"), POLICIES)
def test_a_kind_is_a_pool_of_its_own(
    backups: list[BackupInfo], others: list[BackupInfo], policy: RetentionPolicy
) -> None:
    """Any number of another kind changes nothing, neither what stays nor why."""
    others = [replace(other, id=f"other {other.id}") for other in others]
    together = said([*backups, *others], policy)
    assert {backup.id: together[backup.id] for backup in backups} == said(backups, policy)


@given(backup_lists(kinds=KINDS[:2]), backup_lists(kinds=KINDS[2:3]), POLICIES)
def test_verified_ones_of_another_kind_cost_one_protection(
    backups: list[BackupInfo], others: list[BackupInfo], policy: RetentionPolicy
) -> None:
    """With verified ones of another kind, only what was the newest verified one may go."""
    others = [replace(other, id=f"other {other.id}") for other in others]
    stays = kept([*backups, *others], policy)
    gone = [backup for backup in kept(backups, policy) if backup not in stays]
    verified = [backup for backup in in_the_past(backups) if backup.verified_at]
    assert gone in ([], [newest(verified)] if verified else [])


@given(backup_lists(), st.sampled_from([None, Period()]), st.booleans())
def test_an_empty_policy_removes_nothing(
    backups: list[BackupInfo], within: Period | None, allow_empty: bool
) -> None:
    """Without a rule there is no wish to remove anything."""
    policy = RetentionPolicy(keep_within=within, allow_empty=allow_empty)
    assert policy.is_empty
    assert apply_policy(backups, policy, now=NOW).removed == ()


@given(backup_lists(marks="", youngest=0), KEEP_POLICIES, st.integers(1, 40))
def test_what_is_kept_of_a_kind_fits(
    backups: list[BackupInfo], policy: RetentionPolicy, limit: int
) -> None:
    """Without protected ones, what stays takes no more than ``max_total_size`` in each kind."""
    policy = replace(policy, max_total_size=limit, allow_empty=True)
    stays = kept(backups, policy)
    for kind in KINDS:
        assert sum(backup.size_bytes for backup in stays if backup.kind == kind) <= limit


@pytest.mark.slow
@settings(max_examples=500)
@given(backup_lists(kinds=KINDS[:2], marks="", youngest=0), KEEP_POLICIES, st.integers(1, 40))
def test_a_size_limit_keeps_the_newest_that_fit(
    backups: list[BackupInfo], policy: RetentionPolicy, limit: int
) -> None:
    """Of those the other rules keep, the newest stay, up to the first that does not fit."""
    wanted = kept(backups, policy)
    expected: list[BackupInfo] = []
    for kind in KINDS:
        total = 0
        for backup in (wish for wish in wanted if wish.kind == kind):
            total += backup.size_bytes
            if total > limit:
                break
            expected.append(backup)
    stays = kept(backups, replace(policy, max_total_size=limit, allow_empty=True))
    assert {backup.id for backup in stays} == {backup.id for backup in expected}


def local(backup: BackupInfo) -> datetime:
    """Return the time that a clock on the wall showed."""
    return backup.created_at.astimezone().replace(tzinfo=None)


# Each bucket spelt out in numbers that grow with time.
_BUCKETS: dict[str, Callable[[BackupInfo], Any]] = {
    "keep_last": lambda backup: (backup.created_at, backup.filename),
    "keep_hourly": lambda backup: (local(backup).date(), local(backup).hour),
    "keep_daily": lambda backup: local(backup).date(),
    "keep_weekly": lambda backup: local(backup).date().isocalendar()[:2],
    "keep_monthly": lambda backup: (local(backup).year, local(backup).month),
    "keep_yearly": lambda backup: local(backup).year,
}


@pytest.mark.usefixtures("in_kolkata")
def test_the_rules_are_what_their_names_say() -> None:
    """Each rule keeps the newest of each of its last n buckets in local time; rules are ORed."""

    @given(backup_lists(kinds=KINDS[:2], marks="v", youngest=0), KEEP_POLICIES)
    def check(backups: list[BackupInfo], policy: RetentionPolicy) -> None:
        assume(policy.has_keep_rule)
        expected: set[str] = set()
        for kind in {backup.kind for backup in backups}:
            pool = [backup for backup in backups if backup.kind == kind]
            expected.add(newest(pool).id)
            for name, bucket_of in _BUCKETS.items():
                count = getattr(policy, name)
                buckets = sorted({bucket_of(backup) for backup in pool}, reverse=True)
                for bucket in buckets if count == ALL else buckets[:count]:
                    expected.add(newest(b for b in pool if bucket_of(b) == bucket).id)
            if policy.keep_within:
                start = policy.keep_within.before(local(newest(pool)))
                assert start
                expected |= {backup.id for backup in pool if local(backup) > start}
        verified = [backup for backup in backups if backup.verified_at]
        if verified:
            expected.add(newest(verified).id)
        assert {backup.id for backup in kept(backups, policy)} == expected

    check()


def test_no_backups_give_an_empty_report() -> None:
    """A policy over no backups keeps and removes nothing."""
    policy = RetentionPolicy(keep_last=1, keep_within=Period(days=1), max_total_size=1)
    assert apply_policy([], policy, now=NOW) == PruneReport(kept=(), removed=())


@pytest.mark.parametrize(
    ("newest_at", "older_at", "stays"),
    [
        ("2026-03-29 12:00+02:00", "2026-03-28 08:30+01:00", True),  # 26.5 hours
        ("2026-03-29 12:00+02:00", "2026-03-28 08:00+01:00", False),  # 27 hours
        ("2026-10-25 12:00+01:00", "2026-10-24 10:30+02:00", True),  # 26.5 hours
        ("2026-10-25 12:00+01:00", "2026-10-24 10:00+02:00", False),  # 27 hours
        ("2026-10-25 02:30+01:00", "2026-10-24 00:31+02:00", True),  # 26 h 59 from the second 2:30
        ("2026-10-25 02:30+01:00", "2026-10-24 00:30+02:00", False),
    ],
)
def test_hours_within_are_hours_that_passed(
    set_zone: Callable[[str], None], newest_at: str, older_at: str, stays: bool
) -> None:
    """A clock that is changed makes no backup older or younger: 27 hours are 27 hours."""
    set_zone("Europe/Berlin")
    times = [read_time(newest_at), read_time(older_at)]
    first, second = (
        BackupInfo(id=name, path=f"/backups/{name}.db", created_at=at, size_bytes=1)
        for name, at in zip("ab", times, strict=True)
    )
    report = apply_policy(
        [first, second], RetentionPolicy(keep_within=Period(hours=27)), now=times[0]
    )
    assert (second in [decision.backup for decision in report.kept]) is stays
