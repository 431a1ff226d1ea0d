"""What is told of backups: a table of several, or every fact of one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from soulsense_db.backup_info import BackupInfo, Form, display_size, local_time
from soulsense_db.cli.output import SHORT_ID, age_of, print_table, shown_description
from soulsense_db.operations import (
    BY_DUMP,
    BY_FILE,
    BY_META,
    BY_NAME,
    DATED_BY,
    doubts_about,
)

_DATED_BY = {
    BY_META: "by its meta file",
    BY_DUMP: "by the date in the dump",
    BY_NAME: "by the date in the file's name",
    BY_FILE: "when the file was last changed",
}
_MOST_DATABASES = 3
_COMPRESSED = Form(is_compressed=True)


def print_list(backups: Sequence[BackupInfo], *, lost: Collection[str] = ()) -> None:
    """Print a table of backups; ``lost``: the file names of differentials without their base."""
    short = len({info.id[:SHORT_ID] for info in backups}) == len(backups)
    table = {
        "ID": [info.id[:SHORT_ID] if short else info.id for info in backups],
        "AGE": [age_of(info.created_at) for info in backups],
        ">SIZE": [info.size_display for info in backups],
        "FORM": [info.form.text + ", BASE MISSING" * (info.filename in lost) for info in backups],
        "KIND": [info.kind for info in backups],
        "REVISION": [revision_of(info) for info in backups],
        "VERIFIED": [_verified(info) for info in backups],
        "DRILLED": [_drilled(info) for info in backups],
        "DESCRIPTION": [described(info) for info in backups],
    }
    if all(info.is_plain for info in backups):
        del table["FORM"]
    if not any(info.drilled_at for info in backups):
        del table["DRILLED"]
    if not any(info.alembic_heads for info in backups):  # an application without Alembic
        del table["REVISION"]
    print_table(list(table), list(zip(*table.values(), strict=True)))


def size_and_form(info: BackupInfo) -> str:
    """Return what the file takes on disk, and how it is stored unless it is a database file."""
    if info.is_plain:
        return info.size_display
    told = [] if info.form == _COMPRESSED else [info.form.text]
    told += [f"decompressed {display_size(info.restored_size_bytes)}"] * _is_smaller(info)
    return f"{info.size_display} ({'; '.join(told)})"


def facts_of(
    info: BackupInfo, needing: Sequence[BackupInfo] = (), base: BackupInfo | None = None
) -> list[tuple[str, str]]:
    """Return what there is to say of a backup, by name.

    ``needing``: the differentials that are based on it; ``base``: of one, None where it is missing.
    """
    verified = f"{local_time(info.verified_at):%Y-%m-%d %H:%M:%S}" if info.verified_at else ""
    facts = [
        ("file", info.path),
        ("id", info.id),
        ("taken", f"{info.timestamp_display} ({age_of(info.created_at)} ago){_dated(info)}"),
        ("kind", info.kind),
        ("form", "" if info.is_plain else info.form.text),
        ("size", f"{info.size_display} ({info.size_bytes:,} bytes)"),
        ("decompressed", _decompressed(info) if _is_smaller(info) else ""),
        ("base", _base(info, base)),
        ("needed by", _needing(needing)),
        ("description", shown_description(info)),
        ("database", _database(info)),
        ("revision", ", ".join(info.alembic_heads) or "none"),
        ("migrating to", info.target_revision or ""),
        (
            "verified",
            f"{verified} ({age_of(info.verified_at)} ago)" if verified else _verified(info),
        ),
        ("drilled", _drill(info)),
        ("half-run", "yes, it was taken before a migration had finished" * info.half_run),
        ("pinned", (info.pin_note or "yes") if info.pinned else ""),
        ("sha256", info.sha256 or "not recorded"),
        ("not contained", str(info.driver_facts.get("attached", ""))),
        ("problem", info.meta_problem),
    ]
    return [(name, text) for name, text in facts if text]


def dated(info: BackupInfo) -> str:
    """Return what tells the date of an imported backup."""
    return _DATED_BY.get(info.driver_facts.get(DATED_BY, ""), "as no date before now is known")


def _dated(info: BackupInfo) -> str:
    is_sure = info.driver_facts.get(DATED_BY, BY_META) == BY_META
    return "" if is_sure else f", {dated(info)}"


def _is_smaller(info: BackupInfo) -> bool:
    """Whether it is decompressed when it is restored, to a size that is known."""
    is_made_smaller = info.form.is_compressed or info.form.is_differential
    return is_made_smaller and info.plain_size_bytes is not None


def _decompressed(info: BackupInfo) -> str:
    return f"{display_size(info.restored_size_bytes)} ({info.restored_size_bytes:,} bytes)"


def _base(info: BackupInfo, base: BackupInfo | None) -> str:
    if not info.form.is_differential:
        return ""
    if base is None:
        return f"{info.base_name or 'a backup'} is MISSING: without it this one cannot be restored"
    return f"{base.filename} ({base.size_display})"


def _needing(needing: Sequence[BackupInfo]) -> str:
    if not needing:
        return ""
    size = display_size(sum(other.size_bytes for other in needing))
    return f"{len(needing)} differential backup(s), {size} together"


def _verified(info: BackupInfo) -> str:
    if info.meta_problem or (info.sha256 is not None and info.verified_at is None):
        return "failed"
    return age_of(info.verified_at) if info.verified_at else "not yet"


def _drilled(info: BackupInfo) -> str:
    """Return how long ago it was last drilled, or what came of it."""
    if info.drill_result == "failed":
        return "failed"
    return age_of(info.drilled_at) if info.drilled_at else "not yet"


def _drill(info: BackupInfo) -> str:
    if info.drilled_at is None:
        return ""
    outcome = "passed" if info.drill_result == "passed" else "FAILED"
    if info.drill_revision:
        outcome += f", migrates to {info.drill_revision}"
    moment = f"{local_time(info.drilled_at):%Y-%m-%d %H:%M:%S}"
    return f"{moment} ({age_of(info.drilled_at)} ago), {outcome}"


def revision_of(info: BackupInfo) -> str:
    """Return its revision, for a table."""
    return ",".join(info.alembic_heads) or "-"


def described(info: BackupInfo) -> str:
    """Return what it is for, after what is to be known before it is used."""
    marks = ["pinned"] if info.pinned else []
    marks += [doubt.value for doubt in doubts_about(info)]
    marked = f"({', '.join(marks)}) " if marks else ""
    return marked + (info.meta_problem or shown_description(info))


def databases_of(backups: Sequence[BackupInfo]) -> str:
    """Return of which databases these are, the newest backup's first: three, and how many more."""
    names = list(dict.fromkeys(map(_database, backups)))
    more = len(names) - _MOST_DATABASES
    return ", ".join(names[:_MOST_DATABASES]) + (f" and {more} more" if more > 0 else "")


def _database(info: BackupInfo) -> str:
    if info.of_unknown_origin:
        return "unknown: nothing says which database it belongs to"
    return info.database_path or info.database or ""
