"""What a migration did to the data, as findings: by its rows, and by the sums of its columns.

:func:`changes` alone decides what counts as lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from soulsense_db.alembic.rehearsal.renames import Renames
from soulsense_db.alembic.rehearsal.report import Finding, Severity
from soulsense_db.alembic.rehearsal.virtual_tables import by_virtual_table
from soulsense_db.alembic.rehearsal.wording import part_text, rows_text, values_text
from soulsense_db.drivers import (
    ColumnChange,
    ColumnSurvey,
    DatabaseSurvey,
    DiffReport,
    Findings,
    MatchedBy,
    NewKeys,
    ShorterValue,
    TableChange,
    TableSurvey,
)

_SCHEMA = r"(?:(?:\w+|[\"`\[][^\"`\]]+[\"`\]])\.)?"
_REMOVING = (
    r"(?:DELETE\s+FROM(?:\s+ONLY)?|TRUNCATE(?:\s+TABLE)?(?:\s+ONLY)?|DROP\s+TABLE(?:\s+IF\s+EXISTS)?|(?:INSERT\s+OR\s+)?REPLACE\s+INTO)\s+"
    rf"{_SCHEMA}{{name}}(?!\w)"
)


def changes(
    before: DatabaseSurvey,
    after: DatabaseSurvey,
    rows: DiffReport,
    *,
    removing: Sequence[str],
    renames: Renames,
    new_keys: Mapping[str, NewKeys],
    remedy: str,
    database: Path,
) -> list[Finding]:
    """Return what is gone, and what is another value now.

    ``rows``: what differs from before to after; ``removing``: the statements that ran and can
    remove something; ``renames``: what has its old name in ``after`` and ``rows``, and another in
    the database; ``new_keys``: by table, rows that have other keys and are the same otherwise;
    ``remedy``: lines for env.py that keep rows which refer to a table that is created anew.
    """
    comparison = _Comparison(
        before,
        after,
        rows,
        removing=removing,
        renames=renames,
        new_keys=new_keys,
        remedy=remedy,
        database=database,
    )
    return comparison.findings()


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
        remedy: str,
        database: Path,
    ) -> None:
        self._before = {table.table: table for table in before.tables}
        self._after = {table.table: table for table in after.tables}
        self._rows = {table.table: table for table in rows.tables}
        self._removing = removing
        # A table that only has such a name is written to by it; that of a virtual table never is.
        self._owners = {
            one.table: one.part_of
            for one in rows.tables
            if one.part_of
            and not (self._is_removed_from(one.table) or self._may_have_new_keys(one.table))
        }
        self._new_names = renames
        self._new_keys = new_keys
        self._remedy = remedy
        self._database = database
        self._cascades: dict[str, str] = {}  # the table whose rows went first, by table

    def findings(self) -> list[Finding]:
        """Return them, table by table; what took rows of other tables along comes before those."""
        found = by_virtual_table(self._each(), self._owners)
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
        sentence = f"Table {old.table} is dropped, with its {rows_text(old.rows)}."
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
                assert rows is not None
                yield from self._of_values(old, changed[column.column], rows.key)

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
                f"In table {old.table}, {part_text(gone, old.rows, 'row')} are not there any more "
                f"as they were. Whether they changed or are lost cannot be told: {why}."
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
            f"In table {old.table}, {part_text(keys.rows, old.rows, 'row')} have other primary keys"
            f"{example}. No row is lost, and nothing else of them changed. See that all that knows "
            "the old keys follows: rows of other tables, and what is outside of the database, such "
            "as links and exports."
        )
        return self._finding("keys_changed", "warning", sentence, table=old.table)

    def _of_rows(self, old: TableSurvey, new: TableSurvey, lost: int) -> Finding:
        sentence = f"Table {old.table} loses {part_text(lost, old.rows, 'row')}."
        gained = new.rows - old.rows + lost
        if gained > 0:
            sentence = f"{sentence[:-1]}, and gets {gained:,} that it did not have."
        if any(map(self._is_removed_from, (old.table, self._owners.get(old.table), *old.part_of))):
            return self._finding("rows_lost", "loss", sentence, table=old.table)
        parents = [name for name in old.parents if self._is_removed_from(name)] or [
            name
            for name in old.parents
            if name in self._before
            and (name not in self._after or self._after[name].rows < self._before[name].rows)
        ]
        if not parents and self._may_have_new_keys(old.table) and gained > 0:
            sentence = (
                f"In table {old.table}, {part_text(lost, old.rows, 'row')} are not there any more "
                f"under their primary keys, and {gained:,} have new ones. The migration updates "
                "the table, and may have given rows other keys; that they are the same rows "
                "otherwise could not be shown."
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
        if parent not in self._after or self._after[parent].rows < self._before[parent].rows:
            return self._finding("cascade", "loss", sentence, table=old.table)
        sentence += (
            f" The migration drops {parent} to create it anew; with foreign keys switched on, that "
            f"deletes all its rows first. To keep the rows of {old.table}, have env.py switch "
            "foreign keys off when it connects, before a transaction begins."
        )
        return self._finding("cascade", "loss", sentence, table=old.table, remedy=self._remedy)

    def _is_removed_from(self, table: str | None) -> bool:
        if table is None:
            return False
        pattern = re.compile(_REMOVING.format(name=_written(table)), re.IGNORECASE)
        return any(pattern.search(statement) for statement in self._removing)

    def _may_have_new_keys(self, table: str) -> bool:
        updating = rf"UPDATE\s+(?:OR\s+\w+\s+)?{_SCHEMA}{_written(table)}(?!\w)"
        return any(re.match(updating, one, re.IGNORECASE) for one in self._removing)

    def _of_dropped_column(self, old: TableSurvey, column: ColumnSurvey) -> Finding:
        name = f"{old.table}.{column.column}"
        if not column.values:
            sentence = f"Column {name} is dropped. It had no values."
            return self._finding(
                "column_dropped", "notice", sentence, table=old.table, column=column
            )
        sentence = f"Column {name} is dropped, with its {values_text(column.values)}."
        return self._finding("column_dropped", "loss", sentence, table=old.table, column=column)

    def _of_values(
        self, table: TableSurvey, of: ColumnChange, key: Sequence[str]
    ) -> Iterator[Finding]:
        """Yield what became of the values of a column, row by row."""
        name = f"{table.table}.{of.column}"
        column = next(one for one in table.columns if one.column == of.column)
        if of.became_null:
            lost = part_text(of.became_null, column.values, "value")
            sentence = f"Column {name} loses {lost}: they are NULL now."
            yield self._finding("values_lost", "loss", sentence, table=table.table, column=column)
        if of.became_shorter:
            sentence = f"{values_text(of.became_shorter)} of {name} became shorter"
            sentence += f"{_example(of.first_shorter, key)}."
            yield self._finding(
                "values_shortened", "loss", sentence, table=table.table, column=column
            )
        if of.became_inexact:
            sentence = f"{values_text(of.became_inexact)} of {name} became less exact: "
            sentence += f"{_what_is_less(column, of.became_inexact)}."
            yield self._finding(
                "values_rounded", "loss", sentence, table=table.table, column=column
            )
        if others := of.differing - of.became_null - of.became_shorter - of.became_inexact:
            if self._is_dropped(table.table, of.column):
                sentence = f"Column {name} is dropped and made anew: {values_text(others)} changed."
                yield self._finding(
                    "column_dropped", "loss", sentence, table=table.table, column=column
                )
                return
            sentence = f"{values_text(others)} of {name} changed."
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
            sentence = (
                f"Column {name} loses {part_text(lost, was.values, 'value')}: they are NULL now."
            )
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
        remedy: str = "",
    ) -> Finding:
        return Finding(
            kind=kind,
            severity=severity,
            sentence=sentence,
            database=self._database,
            table=table,
            column=column.column if column else "",
            remedy=remedy,
        )


def _written(name: str) -> str:
    """Return the pattern of a name in a statement: in quotes or not, with its schema if any."""
    return r"\.".join(rf"[\"`\[]?{re.escape(part)}[\"`\]]?" for part in name.split("."))


def _example(of: ShorterValue | None, key: Sequence[str]) -> str:
    """Return how long the first of them was and is; not what it says, which may be private.

    So may be a key that is no number.
    """
    if of is None:
        return ""
    where = "in one of them"
    numbers = [value for value in of.key if type(value) is int]
    if numbers and len(numbers) == len(of.key):
        named = zip(key or ("rowid",), numbers, strict=True)
        where = f"where {', '.join(f'{column} is {value}' for column, value in named)}"
    return f" ({where}: from a length of {of.before:,} to {of.after:,})"


def _what_is_less(column: ColumnSurvey, count: int) -> str:
    """Return what numbers of a column lost, by what was in it before."""
    rounded = "a number was rounded" if count == 1 else "numbers were rounded"
    converted = (
        "text became a number, and had more in it, such as leading zeros or words behind the number"
    )
    if not column.texts:
        return rounded
    return converted if column.texts == column.values else f"{rounded}, or {converted}"


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
