"""What a prune plans before it removes anything: values alone, no file and no database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from soulsense_db.backup_info import BackupInfo, BackupKind
from soulsense_db.errors import InvalidBackupError
from soulsense_db.operations.prune import PrunePlan, checked, plan_prune
from soulsense_db.retention import RetentionPolicy

NOW = datetime(2026, 1, 15, tzinfo=UTC)
ONE = RetentionPolicy(keep_last=1)


def backup(hours_ago: int, kind: BackupKind = "manual", *, is_known: bool = True) -> BackupInfo:
    """Return a backup that nobody has on a disk; ``is_known``: of which database it is."""
    at = NOW - timedelta(hours=hours_ago)
    return BackupInfo(
        id=str(hours_ago),
        path=f"/backups/{hours_ago}_{kind}.db",
        created_at=at,
        verified_at=at,
        kind=kind,
        size_bytes=1,
        sha256="0" * 64,
        database="app.db" if is_known else "",
    )


def removed(plan: PrunePlan) -> list[str]:
    """Return the file names that ``plan`` would remove."""
    return [decision.backup.filename for decision in plan.report.removed]


def test_a_plan_says_what_goes_and_does_nothing() -> None:
    """Each kind is counted by itself, and ``kinds`` limits what is spoken of."""
    backups = [backup(1), backup(2), backup(3, "automatic"), backup(4, "automatic")]
    assert removed(plan_prune(backups, ONE, now=NOW)) == ["2_manual.db", "4_automatic.db"]
    plan = plan_prune(backups, ONE, now=NOW, kinds=["automatic"])
    assert removed(plan) == ["4_automatic.db"]
    assert [d.backup.filename for d in plan.report.kept] == ["3_automatic.db"]


def test_what_nobody_knows_stays_and_takes_no_place() -> None:
    """A backup of unknown origin is kept, and the rule counts the known ones alone."""
    plan = plan_prune([backup(1, is_known=False), backup(2), backup(3)], ONE, now=NOW)
    assert removed(plan) == ["3_manual.db"]
    assert plan.report.kept[0].reasons == ("of unknown origin",)


def test_what_is_protected_stays() -> None:
    """A plan can be made again with more that stays; the first one is what it was."""
    plan = plan_prune([backup(1), backup(2)], ONE, now=NOW)
    assert removed(plan.with_protected({"2_manual.db": "somebody needs it"})) == []
    assert removed(plan) == ["2_manual.db"]


def test_the_newest_sound_one_stays() -> None:
    """When the newest fails its check, the next that passes stays as well."""

    def check(info: BackupInfo) -> None:
        if info.id == "1":
            raise InvalidBackupError("damaged")

    plan = plan_prune([backup(1), backup(2), backup(3)], ONE, now=NOW)
    plan = checked(plan, check)
    assert removed(plan) == ["3_manual.db"]
    assert plan.report.kept[1].reasons == ("newest verified backup",)


def test_nothing_goes_where_none_is_sound() -> None:
    """When no backup of a kind passes its check, none of that kind is removed."""

    def check(info: BackupInfo) -> None:
        raise InvalidBackupError(f"{info.filename} is damaged")

    plan = plan_prune([backup(1), backup(2), backup(3, "automatic")], ONE, now=NOW)
    assert removed(checked(plan, check)) == []
