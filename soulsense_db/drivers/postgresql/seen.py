"""What is in a database, as its catalog says, and what its columns add up to."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from soulsense_db.drivers.dump_changes import Kind
from soulsense_db.drivers.postgresql import inventory
from soulsense_db.drivers.postgresql.archive import shown_name
from soulsense_db.drivers.postgresql.statements import execute, quoted
from soulsense_db.drivers.rehearsal import ColumnSurvey, TableSurvey
from soulsense_db.drivers.server_rehearsal import Seen
from soulsense_db.notices import log_ignored

_OF_USERS = (
    "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM"
    " pg_depend e WHERE e.classid = '{0}'::regclass AND e.objid = {1}.oid AND e.deptype = 'e')"
)
_COLUMNS = sa.text(f"""
    SELECT n.nspname, c.relname, a.attname::text, format_type(a.atttypid, a.atttypmod),
        t.typcategory::text, t.typname::text, a.attnotnull, a.attidentity::text,
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


def look(connection: Connection) -> Seen:
    """Return what is in the database; nobody else changes it."""
    columns = connection.execute(_COLUMNS).all()
    kinds: dict[tuple[str, str], Kind] = {}
    types: dict[tuple[str, str], list[tuple[str, str]]] = {}
    schema: dict[str, str] = {}
    names = []
    for place, table, column, written, _, kind, *rest in columns:
        shown = shown_name(place, table)
        kinds[shown, column] = _kind(kind)
        types.setdefault((place, table), []).append((column, kind))
        names.append(f"{shown}.{column}")
        made = " ".join(str(one) for one in (column, written, *rest) if one is not None)
        schema[f"table {shown}"] = f"{schema.get(f'table {shown}', '')}{made}\n"
    for place, table, made in connection.execute(_OF_TABLES):
        schema[f"table {shown_name(place, table)}"] += f"{made}\n"
    for row in execute(connection, _OTHERS):
        kind, place, name, made = map(str, row)
        schema[_named(kind, place, name)] = made
    parents: dict[str, list[str]] = {}
    for place, table, of, parent in connection.execute(_PARENTS):
        parents.setdefault(shown_name(place, table), []).append(shown_name(of, parent))
    found = [one for one in inventory.tables(connection) if one.has_rows]
    rows = inventory.counts(connection, found)
    tables = []
    for one, number in zip(found, rows, strict=True):
        shown = shown_name(one.schema, one.name)
        of = [pair for pair in types.get((one.schema, one.name), ()) if pair[0] in one.columns]
        tables.append(
            TableSurvey(
                table=shown,
                rows=number,
                columns=tuple(_added_up(connection, one, of)),
                parents=tuple(parents.get(shown, ())),
            )
        )
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
    )


def _kind(name: str) -> Kind:
    if name in _TEXTS:
        return "text"
    if name == "bpchar":
        return "padded"
    return "number" if name in _NUMBERS else "other"


def _added_up(
    connection: Connection, table: inventory.Found, columns: Sequence[tuple[str, str]]
) -> list[ColumnSurvey]:
    """Count and add up the values of all columns, in one pass for as many as there can be."""
    found = []
    for start in range(0, len(columns), _COLUMNS_IN_ONE):
        some = columns[start : start + _COLUMNS_IN_ONE]
        asked = ", ".join(_sums(quoted(column), kind) for column, kind in some)
        for source in table.counted[:1]:
            values = [*execute(connection, f"SELECT {asked} FROM {source}").one()]  # noqa: S608
            for number, (column, kind) in enumerate(some):
                count, length, total = values[3 * number : 3 * number + 3]
                is_text = _kind(kind) in ("text", "padded")
                found.append(
                    ColumnSurvey(
                        column=column,
                        values=int(str(count)),
                        texts=int(str(count)) if is_text else 0,
                        length=int(str(length or 0)),
                        total=float(str(total or 0)),
                    )
                )
    return found


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
