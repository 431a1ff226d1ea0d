"""What a restore changes in the database, as a terminal shows it."""

from __future__ import annotations

from collections.abc import Sequence

from soulsense_db.cli.output import print_table
from soulsense_db.cli.session import Session
from soulsense_db.drivers import DatabaseDiff, TableDiff

_VERSION_TABLE = "alembic_version"  # told of as the revision


def show_comparison(session: Session, heads: Sequence[str], found: DatabaseDiff) -> None:
    """Say what data at ``heads`` would change in the database."""
    here = ", ".join(heads) or "none"
    now = ", ".join(found.alembic_heads) or "none"
    if heads or found.alembic_heads:
        session.say(f"  revision  {here}; the database is at {now}")
    tables = tables_of(found)
    if found.identical:
        session.say("  rows      the same as in the database: a restore would change nothing")
    elif not tables:
        what = "its revision differs" if found.same_schema else _what_differs(session)
        session.say(f"  rows      the same as in the database; {what}")
    elif session.talks:
        if not found.same_schema:
            session.say(f"  schema    {_what_differs(session)}")
        session.say("  rows      changes if you restore:")
        print_changes(tables)


def _what_differs(session: Session) -> str:
    """Say what a schema has: on PostgreSQL also to whom it belongs, and who may use it."""
    if session.manager.live.dialect != "postgresql":
        return "tables, indexes, views or triggers differ"
    return "tables, indexes, owners or rights differ: a restore brings those of the backup back"


def print_changes(tables: Sequence[TableDiff]) -> None:
    """Print how many rows come, go and change, table by table."""
    rows = [
        (
            table.table,
            f"+{table.gained:,}" if table.gained else "0",
            f"-{table.lost:,}" if table.lost else "0",
            _changed(table),
        )
        for table in tables
    ]
    print_table(("TABLE", ">ADDED", ">REMOVED", ">CHANGED"), rows, indent=12)


def _changed(table: TableDiff) -> str:
    if table.only_in is not None:
        return "table is removed" if table.only_in == "live" else "table is created"
    return f"{table.changed:,}" if table.changed is not None else "other columns"


def tables_of(found: DatabaseDiff) -> list[TableDiff]:
    """Return the application's own tables that differ."""
    return [table for table in found.tables if table.table != _VERSION_TABLE]
