"""What the schema of an SQLite database says, by tables and other things with a name."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator

from soulsense_db.drivers.schema_parts import Column, Index, Named, Schema, TableSchema
from soulsense_db.drivers.sqlite.as_stored import UnsendableError, require_sendable
from soulsense_db.drivers.sqlite.pragmas import folded, quoted
from soulsense_db.drivers.sqlite.rows import OWN_PREFIX, Row, Side
from soulsense_db.drivers.sqlite.table_sql import read_table
from soulsense_db.errors import BackupError

_VIRTUAL = "CREATE VIRTUAL"
_SETTINGS = ("user_version", "application_id", "encoding")
_NO_ACTION = "NO ACTION"
# PRAGMA table_xinfo: of a virtual table; computed when it is read; computed and stored.
_GENERATED = {2: "VIRTUAL", 3: "STORED"}
# PRAGMA index_list: what made an index.
_BY_STATEMENT, _BY_UNIQUE = "c", "u"


def virtual_owners(schema: Schema) -> dict[str, str]:
    """Return the virtual table whose own data each table has that is of one."""
    virtual = [name for name, table in schema.tables.items() if table.is_virtual]
    owners: dict[str, str] = {}
    for name in schema.tables:
        own = [one for one in virtual if name.startswith(f"{one}_") and name not in virtual]
        if own:
            owners[name] = max(own, key=len)
    return owners


def schema_of(side: Side, *, leaves_out: Collection[str]) -> Schema:
    """Read the schema of a database but what is of the tables in ``leaves_out``."""
    settings = {name: str(next(side.query(f"PRAGMA {name}"))[0]) for name in _SETTINGS}
    schema = Schema(settings)
    of_tables: dict[str, list[tuple[str, str]]] = defaultdict(list)
    statement = "SELECT type, name, tbl_name, sql FROM main.sqlite_master ORDER BY name"
    for kind, name, table, sql in list(side.query(statement)):
        if not isinstance(name, str) or not isinstance(sql, str) or name.startswith(OWN_PREFIX):
            continue
        if table in leaves_out or not _can_be_sent(f"{name}{table}"):
            continue
        if kind == "table":
            schema.tables[name] = _table(side, name, sql)
        elif kind == "index":
            of_tables[table].append((name, sql))
        elif kind == "view":
            schema.views[name] = Named(None, sql)
        elif kind == "trigger":
            schema.triggers[name] = Named(table, sql)
    for table, found in of_tables.items():
        unique = {row[1]: bool(row[2]) for row in _pragma(side, "index_list", table)}
        for name, sql in found:
            kind = "unique " if unique.get(name) else ""
            text = f"{kind}({', '.join(_indexed(side, name))})"
            schema.indexes[name] = Index(table, text, sql)
    return schema


def _can_be_sent(names: str) -> bool:
    try:
        require_sendable(names)
    except UnsendableError:
        return False
    return True


def _table(side: Side, name: str, sql: str) -> TableSchema:
    if sql.lstrip().upper().startswith(_VIRTUAL):
        return _virtual_table(side, name, sql)
    said = read_table(sql)
    columns: dict[str, Column] = {}
    key: list[tuple[int, str]] = []
    for row in _pragma(side, "table_xinfo", name):
        columns[row[1]] = _column(row, said.collations.get(folded(row[1]), ""))
        if row[5]:
            key.append((row[5], row[1]))
    uniques = Counter(
        f"({', '.join(_indexed(side, row[1]))})"
        for row in _pragma(side, "index_list", name)
        if row[3] == _BY_UNIQUE
    )
    return TableSchema(
        sql,
        False,
        columns,
        tuple(column for _, column in sorted(key)),
        uniques,
        Counter(_foreign_keys(side, name)),
        Counter(said.checks),
        said.options,
    )


def _virtual_table(side: Side, name: str, sql: str) -> TableSchema:
    """Have no columns where its module, an extension of the application's, is not loaded here."""
    try:
        columns = {row[1]: _column(row, "") for row in _pragma(side, "table_xinfo", name)}
    except (sqlite3.OperationalError, BackupError):
        columns = {}
    return TableSchema(sql, True, columns, (), Counter(), Counter(), Counter())


def _column(row: Row, collation: str) -> Column:
    """Return what a row of ``PRAGMA table_xinfo`` says."""
    _, _, declared, is_required, default, _, hidden = row
    return Column(
        str(declared or "").upper(),  # SQLite before 3.37 has it as it was typed
        bool(is_required),
        default,
        "" if collation == "BINARY" else collation,
        _GENERATED.get(hidden, ""),
    )


def _indexed(side: Side, index: str) -> list[str]:
    """Return what an index has, in its order, with all that is not usual."""
    parts = []
    for _, place, column, is_descending, collation, is_key in _pragma(side, "index_xinfo", index):
        if not is_key:
            continue
        part = {-1: "rowid", -2: "an expression"}.get(place, str(column))
        part += f" COLLATE {collation}" if collation.upper() != "BINARY" else ""
        parts.append(part + (" DESC" if is_descending else ""))
    return parts


def _foreign_keys(side: Side, table: str) -> Iterator[str]:
    """Yield what each foreign key says, as ``(a, b) -> other (c, d) ON DELETE CASCADE``."""
    found = defaultdict(list)
    for row in _pragma(side, "foreign_key_list", table):
        found[row[0]].append(row)
    for rows in found.values():
        rows.sort(key=lambda row: int(row[1]))
        _, _, other, _, _, on_update, on_delete, *_ = rows[0]
        own = ", ".join(str(row[3]) for row in rows)
        theirs = ", ".join(str(row[4]) for row in rows if row[4] is not None)
        text = f"({own}) -> {other}" + (f" ({theirs})" if theirs else "")
        text += f" ON UPDATE {on_update}" if on_update != _NO_ACTION else ""
        yield text + (f" ON DELETE {on_delete}" if on_delete != _NO_ACTION else "")


def _pragma(side: Side, pragma: str, name: str) -> list[Row]:
    return list(side.query(f"PRAGMA main.{pragma}({quoted(name)})"))
