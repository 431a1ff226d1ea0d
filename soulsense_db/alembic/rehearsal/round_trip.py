"""What of the data a migration and its way back did not bring back."""

from __future__ import annotations

from collections.abc import Iterator

from soulsense_db.alembic.rehearsal.renames import is_same_in_sum
from soulsense_db.alembic.rehearsal.wording import rows_text
from soulsense_db.drivers import DatabaseSurvey, DiffReport, TableSurvey


def what_differs(before: DatabaseSurvey, again: DatabaseSurvey, rows: DiffReport) -> list[str]:
    """Return what of the data is not what it was, a sentence each.

    ``rows``: what differs from before to now; a table whose rows could only be counted is known by
    its sums alone.
    """
    known = {table.table: table for table in before.tables}
    new = {table.table: table for table in again.tables}
    found = [f"table {name} is gone" for name in known if name not in new]
    for diff in rows.tables:
        if diff.table not in known or diff.table not in new:
            continue
        if diff.changed is None:
            found += _columns_that_differ(known[diff.table], new[diff.table])
            continue
        found += [f"column {diff.table}.{column} is gone" for column in diff.columns_removed]
        counts = {"gone": diff.removed, "changed": diff.changed, "new": diff.added}
        if said := ", ".join(f"{rows_text(n)} {word}" for word, n in counts.items() if n):
            found.append(f"in {diff.table}, {said}")
    return found


def _columns_that_differ(table: TableSurvey, other: TableSurvey) -> Iterator[str]:
    if other.rows != table.rows:
        yield f"table {table.table} has {other.rows:,} rows, not {table.rows:,}"
        return
    columns = {column.column: column for column in other.columns}
    for column in table.columns:
        if column.column not in columns:
            yield f"column {table.table}.{column.column} is gone"
        elif not is_same_in_sum(column, columns[column.column]):
            yield f"the values of {table.table}.{column.column} are others"
