"""What is in a database, as its catalog says, and what its columns add up to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from soulsense_db.drivers.dump_changes import Kind
from soulsense_db.drivers.postgresql import inventory
from soulsense_db.drivers.postgresql.archive import shown_name
from soulsense_db.drivers.postgresql.statements import OF_USERS, execute, quoted
from soulsense_db.drivers.rehearsal import ColumnSurvey, TableSurvey
from soulsense_db.drivers.server_rehearsal import Seen
from soulsense_db.notices import log_ignored

_OF_USERS = (
    f"{OF_USERS} AND NOT EXISTS (SELECT FROM"
    " pg_depend e WHERE e.classid = '{0}'::regclass AND e.objid = {1}.oid AND e.deptype = 'e')"
)
_COLUMNS = sa.text(f"""
    SELECT n.nspname, c.relname, a.attname::text, format_type(a.atttypid, a.atttypmod),
        t.typname::text, c.oid, a.attnum, a.attnotnull, a.attidentity::text,
        a.attgenerated::text, pg_get_expr(d.adbin, d.adrelid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'
        AND {_OF_USERS.format("pg_class", "c")}
    ORDER BY 1, 2, a.attnum
""")  # noqa: S608 - a constant
# Kind, schema, name, and how it is made, of all that is no table.
_OTHERS = f"""
    SELECT CASE c.relkind WHEN 'S' THEN 'sequence' WHEN 'c' THEN 'type' ELSE 'view' END AS kind,
        n.nspname::text, c.relname::text AS name,
        CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) ELSE '' END AS made
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('v', 'm', 'S', 'c') AND c.relpersistence <> 't'
        AND {_OF_USERS.format("pg_class", "c")}
    UNION ALL
    SELECT 'index', n.nspname::text, c.relname::text, pg_get_indexdef(c.oid)
        || CASE WHEN i.indisvalid THEN '' ELSE ' -- invalid' END
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relpersistence <> 't' AND {_OF_USERS.format("pg_class", "c")}
        AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = c.oid)
    UNION ALL
    SELECT 'function', n.nspname::text, p.proname || '(' || oidvectortypes(p.proargtypes) || ')',
        p.prosrc || p.prorettype::regtype::text
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE {_OF_USERS.format("pg_proc", "p")}
    UNION ALL
    SELECT 'type', n.nspname::text, t.typname::text, concat_ws(' ', t.typtype::text,
        CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
        (SELECT string_agg(e.enumlabel::text, ' ' ORDER BY e.enumsortorder) FROM pg_enum e
            WHERE e.enumtypid = t.oid))
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE t.typtype IN ('d', 'e', 'r') AND {_OF_USERS.format("pg_type", "t")}
    UNION ALL
    SELECT 'schema', '', n.nspname::text, '' FROM pg_namespace n
    WHERE {_OF_USERS.format("pg_namespace", "n")} AND n.nspname <> 'public'
    UNION ALL
    SELECT 'extension', '', e.extname::text, e.extversion FROM pg_extension e
"""  # noqa: S608 - a constant
# Of tables: what their rows have to keep to, and what happens to them.
_OF_TABLES = sa.text(f"""
    SELECT n.nspname, c.relname::text, made.text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL (
        SELECT concat_ws(' ', o.conname, pg_get_constraintdef(o.oid), o.convalidated::text) AS text
        FROM pg_constraint o WHERE o.conrelid = c.oid
        UNION ALL
        SELECT pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text
        FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal
        UNION ALL
        SELECT concat_ws(' ', p.polname, p.polcmd::text, p.polroles::text,
            pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
        FROM pg_policy p WHERE p.polrelid = c.oid
    ) AS made
    WHERE c.relkind IN ('r', 'p', 'f') AND {_OF_USERS.format("pg_class", "c")}
    ORDER BY 1, 2, 3
""")  # noqa: S608 - a constant
_PARENTS = sa.text("""
    SELECT n.nspname, c.relname::text, pn.nspname, p.relname::text
    FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_class p ON p.oid = o.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
    WHERE o.contype = 'f' AND o.confdeltype = 'c' AND o.conparentid = 0 AND p.oid <> c.oid
    ORDER BY o.conname
""")
_PARTS = sa.text("""
    SELECT n.nspname, c.relname::text, pn.nspname, p.relname::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL pg_partition_ancestors(c.oid) AS a(relid)
        JOIN pg_class p ON p.oid = a.relid JOIN pg_namespace pn ON pn.oid = p.relnamespace
    WHERE c.relispartition AND p.oid <> c.oid
""")
_MOMENT = sa.text("SELECT pg_current_xact_id()")
_REACHING = sa.text("""
    SELECT 'a foreign server, ' || srvname::text FROM pg_foreign_server
    UNION ALL SELECT 'the extension ' || extname::text FROM pg_extension
    WHERE extname IN ('dblink', 'pg_cron')
    LIMIT 1
""")
_TEXTS = {"text", "varchar", "name", "citext", "bytea"}
_WHOLE = {"int2", "int4", "int8"}
_NUMBERS = {*_WHOLE, "numeric", "float4", "float8"}
_COLUMNS_IN_ONE = 400  # a result has 1,664 at most


def look(connection: Connection, since: int | None) -> Seen:
    """Return what is in the database; nobody else changes it. ``since``: an earlier moment."""
    moment = int(str(connection.scalar(_MOMENT)))
    columns = connection.execute(_COLUMNS).all()
    kinds: dict[tuple[str, str], Kind] = {}
    types: dict[tuple[str, str], list[tuple[str, str]]] = {}
    identities: dict[str, tuple[object, frozenset[object]]] = {}
    schema: dict[str, str] = {}
    names = []
    for place, table, column, written, kind, oid, number, *rest in columns:
        shown = shown_name(place, table)
        kinds[shown, column] = _kind(kind)
        types.setdefault((place, table), []).append((column, kind))
        known = identities.get(shown, (oid, frozenset()))[1]
        identities[shown] = oid, known | {(column, number, written)}
        names.append(f"{shown}.{column}")
        made = " ".join(str(one) for one in (column, written, *rest) if one is not None)
        schema[f"table {shown}"] = f"{schema.get(f'table {shown}', '')}{made}\n"
    for place, table, made in connection.execute(_OF_TABLES):
        name = f"table {shown_name(place, table)}"
        schema[name] = f"{schema.get(name, '')}{made}\n"
    for row in execute(connection, _OTHERS):
        kind, place, name, made = map(str, row)
        schema[_named(kind, place, name)] = made
    parents, part_of = _related(connection, _PARENTS), _related(connection, _PARTS)
    tables, old = [], set()
    for one in inventory.tables(connection):
        if not one.has_rows:
            continue
        shown = shown_name(one.schema, one.name)
        of = [pair for pair in types.get((one.schema, one.name), ()) if pair[0] in one.columns]
        age = moment - since if since is not None and one.has_shape else None
        summed = [_summed(connection, source, of, age) for source in one.counted]
        tables.append(
            TableSurvey(
                table=shown,
                rows=sum(one.rows for one in summed),
                columns=_added_up(of, summed),
                parents=parents.get(shown, ()),
                part_of=part_of.get(shown, ()),
            )
        )
        if age is not None and not any(one.newer for one in summed) and shown in identities:
            old.add(shown)
    return Seen(
        tables=tuple(tables),
        schema=schema,
        columns=tuple(names),
        kinds=kinds,
        heads={
            (table, shown_name(place, table)): inventory.heads_in(
                connection, f"{quoted(place)}.{quoted(table)}"
            )
            for (place, table), of in types.items()
            if [column for column, _ in of] == ["version_num"]
        },
        identities=identities,
        old=frozenset(old),
        moment=moment,
    )


def _related(connection: Connection, statement: sa.TextClause) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for place, table, of, other in connection.execute(statement):
        name = shown_name(place, table)
        found[name] = (*found.get(name, ()), shown_name(of, other))
    return found


def _kind(name: str) -> Kind:
    if name in _TEXTS:
        return "text"
    if name == "bpchar":
        return "padded"
    return "number" if name in _NUMBERS else "other"


class _Summed(NamedTuple):
    """What the rows of one source add up to: of each column values, length and total."""

    rows: int
    newer: bool
    columns: Sequence[tuple[int, int, float]]


def _summed(
    connection: Connection,
    source: str,
    columns: Sequence[tuple[str, str]],
    age: int | None,
) -> _Summed:
    """Count and add up the values of all columns, in one pass for as many as there can be.

    ``age``: how many transactions ago a row became new.
    """
    newer = "false" if age is None else f"bool_or(age(xmin) <= {age})"
    sums: list[tuple[int, int, float]] = []
    rows, has_newer = 0, False
    for start in range(0, max(1, len(columns)), _COLUMNS_IN_ONE):
        some = columns[start : start + _COLUMNS_IN_ONE]
        asked = ["count(*)", newer, *(_sums(quoted(column), kind) for column, kind in some)]
        row = execute(connection, f"SELECT {', '.join(asked)} FROM {source}").one()  # noqa: S608
        found = [*row]
        rows, has_newer = int(str(found[0])), bool(found[1])
        for number in range(len(some)):
            count, length, total = found[2 + 3 * number : 5 + 3 * number]
            sums.append((int(str(count)), int(str(length or 0)), float(str(total or 0))))
    return _Summed(rows, has_newer, sums)


def _added_up(
    columns: Sequence[tuple[str, str]], summed: Sequence[_Summed]
) -> tuple[ColumnSurvey, ...]:
    found = []
    for number, (column, kind) in enumerate(columns):
        each = [one.columns[number] for one in summed]
        values = sum(one[0] for one in each)
        found.append(
            ColumnSurvey(
                column=column,
                values=values,
                texts=values if _kind(kind) in ("text", "padded") else 0,
                length=sum(one[1] for one in each),
                total=sum(one[2] for one in each),
            )
        )
    return tuple(found)


def _sums(name: str, kind: str) -> str:
    length, total = "0", "0"
    if _kind(kind) in ("text", "padded"):
        length = f"sum(length({name}{'' if kind == 'bytea' else '::text'}))"
    elif kind in _WHOLE:
        total = f"sum({name})"
    elif kind in _NUMBERS:
        total = f"sum({name}) FILTER (WHERE {name} < 'Infinity')"
    return f"count({name}), {length}, {total}"


def reaches_others(connection: Connection) -> str:
    """Return through what a statement could reach another database; empty for nothing."""
    return str(connection.scalar(_REACHING) or "")


def names_in(connection: Connection) -> list[str] | None:
    """Return the names of what there is, through a connection of the application's."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(str(_COLUMNS))
        columns = cursor.fetchall()
        cursor.execute(_OTHERS)
        others = cursor.fetchall()
    except Exception as error:  # noqa: BLE001 - of whichever library it is
        log_ignored("What a step finds is not known", error)
        return None
    finally:
        cursor.close()
    names = {_named(kind, place, name) for kind, place, name, _ in others}
    for place, table, column, *_ in columns:
        shown = shown_name(place, table)
        names |= {f"table {shown}", f"column {shown}.{column}"}
    return sorted(names)


def _named(kind: str, place: str, name: str) -> str:
    return f"{kind} {shown_name(place, name) if place else name}"
