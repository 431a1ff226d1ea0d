"""One database in a rehearsal: the live file, its copy, and what was in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from soulsense_db.alembic.rehearsal import errors
from soulsense_db.alembic.rehearsal.places import stamp_of
from soulsense_db.alembic.rehearsal.report import RehearsedDatabase, TableRows
from soulsense_db.drivers import (
    ColumnSurvey,
    DatabaseSurvey,
    Led,
    RehearsalSupport,
    TableSurvey,
    rehearsal_for,
)
from soulsense_db.operations import LiveDatabase


def support_of(live: LiveDatabase) -> RehearsalSupport:
    """Return what runs migrations on copies of ``live``.

    Raises :class:`~soulsense_db.errors.UnsupportedDatabaseError` where nothing does.
    """
    support = live.rehearsal_support() or rehearsal_for(live.dialect)
    if support.is_file and live.path is None:
        raise errors.no_file(live.address or "The database")
    return support


def place_of(live: LiveDatabase) -> Path:
    """Return the file of ``live``; on a server what people call it, as if it were one."""
    return live.path or Path(live.name)


@dataclass
class CopiedDatabase:
    """One database in the rehearsal: the live file, its copy, what was in it."""

    path: Path
    copy: Path
    before: DatabaseSurvey
    heads_before: tuple[str, ...] = ()
    after: DatabaseSurvey | None = None
    stamp: object = None

    def is_untouched(self, endings: Sequence[str]) -> bool:
        """Whether the live file is what it was when it was copied, as far as that was noted."""
        return self.stamp is None or self.stamp == stamp_of(self.path, endings)


def plain(led: Led | None) -> dict[str, Any] | None:
    """Return it as a request to the child has it."""
    return None if led is None else asdict(led)


def reported(one: CopiedDatabase) -> RehearsedDatabase:
    """Return what the report says of a database."""
    after = one.after
    heads = (
        sorted({head for found in after.alembic_heads.values() for head in found}) if after else ()
    )
    return RehearsedDatabase(
        path=one.path,
        heads_before=one.heads_before,
        alembic_heads=tuple(heads),
        size_before=one.before.size_bytes,
        size_after=after.size_bytes if after else one.before.size_bytes,
        tables=_rows_of(one.before, after),
    )


def _rows_of(before: DatabaseSurvey, after: DatabaseSurvey | None) -> tuple[TableRows, ...]:
    """Return the rows of each table, before and after."""
    old, new = _rows(before), _rows(after) if after else {}
    return tuple(
        TableRows(table=name, before=old.get(name), after=new.get(name))
        for name in sorted(old.keys() | new.keys())
    )


def _rows(survey: DatabaseSurvey) -> dict[str, int]:
    return {table.table: table.rows for table in survey.tables}


NOTHING = DatabaseSurvey(size_bytes=0, tables=(), alembic_heads={}, schema={})


def survey_of(told: dict[str, Any]) -> DatabaseSurvey:
    """Return the survey that the child made, from its plain values."""
    tables = tuple(
        TableSurvey(
            table=one["table"],
            rows=one["rows"],
            columns=tuple(ColumnSurvey(**column) for column in one["columns"]),
            parents=tuple(one["parents"]),
        )
        for one in told["tables"]
    )
    heads = {name: tuple(found) for name, found in told["alembic_heads"].items()}
    return DatabaseSurvey(
        size_bytes=told["size_bytes"],
        tables=tables,
        alembic_heads=heads,
        schema=told["schema"],
        columns=tuple(told["columns"]),
        unreadable=tuple(told["unreadable"]),
    )


def without(survey: DatabaseSurvey, version_tables: tuple[str, ...]) -> DatabaseSurvey:
    """Return ``survey`` without Alembic's own tables, of which the child told."""
    names = {f"table {name}" for name in version_tables}
    return replace(
        survey,
        tables=tuple(table for table in survey.tables if table.table not in version_tables),
        schema={name: sql for name, sql in survey.schema.items() if name not in names},
    )
