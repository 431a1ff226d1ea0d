"""What a migration did to the data, as findings: by its rows, and by the sums of its columns.

:func:`changes` alone decides what counts as lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from soulsense_db.alembic.rehearsal.renames import Renames, is_same_in_sum
from soulsense_db.alembic.rehearsal.report import Finding, Severity, TableRows
from soulsense_db.drivers import (
    ColumnChange,
    ColumnSurvey,
    DatabaseSurvey,
    DiffReport,
    Findings,
    MatchedBy,
    NewKeys,
    TableChange,
    TableSurvey,
)

_REMOVING = (
    r"(?:DELETE\s+FROM|DROP\s+TABLE(?:\s+IF\s+EXISTS)?|(?:INSERT\s+OR\s+)?REPLACE\s+INTO)\s+"
    r"(?:main\.)?[\"`\[]?{name}[\"`\]]?(?!\w)"
)


def changes(
    before: DatabaseSurvey,
    after: DatabaseSurvey,
    rows: DiffReport,
    *,
    removing: Sequence[str],
    renames: Renames,
    new_keys: Mapping[str, NewKeys],
    database: Path,
) -> list[Finding]:
    """Return what is gone, and what is another value now.

    ``rows``: what differs from before to after; ``removing``: the statements that ran and can
    remove something; ``renames``: what has its old name in ``after`` and ``rows``, and another in
    the database; ``new_keys``: by table, rows that have other keys and are the same otherwise.
    """
    comparison = _Comparison(
        before,
        after,
        rows,
        removing=removing,
        renames=renames,
        new_keys=new_keys,
        database=database,
    )
    return comparison.findings()


def rows_of(before: DatabaseSurvey, after: DatabaseSurvey | None) -> tuple[TableRows, ...]:
    """Return the rows of each table, before and after."""
    old, new = _rows(before), _rows(after) if after else {}
    return tuple(
        TableRows(table=name, before=old.get(name), after=new.get(name))
        for name in sorted(old.keys() | new.keys())
    )


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
        if said := ", ".join(f"{_rows_of(n)} {word}" for word, n in counts.items() if n):
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


def _rows(survey: DatabaseSurvey) -> dict[str, int]:
    return {table.table: table.rows for table in survey.tables}


class _Comparison:
    def __init__(
        self,
        before: DatabaseSurvey,
        after: DatabaseSurvey,
        rows: DiffReport,
        *,
        removing: Sequence[str],
        renames: Renames,
        new_keys: Mapping[str, NewKeys],
        database: Path,
    ) -> None:
        self._before = {table.table: table for table in before.tables}
        self._after = {table.table: table for table in after.tables}
        self._rows = {table.table: table for table in rows.tables}
        self._removing = removing
        self._new_names = renames
        self._new_keys = new_keys
        self._database = database
        self._cascades: dict[str, str] = {}  # the table whose rows went first, by table

    def findings(self) -> list[Finding]:
        """Return them, table by table; what took rows of other tables along comes before those."""
        found = list(self._each())
        return sorted(found, key=lambda one: self._depth(one.table))

    def _depth(self, table: str) -> int:
        passed = []
        while table in self._cascades and table not in passed:
            passed.append(table)
            table = self._cascades[table]
        return len(passed)

    def _each(self) -> Iterator[Finding]:
        for name, old in self._before.items():
            new = self._after.get(name)
            if new is None:
                yield self._of_dropped(old)
                continue
            if name in self._new_names.tables:
                sentence = f"Table {name} is renamed to {self._new_names.tables[name]}."
                yield self._finding("renamed", "notice", sentence, table=name)
            yield from self._of_table(old, new)

    def _of_dropped(self, old: TableSurvey) -> Finding:
        if not old.rows:
            sentence = f"Table {old.table} is dropped. It was empty."
            return self._finding("table_dropped", "notice", sentence, table=old.table)
        sentence = f"Table {old.table} is dropped, with its {_rows_of(old.rows)}."
        return self._finding("table_dropped", "loss", sentence, table=old.table)

    def _of_table(self, old: TableSurvey, new: TableSurvey) -> Iterator[Finding]:
        rows = self._rows.get(old.table)
        if rows is not None and rows.changed is not None and self._is_without_identity(rows):
            yield from self._of_unmatched(old, new, rows.removed + rows.changed, rows.matched_by)
            return
        if rows is not None and rows.changed is None:
            rows = None
            sentence = f"Rows of {old.table} are compared by sums alone: nothing matches them."
            yield self._finding("not_measured", "warning", sentence, table=old.table)
        lost = max(0, old.rows - new.rows) if rows is None else rows.removed
        changed = {one.column: one for one in rows.columns} if rows else {}
        if (keys := self._other_keys(old.table)) is not None:
            yield self._of_keys(old, keys)
            changed = {} if keys.has_changed else changed
        elif lost:
            yield self._of_rows(old, new, lost)
        columns = {column.column: column for column in new.columns}
        for column in old.columns:
            found = columns.get(column.column)
            if found is None:
                yield self._of_dropped_column(old, column)
                continue
            if now := self._new_names.columns.get((old.table, column.column)):
                sentence = f"Column {old.table}.{column.column} is renamed to {now}."
                yield self._finding("renamed", "notice", sentence, table=old.table, column=column)
            if rows is None:
                yield from self._of_column(old, new, column, found)
            elif column.column in changed:
                yield from self._of_values(old, changed[column.column])

    def _is_without_identity(self, rows: TableChange) -> bool:
        """Whether nobody knows which row became which, but only which are there as they were."""
        if rows.matched_by == "rowid":  # of a table that was created anew, numbers mean nothing
            return bool(rows.changed) and self._is_created_anew(rows.table)
        return rows.matched_by == "values"

    def _is_created_anew(self, table: str) -> bool:
        dropped = rf"DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?[\"`\[]?{re.escape(table)}[\"`\]]?\s*;?$"
        return any(re.match(dropped, statement, re.IGNORECASE) for statement in self._removing)

    def _is_dropped(self, table: str, column: str) -> bool:
        names = [rf"[\"`\[]?{re.escape(name)}[\"`\]]?" for name in (table, column)]
        dropped = rf"ALTER\s+TABLE\s+{names[0]}\s+DROP\s+(?:COLUMN\s+)?{names[1]}\s*;?$"
        return any(re.match(dropped, statement, re.IGNORECASE) for statement in self._removing)

    def _of_unmatched(
        self, old: TableSurvey, new: TableSurvey, gone: int, matched_by: MatchedBy
    ) -> Iterator[Finding]:
        if gone:
            why = "it has no primary key" if matched_by == "rowid" else "nothing matches its rows"
            sentence = (
                f"In table {old.table}, {_of(gone, old.rows, 'row')} are not there any more as "
                f"they were. Whether they changed or are lost cannot be told: {why}."
            )
            yield self._finding("rows_not_found", "loss", sentence, table=old.table)
        names = {column.column for column in new.columns}
        for column in old.columns:
            if column.column not in names:
                yield self._of_dropped_column(old, column)

    def _other_keys(self, table: str) -> NewKeys | None:
        """Return which rows have other keys, where they are the same rows beyond doubt.

        A key that says something is one of the row's values: a row that is deleted, and another
        that is made with the same of the others, are two.
        """
        keys = self._new_keys.get(table)
        if keys is None or keys.is_number:
            return keys
        is_updated = self._may_have_new_keys(table) and not self._is_removed_from(table)
        return keys if is_updated else None

    def _of_keys(self, old: TableSurvey, keys: NewKeys) -> Finding:
        example = ""
        if keys.example is not None:
            example = " ({} {} is {} now)".format(keys.column, *keys.example)
        sentence = (
            f"In table {old.table}, {_of(keys.rows, old.rows, 'row')} have other primary keys"
            f"{example}. No row is lost, and nothing else of them changed. See that all that knows "
            "the old keys follows: rows of other tables, and what is outside of the database, such "
            "as links and exports."
        )
        return self._finding("keys_changed", "warning", sentence, table=old.table)

    def _of_rows(self, old: TableSurvey, new: TableSurvey, lost: int) -> Finding:
        sentence = f"Table {old.table} loses {_of(lost, old.rows, 'row')}."
        gained = new.rows - old.rows + lost
        if gained > 0:
            sentence = f"{sentence[:-1]}, and gets {gained:,} that it did not have."
        if self._is_removed_from(old.table):
            return self._finding("rows_lost", "loss", sentence, table=old.table)
        parents = [name for name in old.parents if self._is_removed_from(name)] or [
            name
            for name in old.parents
            if name in self._before
            and (name not in self._after or self._after[name].rows < self._before[name].rows)
        ]
        if not parents and self._may_have_new_keys(old.table) and gained > 0:
            sentence = (
                f"In table {old.table}, {_of(lost, old.rows, 'row')} are not there any more under "
                f"their primary keys, and {gained:,} have new ones. The migration updates the "
                "table, and may have given rows other keys; that they are the same rows otherwise "
                "could not be shown."
            )
            return self._finding("rows_not_found", "loss", sentence, table=old.table)
        if not parents:
            sentence += (
                " No statement of the migration deletes from it: a trigger may have, or a "
                "connection of its own."
            )
            return self._finding("rows_lost", "loss", sentence, table=old.table)
        parent = self._cascades[old.table] = parents[0]
        sentence += (
            " No statement of the migration deletes from it: its rows refer to rows of "
            f"{parent} with ON DELETE CASCADE, and went with those."
        )
        if parent in self._after and self._after[parent].rows >= self._before[parent].rows:
            sentence += (
                f" The migration drops {parent} to create it anew; with foreign keys switched on, "
                f"that deletes all its rows first. To keep the rows of {old.table}, have env.py "
                "switch foreign keys off when it connects, before a transaction begins."
            )
        return self._finding("cascade", "loss", sentence, table=old.table)

    def _is_removed_from(self, table: str) -> bool:
        pattern = re.compile(_REMOVING.format(name=re.escape(table)), re.IGNORECASE)
        return any(pattern.search(statement) for statement in self._removing)

    def _may_have_new_keys(self, table: str) -> bool:
        updating = rf"UPDATE\s+(?:OR\s+\w+\s+)?(?:main\.)?[\"`\[]?{re.escape(table)}[\"`\]]?(?!\w)"
        return any(re.match(updating, one, re.IGNORECASE) for one in self._removing)

    def _of_dropped_column(self, old: TableSurvey, column: ColumnSurvey) -> Finding:
        name = f"{old.table}.{column.column}"
        if not column.values:
            sentence = f"Column {name} is dropped. It had no values."
            return self._finding(
                "column_dropped", "notice", sentence, table=old.table, column=column
            )
        sentence = f"Column {name} is dropped, with its {_values_of(column.values)}."
        return self._finding("column_dropped", "loss", sentence, table=old.table, column=column)

    def _of_values(self, table: TableSurvey, of: ColumnChange) -> Iterator[Finding]:
        """Yield what became of the values of a column, row by row."""
        name = f"{table.table}.{of.column}"
        column = next(one for one in table.columns if one.column == of.column)
        if of.became_null:
            sentence = (
                f"Column {name} loses {_of(of.became_null, column.values, 'value')}: they are NULL "
                "now."
            )
            yield self._finding("values_lost", "loss", sentence, table=table.table, column=column)
        if of.became_shorter:
            sentence = f"{_values_of(of.became_shorter)} of {name} became shorter."
            yield self._finding(
                "values_shortened", "loss", sentence, table=table.table, column=column
            )
        if of.became_inexact:
            sentence = (
                f"{_values_of(of.became_inexact)} of {name} became less exact: a number was "
                "rounded, or a text that became a number had more in it, such as leading zeros."
            )
            yield self._finding(
                "values_rounded", "loss", sentence, table=table.table, column=column
            )
        if others := of.differing - of.became_null - of.became_shorter - of.became_inexact:
            if self._is_dropped(table.table, of.column):
                sentence = f"Column {name} is dropped and made anew: {_values_of(others)} changed."
                yield self._finding(
                    "column_dropped", "loss", sentence, table=table.table, column=column
                )
                return
            sentence = f"{_values_of(others)} of {name} changed."
            yield self._finding(
                "values_changed", "notice", sentence, table=table.table, column=column
            )

    def _of_column(
        self, old: TableSurvey, new: TableSurvey, was: ColumnSurvey, now: ColumnSurvey
    ) -> Iterator[Finding]:
        name = f"{old.table}.{was.column}"
        # Rows that are gone took their values with them, and new ones may have none.
        nulls = (new.rows - now.values) - (old.rows - was.values)
        lost = min(was.values - now.values, nulls)
        if lost > 0:
            sentence = f"Column {name} loses {_of(lost, was.values, 'value')}: they are NULL now."
            yield self._finding("values_lost", "loss", sentence, table=old.table, column=was)
        elif new.rows >= old.rows and now.texts >= was.texts and now.length < was.length:
            sentence = (
                f"Values of {name} are shorter: {was.length:,} characters in all before, "
                f"{now.length:,} after."
            )
            yield self._finding("values_shortened", "loss", sentence, table=old.table, column=was)

    def _finding(
        self,
        kind: str,
        severity: Severity,
        sentence: str,
        *,
        table: str,
        column: ColumnSurvey | None = None,
    ) -> Finding:
        return Finding(
            kind=kind,
            severity=severity,
            sentence=sentence,
            database=self._database,
            table=table,
            column=column.column if column else "",
        )


def new_problems(path: Path, found: Findings, before: Findings | None) -> Iterator[Finding]:
    """Yield what is wrong with rows and references, and was not before."""
    severity: Severity = "error" if before is not None else "warning"
    old = {*before.row_errors, *before.warnings} if before else set()
    for kind, lines in (("constraint", found.row_errors), ("reference", found.warnings)):
        for line in lines:
            if line not in old:
                sentence = f"After the migration, {line}."
                if before is None:
                    sentence += " Whether that was so before could not be told."
                yield Finding(kind=kind, severity=severity, sentence=sentence, database=path)


def _rows_of(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _of(part: int, whole: int, what: str) -> str:
    """Return how many of how many, in words."""
    if part == whole > 1:
        return f"all its {whole:,} {what}s"
    return f"{part:,} {what}{'' if part == 1 else 's'} of {whole:,}"


def _values_of(count: int) -> str:
    return f"{count:,} value{'' if count == 1 else 's'}"
