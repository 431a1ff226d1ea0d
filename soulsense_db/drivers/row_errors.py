"""Why rows of a backup cannot come back, as errors of the tree."""

from __future__ import annotations

from collections.abc import Sequence

from soulsense_db.errors import MissingRightError, OptionError, RowsRefusedError

_RESTORE_ALL = (
    "To use the backup as it is, restore all of it, or export it and copy the rows by hand."
)

# --where


def no_expression(reason: str) -> OptionError:
    """Return the error for a ``where`` that is not one expression."""
    because = f" ({reason})" if reason else ""
    return OptionError(
        f"The condition is not one SQL expression{because}.",
        hint="""Write what follows WHERE, without a semicolon or a comment: id = 17, or """
        """title LIKE 'Mon%' AND mood IS NULL.""",
        reason=reason,
    )


def unknown_column(reason: str, table: str, columns: Sequence[str]) -> OptionError:
    """Return the error for a ``where`` that names a column that the backup's table has not."""
    return OptionError(
        f"The condition cannot be used on {table} in the backup ({reason}).",
        hint=f"Its columns are: {', '.join(columns)}.",
        reason=reason,
        candidates=columns,
    )


def not_usable(reason: str, table: str) -> OptionError:
    """Return the error for a ``where`` that the database refuses for another reason."""
    return OptionError(
        f"The condition cannot be used on {table} in the backup ({reason}).",
        hint="It may read the tables of the backup, and use the database's own functions and "
        "collations.",
        reason=reason,
    )


def not_allowed(reason: str) -> OptionError:
    """Return the error for a ``where`` that would do more than read."""
    return OptionError(
        f"The condition may only read the backup ({reason}).",
        hint="Write a condition over the columns of the table, such as id = 17.",
        reason=reason,
    )


def never_ends(seconds: float) -> OptionError:
    """Return the error for a ``where`` that takes far longer than to read all there is."""
    return OptionError(
        f"The condition was given up after {seconds:,.0f} seconds: to read all of the backup takes "
        "less.",
        hint="Look for a subquery in it that never ends, or that is run for each row.",
    )


# keys


def wrong_key(table: str, names: Sequence[str], given: str) -> OptionError:
    """Return the error for what is no key of the table."""
    called = ", ".join(names)
    return OptionError(
        f"{given} is no key of {table}.",
        hint=f"A key has a number, text, bytes or None for each of these: {called}.",
    )


def no_row_with_key(table: str, key: str) -> RowsRefusedError:
    """Return the error where the backup has no row with a key."""
    return RowsRefusedError(
        f"The backup has no row of {table} with {key}.",
        hint="Check the key, or look into an earlier backup.",
    )


def several_with_key(table: str, key: str, count: int) -> RowsRefusedError:
    """Return the error for a key of which nothing tells which row is meant."""
    return RowsRefusedError(
        f"The backup has {count:,} rows of {table} with {key}.",
        hint="Name the row by a condition instead; in the window, tick all rows with that key.",
    )


# Which table


def no_such_table(name: str, similar: Sequence[str], known: Sequence[str]) -> RowsRefusedError:
    """Return the error for a table that the backup has not."""
    meant = f"Did you mean {' or '.join(similar)}?" if similar else ""
    return RowsRefusedError(
        f"The backup has no table {name}.",
        hint=meant or f"Its tables are: {', '.join(known) or 'none'}.",
        candidates=similar or known,
    )


def gone_table(name: str, similar: Sequence[str]) -> RowsRefusedError:
    """Return the error for a table that only the backup has."""
    meant = f" A table with a similar name is there: {', '.join(similar)}." if similar else ""
    return RowsRefusedError(
        f"The database has no table {name} any more: it was dropped or renamed since.{meant}",
        hint=_RESTORE_ALL,
        candidates=similar,
    )


def no_rows_of_its_own(name: str, kind: str) -> RowsRefusedError:
    """Return the error for what is no table that rows can be written to."""
    why, hint = {
        "view": ("is a view", "Name the table that the view reads."),
        "virtual": (
            "is a virtual table, such as a full-text index",
            "Bring back the rows of the table that it is made from, with --triggers run where "
            "triggers keep it up to date, or rebuild it afterwards.",
        ),
        "shadow": (
            "belongs to a virtual table, such as a full-text index",
            "Bring back the rows of the table that the index is made from.",
        ),
        "foreign": ("is a foreign table", "Its rows are in another database: look there."),
    }.get(kind, ("is a table of the database itself", "Name a table of the application."))
    return RowsRefusedError(f"{name} {why}: it has no rows to bring back.", hint=hint)


def protected(name: str, why: str) -> RowsRefusedError:
    """Return the error for a table whose rows must not come back one by one."""
    return RowsRefusedError(f"Rows of {name} cannot be brought back: {why}.", hint=_RESTORE_ALL)


def no_rows(table: str, where: str | None) -> RowsRefusedError:
    """Return the error where there is nothing to bring back."""
    if where is None:
        return RowsRefusedError(
            f"The table {table} is empty in the backup.", hint="Look into an earlier backup."
        )
    return RowsRefusedError(
        f"No row of {table} in the backup matches the condition.",
        hint="Check the condition, or look into an earlier backup.",
    )


# What has changed since the backup


def other_encoding(backup: str, live: str) -> RowsRefusedError:
    """Return the error for databases that keep text in different encodings."""
    return RowsRefusedError(
        f"The backup keeps text as {backup}, the database as {live}.", hint=_RESTORE_ALL
    )


def other_key(table: str, before: Sequence[str], now: Sequence[str]) -> RowsRefusedError:
    """Return the error for a table with another primary key than in the backup."""
    was, is_now = (f"({', '.join(one)})" if one else "none" for one in (before, now))
    return RowsRefusedError(
        f"The primary key of {table} has changed since the backup: it was {was}, and is {is_now}. "
        "Which rows are the same cannot be told.",
        hint=_RESTORE_ALL,
    )


def key_compares_otherwise(table: str) -> RowsRefusedError:
    """Return the error for a table whose key has a collation that its columns have not."""
    return RowsRefusedError(
        f"The primary key of {table} compares text in another way (COLLATE) than its columns do. "
        "Which rows are the same cannot be told.",
        hint=_RESTORE_ALL,
    )


def unreachable(table: str) -> RowsRefusedError:
    """Return the error for a table whose rows nothing tells apart."""
    return RowsRefusedError(
        f"The rows of {table} cannot be told apart: they have no primary key, or NULL in it, and "
        "columns that are called rowid, _rowid_ and oid.",
        hint=_RESTORE_ALL,
    )


def unreadable_name(table: str) -> RowsRefusedError:
    """Return the error for a table with a column that no statement can name."""
    return RowsRefusedError(
        f"A column of {table} has a name that is no text in the database's encoding.",
        hint=_RESTORE_ALL,
    )


def no_such_column(table: str, names: Sequence[str], known: Sequence[str]) -> OptionError:
    """Return the error for columns to be left out that there are not, or must be there."""
    return OptionError(
        f"{', '.join(names)} cannot be left out: no such column outside the primary key of {table} "
        "in the backup.",
        hint=f"Those that can be: {', '.join(known)}.",
        candidates=known,
    )


def needs_value(table: str, columns: Sequence[str]) -> RowsRefusedError:
    """Return the error for columns that the backup has no value for, and that must have one."""
    return RowsRefusedError(
        f"The backup has no value for {', '.join(columns)}, which every row of {table} must have "
        "now.",
        hint=f"{_RESTORE_ALL} Or give the column a default first.",
    )


def null_value(table: str, column: str, row: str) -> RowsRefusedError:
    """Return the error for a row without a value in a column that must have one now."""
    return RowsRefusedError(
        f"{column} is NULL in the backup's row {row} of {table}, and must have a value now.",
        hint=_RESTORE_ALL,
    )


def column_gone(table: str, column: str, row: str, added: Sequence[str]) -> RowsRefusedError:
    """Return the error for a value that the table has no column for any more."""
    new = f" New since the backup: {', '.join(added)}." if added else ""
    return RowsRefusedError(
        f"{table} has no column {column} any more, and the backup's row {row} has a value in it. "
        f"It would be lost.{new}",
        hint=f"To bring the row back without that value, add --without-column {column}.",
        candidates=[column],
    )


def column_computed(table: str, column: str, row: str) -> RowsRefusedError:
    """Return the error for a value of a column that the table computes now."""
    return RowsRefusedError(
        f"{table} computes its column {column} now, and the backup's row {row} has a value of its "
        "own in it. It would be lost.",
        hint=f"To bring the row back without that value, add --without-column {column}.",
        candidates=[column],
    )


def value_lost(table: str, column: str, row: str) -> RowsRefusedError:
    """Return the error for a value that a column of another type would not keep."""
    return RowsRefusedError(
        f"The type of {table}.{column} has changed since the backup: it would not keep the value "
        f"of the row {row}.",
        hint=f"To bring the row back without that value, add --without-column {column}.",
        candidates=[column],
    )


def refuses_type(table: str, row: str, reason: str) -> RowsRefusedError:
    """Return the error for a value that a STRICT table does not take."""
    return RowsRefusedError(
        f"{table} does not take the backup's row {row} ({reason}).",
        hint=_RESTORE_ALL,
        reason=reason,
    )


# What is in the database now


def clashes(table: str, found: Sequence[str], more: int) -> RowsRefusedError:
    """Return the error for rows whose unique values other rows have now; ``found``: a line each."""
    others = f", and {more} more" if more else ""
    return RowsRefusedError(
        f"Other rows of {table} have values now that must be unique: {'; '.join(found)}{others}.",
        hint="Change or delete those rows first, or leave the rows of the backup out with the "
        "condition.",
        candidates=found,
    )


def refused_by_database(table: str, row: str, reason: str) -> RowsRefusedError:
    """Return the error for a row that a constraint or a trigger of the database refuses."""
    return RowsRefusedError(
        f"The database refuses the backup's row {row} of {table} ({reason}).",
        hint="Leave the row out with the condition, or change what is in its way.",
        reason=reason,
    )


def value_not_taken(table: str, row: str) -> RowsRefusedError:
    """Return the error for a row with a value that a column's type does not take any more."""
    return RowsRefusedError(
        f"{table} does not take the backup's row {row}: a value does not fit into its column, "
        "or a trigger fails with it.",
        hint=_RESTORE_ALL,
    )


def not_owner(reason: str) -> MissingRightError:
    """Return the error for tables of somebody else, whose triggers or keys cannot be set aside."""
    return MissingRightError(
        "A right is missing: triggers are set aside, and foreign keys that lead in a circle put "
        f"off, by the owner of the table alone ({reason}).",
        hint="Use the user who owns the tables. If it is about triggers, --triggers run needs no "
        "such right.",
        reason=reason,
    )


def no_transactions(table: str, engine: str) -> RowsRefusedError:
    """Return the error for a table in which what was written cannot be taken back."""
    return RowsRefusedError(
        f"The table {table} is of the engine {engine}, which knows no transactions: rows might "
        "come back in part.",
        hint=f"Restore the whole backup, or change the table first: ALTER TABLE {table} "
        "ENGINE=InnoDB.",
    )


def cannot_set_aside(table: str, triggers: Sequence[str]) -> RowsRefusedError:
    """Return the error for triggers on a server that cannot let them rest."""
    return RowsRefusedError(
        f"Writing to {table} runs its triggers {', '.join(triggers)}, and this server cannot set "
        "them aside.",
        hint="To have them run, add --triggers run: they may change what is written.",
        candidates=triggers,
    )


def referred_to(table: str, row: str, child: str) -> RowsRefusedError:
    """Return the error for a row that is not replaced: rows refer to a value that would change."""
    return RowsRefusedError(
        f"Rows of {child} refer to the row {row} of {table} by a value that would be replaced: "
        "they would change with it, or refer to nothing.",
        hint="Leave the row out with the condition, or restore the whole backup.",
    )


def one_key_for_two(table: str, row: str) -> RowsRefusedError:
    """Return the error for rows of the backup of which only one could be kept."""
    return RowsRefusedError(
        f"Another row of {table} in the backup is now the same row as the row {row}: the live "
        "database does not tell their keys apart. One would overwrite the other.",
        hint="Choose one of them with the condition.",
    )


def references_refused(reason: str) -> RowsRefusedError:
    """Return the error for rows that the database refuses because of a foreign key."""
    return RowsRefusedError(
        f"The database refuses the rows together: some refer to rows that are not there ({reason})",
        hint="Bring the rows back in one step that belong together, with --with-parents.",
        reason=reason,
    )


def not_kept(table: str, row: str) -> RowsRefusedError:
    """Return the error for a row that is not what was written."""
    return RowsRefusedError(
        f"The row {row} of {table} was not kept as it is in the backup: the database changes it.",
        hint=_RESTORE_ALL,
    )


def triggers_changed(names: Sequence[str]) -> RowsRefusedError:
    """Return the error for triggers that could not be set aside and put back."""
    return RowsRefusedError(
        f"The triggers {', '.join(names)} cannot be set aside while rows are written.",
        hint="To have them run, add --triggers run.",
    )


def changed_since_shown() -> RowsRefusedError:
    """Return the error for a database in which something else would be done than was shown."""
    return RowsRefusedError(
        "The database has changed since these rows were looked at: something else would be done "
        "than was shown.",
        hint="Repeat it, to see what would be done now.",
    )


def schema_changed() -> RowsRefusedError:
    """Return the error for tables that were changed while rows were looked for."""
    return RowsRefusedError(
        "The tables of the database were changed while the rows were looked for.",
        hint="Repeat it, to see what would be done now.",
    )
