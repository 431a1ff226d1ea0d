"""What a database declares, by tables and other things with a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from soulsense_db.drivers.diff_report import SchemaItem
from soulsense_db.drivers.errors import no_such_tables


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it was declared.

    ``generated`` is how, else empty; ``extra``: what else it is, such as ``AUTO_INCREMENT``.
    """

    declared: str
    is_required: bool
    default: str | None
    collation: str
    generated: str
    extra: str = ""

    @property
    def text(self) -> str:
        """The same as SQL says it."""
        parts = [self.declared or "no type"]
        if self.is_required:
            parts.append("NOT NULL")
        if self.default is not None:
            parts.append(f"DEFAULT {self.default}")
        if self.collation:
            parts.append(f"COLLATE {self.collation}")
        if self.generated:
            parts.append(f"GENERATED {self.generated}")
        if self.extra:
            parts.append(self.extra)
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Index:
    """An index that has a statement of its own; ``name``: where it is known by another one."""

    table: str
    text: str
    sql: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Named:
    """A view, a trigger of a ``table``, or what else has a statement of its own.

    ``called``: what begins its sentence, where that is not its kind and its name.
    ``is_property``: it is one of another thing, and is told of where both databases have that.
    """

    table: str | None
    sql: str
    name: str = ""
    called: str = ""
    is_property: bool = False


@dataclass(frozen=True, slots=True)
class TableSchema:
    """What is declared of a table: constraints as texts, counted, for they may have no name.

    ``part_of``: the table that it is a partition of, else empty.
    """

    sql: str
    is_virtual: bool
    columns: dict[str, Column]
    primary_key: tuple[str, ...]
    uniques: Counter[str]
    foreign_keys: Counter[str]
    checks: Counter[str]
    options: frozenset[str] = frozenset()
    part_of: str = ""


@dataclass(frozen=True, slots=True)
class Schema:
    """What there is in a database, by name; ``others``: by what it is about, and its name."""

    settings: dict[str, str]
    tables: dict[str, TableSchema] = field(default_factory=dict)
    indexes: dict[str, Index] = field(default_factory=dict)
    views: dict[str, Named] = field(default_factory=dict)
    triggers: dict[str, Named] = field(default_factory=dict)
    others: dict[tuple[SchemaItem, str], Named] = field(default_factory=dict)


def without_tables(schema: Schema, left_out: Collection[str]) -> Schema:
    """Return what is not of these tables."""
    return replace(
        schema,
        tables={name: one for name, one in schema.tables.items() if name not in left_out},
        indexes={name: one for name, one in schema.indexes.items() if one.table not in left_out},
        triggers={name: one for name, one in schema.triggers.items() if one.table not in left_out},
        others={key: one for key, one in schema.others.items() if one.table not in left_out},
    )


def chosen_tables(
    only: Collection[str], names: Collection[str], *, folded: Callable[[str], str] = str.lower
) -> set[str]:
    """Return the tables of ``only`` as they are called, whatever the case of the letters.

    Raises :class:`~soulsense_db.errors.OptionError` for one that is not among ``names``.
    """
    by_folded = {folded(name): name for name in sorted(names)}
    unknown = [name for name in only if name not in names and folded(name) not in by_folded]
    if unknown:
        raise no_such_tables(unknown, sorted(names))
    return {name if name in names else by_folded[folded(name)] for name in only}
