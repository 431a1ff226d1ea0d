"""What ``diff`` prints for a person."""

from __future__ import annotations

from collections.abc import Iterator

from soulsense_db.cli.output import print_table, say
from soulsense_db.cli.shown_values import shown, shown_pair
from soulsense_db.drivers import DiffReport, RowChange, TableChange
from soulsense_db.shown_text import printable

_WORDS = {"added": "+", "removed": "-", "changed": "~"}
_ONLY_COUNTED = "?"
_VERSION_TABLE = "alembic_version"


def print_diff(report: DiffReport) -> None:
    """Print the differences: of the schema, of rows, of values, and the samples."""
    if report.schema:
        say("")
        say("Schema")
        for change in report.schema:
            say(f"  {change.sentence}")
    tables = tables_with_other_rows(report)
    if tables:
        _print_rows(tables)
        own = [table for table in tables if table.part_of is None]
        _print_values(own)
        for table in own:
            _print_samples(table)
    say("")
    say(summary(report))


def summary(report: DiffReport) -> str:
    """Return in one sentence how much differs."""
    if report.identical:
        return f"No differences: {_number(len(_told_tables(report)), 'table')} compared."
    tables = tables_with_other_rows(report)
    if not tables:
        other = has_other_revision(report)
        told = "the rows are the same" + ", the revision is not" * other
        return f"{_number(len(report.schema), 'difference')} of the schema; {told}."
    added, removed = (sum(counts(table)[at] or 0 for table in tables) for at in (0, 1))
    changed = sum(table.changed or 0 for table in tables)
    return (
        f"{_number(len(report.schema), 'difference')} of the schema; rows differ in "
        f"{len(tables):,} of {_number(len(_told_tables(report)), 'table')}: {added:,} added, "
        f"{removed:,} removed, {changed:,} changed."
    )


def tables_with_other_rows(report: DiffReport) -> list[TableChange]:
    """Return the tables whose rows differ; Alembic's is told of as the revision."""
    return [table for table in _told_tables(report) if table.differs and has_other_rows(table)]


def _told_tables(report: DiffReport) -> list[TableChange]:
    """Return the tables of the application, or Alembic's where only that is asked for."""
    own = [table for table in report.tables if table.table != _VERSION_TABLE]
    return own or list(report.tables)


def has_other_revision(report: DiffReport) -> bool:
    """Whether the Alembic revisions differ."""
    return report.alembic_heads_before != report.alembic_heads_after


def has_other_rows(table: TableChange) -> bool:
    """Whether rows differ, or nobody can tell."""
    return (table.added, table.removed, table.changed) != (0, 0, 0)


def counts(table: TableChange) -> tuple[int, int, int | None]:
    """Return how many rows were added, removed and changed."""
    return table.added, table.removed, table.changed


def shown_name(table: TableChange) -> str:
    """Return the name of a table, and the virtual table that it is part of."""
    return f"{table.table} (of {table.part_of})" if table.part_of else table.table


def _number(count: int, of: str) -> str:
    return f"{count:,} {of}" if count == 1 else f"{count:,} {of}s"


def _print_rows(tables: list[TableChange]) -> None:
    say("")
    say("Rows")
    rows = [
        (
            shown_name(table),
            shown_count(table.rows_before),
            shown_count(table.rows_after),
            f"+{table.added:,}" if table.added else "0",
            f"-{table.removed:,}" if table.removed else "0",
            _ONLY_COUNTED if table.changed is None else f"{table.changed:,}",
        )
        for table in tables
    ]
    print_table(("TABLE", ">BEFORE", ">AFTER", ">ADDED", ">REMOVED", ">CHANGED"), rows, indent=2)
    for table in tables:
        if table.note:
            say(f"  {table.table}: {table.note}")


def shown_count(rows: int | None) -> str:
    """Return a number of rows; a dash where there is no such table."""
    return "-" if rows is None else f"{rows:,}"


def _print_values(tables: list[TableChange]) -> None:
    """Print which columns changed, and where values were lost or cut."""
    rows = [
        (
            f"{table.table}.{column.column}",
            f"{column.differing:,}",
            f"{column.became_null:,}",
            f"{column.became_shorter:,}",
            f"{column.became_inexact:,}",
        )
        for table in tables
        for column in table.columns
    ]
    if rows:
        say("")
        say("Values, in the rows that changed")
        print_table(("COLUMN", ">DIFFER", ">NOW NULL", ">SHORTER", ">LESS EXACT"), rows, indent=2)


def _print_samples(table: TableChange) -> None:
    if not table.samples:
        return
    say("")
    say(f"Samples of {shown_name(table)}")
    for sample in table.samples:
        say(f"  {_WORDS[sample.kind]} {' '.join([sample.kind, *_key(table, sample)])}")
        values = list(values_of(table, sample))
        if sample.kind == "changed":
            print_table(("COLUMN", "BEFORE", "AFTER"), values, indent=6)
        else:
            one = [(name, before or after) for name, before, after in values]
            print_table(("COLUMN", "VALUE"), one, indent=6)


def _key(table: TableChange, sample: RowChange) -> Iterator[str]:
    names = table.key or ("rowid",)
    for name, value in zip(names, sample.key, strict=False):
        yield f"{printable(name)}={shown(value)}"


def values_of(table: TableChange, sample: RowChange) -> Iterator[tuple[str, str, str]]:
    """Yield each column with its values before and after; of a changed row those that differ."""
    for at, name in enumerate(table.compared):
        if sample.before is None:
            assert sample.after is not None
            yield name, "", shown(sample.after[at])
        elif sample.after is None:
            yield name, shown(sample.before[at]), ""
        else:
            before, after = sample.before[at], sample.after[at]
            if before != after or type(before) is not type(after):
                yield name, *shown_pair(before, after)
