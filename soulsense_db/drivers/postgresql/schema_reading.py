"""What the schema of an archive declares, by the statements that ``pg_restore`` writes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from soulsense_db.drivers.diff_report import SchemaItem
from soulsense_db.drivers.postgresql.archive import Locale, shown_name
from soulsense_db.drivers.postgresql.contents import Item
from soulsense_db.drivers.schema_parts import Column, Index, Named, Schema, TableSchema
from soulsense_db.drivers.sql_text import (
    ColumnText,
    Dialect,
    column_of,
    in_brackets,
    names_in,
    parts,
    unquoted,
    without_brackets,
)

DIALECT = Dialect(
    has_escapes=False,
    clauses=frozenset(
        {"COLLATE", "DEFAULT", "NOT", "CONSTRAINT", "GENERATED", "OPTIONS", "STORAGE"}
        | {"COMPRESSION"}
    ),
)
_NAME = r'(?:"(?:[^"]|"")*"|[\w$]+)'
_QUALIFIED = rf"{_NAME}\.{_NAME}"
_CREATE_TABLE = re.compile(rf"CREATE (?:UNLOGGED |FOREIGN )*TABLE ({_QUALIFIED})\s", re.DOTALL)
_ALTER = rf"ALTER (?:FOREIGN )?TABLE (?:ONLY )?({_QUALIFIED})\s+"
_DEFAULT = re.compile(rf"{_ALTER}ALTER COLUMN ({_NAME}) SET DEFAULT (.*);", re.DOTALL)
_IDENTITY = re.compile(
    rf"{_ALTER}ALTER COLUMN ({_NAME}) ADD (GENERATED (?:ALWAYS|BY DEFAULT) AS IDENTITY)"
)
_CONSTRAINT = re.compile(
    rf"{_ALTER}ADD CONSTRAINT ({_NAME}) (PRIMARY KEY|UNIQUE|FOREIGN KEY|CHECK)\s*(.*);", re.DOTALL
)
_CHECK = re.compile(rf"CONSTRAINT ({_NAME}) CHECK (.*)", re.DOTALL)
_REFERENCES = re.compile(rf" REFERENCES ({_QUALIFIED})(.*)", re.DOTALL)
_INDEX = re.compile(
    rf"CREATE (UNIQUE )?INDEX ({_NAME}) ON (?:ONLY )?({_QUALIFIED}) (?:USING btree )?(.*?);$",
    re.DOTALL | re.MULTILINE,
)
_ATTACH = re.compile(rf"{_ALTER}ATTACH PARTITION ({_QUALIFIED}) ")
_OWNER = re.compile(rf"^ALTER [^;']*? OWNER TO ({_NAME});$", re.MULTILINE)
_OWNED = re.compile(rf" OWNED BY ({_QUALIFIED})\.")
_ON_TABLE = re.compile(
    rf"(?:\bON (?:TABLE |COLUMN |ONLY )?|\bON \w+ TO |\bFROM |ALTER TABLE (?:ONLY )?)({_QUALIFIED})"
)
_OF_INDEX = re.compile(rf"(?:ATTACH PARTITION|ON INDEX) ({_QUALIFIED})")
_KINDS: dict[str, SchemaItem] = {
    "SEQUENCE": "sequence",
    "FUNCTION": "routine",
    "PROCEDURE": "routine",
    "AGGREGATE": "routine",
    "TYPE": "type",
    "SHELL TYPE": "type",
    "DOMAIN": "type",
    "ACL": "rights",
    "DEFAULT ACL": "rights",
    "COMMENT": "comment",
}
_TABLES = ("TABLE", "FOREIGN TABLE")
_VIEWS = ("VIEW", "MATERIALIZED VIEW")
_DATA = ("BLOB", "BLOBS", "BLOB METADATA", "MATERIALIZED VIEW DATA", "SEQUENCE SET")
_DOMAIN = re.compile(
    rf"CREATE DOMAIN ({_QUALIFIED}) AS (.*?)(?:\s+(?:COLLATE|CONSTRAINT|DEFAULT|NOT)\b.*)?;$",
    re.DOTALL | re.MULTILINE,
)


def schema_of_items(items: Iterable[Item], locale: Locale) -> Schema:
    """Return what the parts of an archive's schema declare."""
    return _Reading(locale).read(sorted(items))


@dataclass(slots=True)
class _Table:
    """A table as far as its statements were read."""

    statements: list[str] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)
    primary_key: tuple[str, ...] = ()
    uniques: Counter[str] = field(default_factory=Counter)
    foreign_keys: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    part_of: str = ""

    @property
    def schema(self) -> TableSchema:
        """What it declares."""
        return TableSchema(
            sql="\n\n".join(self.statements),
            is_virtual=False,
            columns=self.columns,
            primary_key=self.primary_key,
            uniques=self.uniques,
            foreign_keys=self.foreign_keys,
            checks=self.checks,
            part_of=self.part_of,
        )


class _Reading:
    """Reads the parts of a schema, tables first: the others are about them."""

    def __init__(self, locale: Locale) -> None:
        self._tables: dict[str, _Table] = {}
        collation = ", ".join(dict.fromkeys(filter(None, (locale.collate, locale.locale))))
        self._schema = Schema({"encoding": locale.encoding, "collation": collation})
        self._tables_of_indexes: dict[str, str] = {}
        self._owned: dict[str, str] = {}

    def read(self, items: list[Item]) -> Schema:
        for item in items:
            if item.kind in _TABLES:
                self._table(item)
            elif match := _OWNED.search(item.statements):
                self._owned[shown_name(item.schema, item.name)] = _shown(match[1])
        readers: dict[str, Callable[[Item], bool]] = {
            "DEFAULT": self._default,
            "SEQUENCE": self._identity,
            "CONSTRAINT": self._constraint,
            "CHECK CONSTRAINT": self._constraint,
            "FK CONSTRAINT": self._constraint,
            "INDEX": self._index,
            "TABLE ATTACH": self._attached,
        }
        later = []
        for item in items:
            if item.kind in _TABLES or item.kind in _DATA:
                continue
            reader = readers.get(item.kind)
            if reader is None or not reader(item):
                later.append(item)
        for item in later:
            self._other(item)
        self._schema.tables.update((name, one.schema) for name, one in self._tables.items())
        return self._schema

    def _table(self, item: Item) -> None:
        statement = self._without_owner(item)
        match = _CREATE_TABLE.match(statement)
        name = _shown(match[1]) if match else shown_name(item.schema, item.name)
        table = self._tables[name] = _Table([statement])
        for part in parts(in_brackets(statement, DIALECT)[1], DIALECT):
            if check := _CHECK.match(part):
                table.checks[_expression(check[2])] += 1
            elif not part.startswith("CONSTRAINT "):
                column = column_of(part, DIALECT)
                table.columns[column.name] = _column(column)

    def _default(self, item: Item) -> bool:
        match = _DEFAULT.match(item.statements)
        if match is None:
            return False
        default = match[3]
        return self._change(match, item, lambda column: replace(column, default=default))

    def _identity(self, item: Item) -> bool:
        match = _IDENTITY.match(item.statements)
        if match is None:
            return False
        extra = match[3]
        return self._change(match, item, lambda column: replace(column, extra=extra))

    def _change(
        self, match: re.Match[str], item: Item, changed: Callable[[Column], Column]
    ) -> bool:
        """Change a column by a statement; false where it is none of a table, but of a view."""
        table = self._tables.get(_shown(match[1]))
        name = unquoted(match[2])
        if table is None or name not in table.columns:
            return False
        table.columns[name] = changed(table.columns[name])
        table.statements.append(self._without_owner(item))
        return True

    def _constraint(self, item: Item) -> bool:
        match = _CONSTRAINT.match(item.statements)
        table = self._tables.get(_shown(match[1])) if match else None
        if match is None or table is None:
            return False
        self._tables_of_indexes[_shown(f"{_schema_of(match[1])}.{match[2]}")] = _shown(match[1])
        table.statements.append(item.statements)
        kind, text = match[3], match[4]
        if kind == "PRIMARY KEY":
            table.primary_key = names_in(in_brackets(text, DIALECT)[1], DIALECT)
        elif kind == "UNIQUE":
            table.uniques[text] += 1
        elif kind == "CHECK":
            table.checks[_expression(text)] += 1
        else:
            table.foreign_keys[_reference(text)] += 1
        return True

    def _index(self, item: Item) -> bool:
        match = _INDEX.match(item.statements)
        if match is None:
            return False
        table, name = _shown(match[3]), _shown(f"{_schema_of(match[3])}.{match[2]}")
        text = f"{'unique ' if match[1] else ''}{match[4]}"
        self._schema.indexes[name] = Index(table, text, self._without_owner(item))
        self._tables_of_indexes[name] = table
        return True

    def _attached(self, item: Item) -> bool:
        match = _ATTACH.match(item.statements)
        table = self._tables.get(_shown(match[2])) if match else None
        if match is None or table is None:
            return False
        table.part_of = _shown(match[1])
        table.statements.append(item.statements)
        return True

    def _other(self, item: Item) -> None:
        statement = self._without_owner(item)
        shown = shown_name(item.schema if item.schema != "-" else "public", item.name)
        if item.kind in _VIEWS:
            called = f"{item.kind.capitalize()} {shown}"
            self._schema.views[shown] = Named(None, statement, called=called)
            return
        table = self._table_of(item, shown)
        own = item.name.removeprefix(f"{_last(table)} ") if table else item.name
        if item.kind == "TRIGGER":
            self._schema.triggers[f"{table}.{own}"] = Named(table, statement, own)
            return
        kind = _KINDS.get(item.kind, "other")
        is_of_table = table is not None and kind == "other"
        called = f"{item.kind.capitalize()} {own if is_of_table else shown}"
        if is_of_table:
            named = "" if own == _last(table) else f" {own}"
            called = f"{item.kind.capitalize()}{named} on {table}"
        elif kind == "rights":
            called = f"What is granted on {_of_tag(item.name)}"
        elif kind == "comment":
            called = f"The comment on {_of_tag(item.name)}"
        key = f"{item.kind} {shown}"
        self._schema.others[kind, key] = Named(table, statement, shown, called)

    def _table_of(self, item: Item, shown: str) -> str | None:
        """Return the table that a part belongs to, None where it is none's."""
        if item.kind.startswith("SEQUENCE"):
            return self._owned.get(shown)
        for match in _ON_TABLE.finditer(item.statements):
            if (name := _shown(match[1])) in self._tables:
                return name
        if index := _OF_INDEX.search(item.statements):
            return self._tables_of_indexes.get(_shown(index[1]))
        return None

    def _without_owner(self, item: Item) -> str:
        """Return the statements without that which names the owner, and keep who that is."""
        match = _OWNER.search(item.statements)
        if match is None:
            return item.statements
        shown = shown_name(item.schema if item.schema != "-" else "public", item.name)
        kind = item.kind.lower()
        self._schema.others["rights", f"owner {kind} {shown}"] = Named(
            shown if item.kind in _TABLES else None,
            unquoted(match[1]),
            shown,
            f"The owner of {kind} {shown}",
            is_property=True,
        )
        return _OWNER.sub("", item.statements).strip()


def domains_of(items: Iterable[Item]) -> dict[str, str]:
    """Return the type that each domain is of, by its name as a column has it."""
    matches = (_DOMAIN.match(item.statements) for item in items if item.kind == "DOMAIN")
    return {match[1]: match[2] for match in matches if match}


def _shown(qualified: str) -> str:
    schema = _schema_of(qualified)
    return shown_name(unquoted(schema), unquoted(qualified[len(schema) + 1 :]))


def _schema_of(qualified: str) -> str:
    match = re.match(_NAME, qualified)
    return match[0] if match else ""


def _last(table: str | None) -> str:
    """Return the name of a table without that of its schema, as the archive lists it."""
    names = re.findall(rf"{_NAME}|[^.]+", table or "")
    return unquoted(names[-1]) if names else ""


def _of_tag(tag: str) -> str:
    """Return what a tag such as ``TABLE users`` names, in words."""
    return re.sub(r"^[A-Z ]+\b", lambda match: match[0].lower(), tag)


def _column(found: ColumnText) -> Column:
    generated = found.clause("GENERATED") or ""
    is_required = any(word == "NOT" and text.startswith("NULL") for word, text in found.clauses)
    extra = " ".join(
        f"{word} {text}"
        for word, text in found.clauses
        if word in {"OPTIONS", "STORAGE", "COMPRESSION"}
    )
    return Column(
        declared=found.declared,
        is_required=is_required,
        default=found.clause("DEFAULT"),
        collation=found.clause("COLLATE") or "",
        generated=generated,
        extra=extra,
    )


def _expression(text: str) -> str:
    return without_brackets(in_brackets(text, DIALECT)[1].strip(), DIALECT)


def _reference(text: str) -> str:
    """Return a foreign key as ``(a, b) -> other (c, d) ON DELETE CASCADE``."""
    own = in_brackets(text, DIALECT)[1]
    match = _REFERENCES.search(text)
    if match is None:
        return text
    _, theirs, rest = in_brackets(match[2], DIALECT)
    return f"({own}) -> {_shown(match[1])} ({theirs}){rest}"
