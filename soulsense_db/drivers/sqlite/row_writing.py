"""Write rows of a backup to the live database: in a transaction of the caller, all or none.

An insert is INSERT OR ABORT and a replacement is UPDATE OR ABORT: the conflict clause of a
constraint, such as ON CONFLICT REPLACE, would delete a row that nobody was asked about.

A trigger does not run if it is not there. The triggers of the tables are dropped and made again
in the same transaction, from the SQL that the schema has for them: whoever looks from outside, or
after a kill, finds them as they were.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from soulsense_db.drivers.row_errors import (
    changed_since_shown,
    not_kept,
    refused_by_database,
    triggers_changed,
)
from soulsense_db.drivers.row_plan import Triggers
from soulsense_db.drivers.sqlite.errors import reason_of
from soulsense_db.drivers.sqlite.pragmas import quoted
from soulsense_db.drivers.sqlite.row_pairs import Pair
from soulsense_db.drivers.sqlite.row_planning import Draft, Writes
from soulsense_db.drivers.sqlite.row_selection import Ident
from soulsense_db.drivers.sqlite.row_tables import Tables, Trigger
from soulsense_db.drivers.sqlite.row_values import Row, bound, is_same, placeholder

_TELL_EVERY = 100


def write_rows(
    live: Tables,
    draft: Draft,
    *,
    triggers: Triggers,
    tell: Callable[[int], object] = lambda _: None,
) -> None:
    """Write all rows of ``draft`` through the connection of ``live``, which is in a transaction.

    ``tell`` is called with how many are written. Raises
    :class:`~soulsense_db.errors.RowsRefusedError`; the caller rolls back.
    """
    # A row may come before the one that it refers to: the references are looked at in the end.
    live.connection.execute("PRAGMA defer_foreign_keys = ON")
    names = [writes.pair.name for writes in draft.tables if writes.actions]
    skipped = [one for name in names for one in live.triggers(name)] if triggers == "skip" else []
    done = 0
    with _without(live, skipped):
        for writes in draft.tables:
            for ident in writes.actions:
                _write(writes, ident, is_exact=triggers == "skip")
                done += 1
                if done % _TELL_EVERY == 0:
                    tell(done)


def _write(writes: Writes, ident: Ident, *, is_exact: bool) -> None:
    """Write one row, which is there then. ``is_exact``: nothing may change it on the way."""
    pair = writes.pair
    row = pair.read(ident)
    try:
        if writes.actions[ident] == "replace":
            _update(pair, row)
            written = pair.find(row)
        else:
            rowid = _insert(pair, ident, row)
            written = pair.find(row) if pair.has_key(row) else pair.at_rowid(rowid)
    except sqlite3.IntegrityError as error:
        raise refused_by_database(pair.name, pair.called(row), reason_of(error)) from error
    if written is None or (is_exact and not is_same(written, row)):
        raise not_kept(pair.name, pair.called(row))


def _insert(pair: Pair, ident: Ident, row: Row) -> int:
    columns, values = [quoted(name) for name in pair.columns], list(row)
    if pair.shape.rowid is not None and pair.is_free(ident):
        columns.append(pair.shape.rowid)
        values.append(ident)
    table = f"INSERT OR ABORT INTO main.{quoted(pair.name)}"
    marks = ", ".join(map(placeholder, values))
    statement = f"{table} ({', '.join(columns)}) VALUES ({marks})"
    cursor = _run(pair, row, statement if columns else f"{table} DEFAULT VALUES", values)
    return cursor.lastrowid or 0


def _update(pair: Pair, row: Row) -> None:
    found = pair.find(row)
    if found is None:  # a trigger removed it
        raise changed_since_shown()
    changed = [at for at in range(len(row)) if not is_same((row[at],), (found[at],))]
    if not changed:
        return
    setting = ", ".join(f"{quoted(pair.columns[at])} = {placeholder(row[at])}" for at in changed)
    condition, parameters = pair.by_key(row)
    statement = f"UPDATE OR ABORT main.{quoted(pair.name)} SET {setting} WHERE {condition}"  # noqa: S608 - quoted
    values = bound([row[at] for at in changed], pair.live.encoding)
    _run(pair, row, statement, [*values, *parameters])


def _run(pair: Pair, row: Row, statement: str, values: Sequence[object]) -> sqlite3.Cursor:
    cursor = pair.live.connection.execute(statement, bound(values, pair.live.encoding))
    if cursor.rowcount == 0:  # a trigger with RAISE(IGNORE)
        raise not_kept(pair.name, pair.called(row))
    return cursor


@contextmanager
def _without(live: Tables, triggers: list[Trigger]) -> Iterator[None]:
    """Drop ``triggers`` for the block. After an error the caller rolls back, and they are there."""
    if not triggers:
        yield
        return
    before = _all_triggers(live)
    for one in triggers:
        live.connection.execute(f"DROP TRIGGER {one.schema}.{quoted(one.name)}")
    yield
    for one in triggers:
        sql = one.sql
        if one.schema == "temp":  # the schema has it without that word
            sql = sql.replace("CREATE TRIGGER", "CREATE TEMP TRIGGER", 1)
        live.connection.execute(sql)
    if _all_triggers(live) != before:
        raise triggers_changed([one.name for one in triggers])


def _all_triggers(live: Tables) -> list[Row]:
    statement = (
        "SELECT 'main' AS a, +name AS b, +tbl_name AS c, +sql AS d FROM main.sqlite_master "
        "WHERE type = 'trigger' UNION ALL SELECT 'temp', name, tbl_name, sql "
        "FROM sqlite_temp_master WHERE type = 'trigger'"
    )
    return sorted(live.rows(statement), key=repr)
