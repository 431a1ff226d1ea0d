"""A table in a backup and in the live database: how a row of the one is a row of the other.

Columns are paired by their names, rows by the primary key; in a table without one by all their
values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from soulsense_db.drivers.row_errors import (
    column_computed,
    column_gone,
    gone_table,
    needs_value,
    no_rows_of_its_own,
    no_such_column,
    null_value,
    other_key,
    value_lost,
)
from soulsense_db.drivers.server_rows.tables import (
    Column,
    Row,
    Shape,
    Tables,
    columns_of,
    digest_of,
)
from soulsense_db.drivers.server_rows.texts import called


@dataclass
class Pair:
    """A table on both sides; a row is the values of ``columns``, as the live ones are called.

    ``gone``: columns that only the backup stores: the live table does not have them, or computes
    them; ``added``: that only the live table has; ``left_out``: that are not to be written.
    """

    live: Tables
    backup: Tables
    shape: Shape
    source: Shape
    columns: tuple[Column, ...]
    gone: tuple[Column, ...]
    added: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the live table."""
        return self.shape.name

    @cached_property
    def key(self) -> tuple[int, ...]:
        """The places of the primary key in a row."""
        return tuple(self.places[name] for name in self.shape.key)

    @cached_property
    def key_columns(self) -> tuple[Column, ...]:
        """The columns of the primary key."""
        return tuple(self.columns[at] for at in self.key)

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of each column in a row."""
        return {one.name: at for at, one in enumerate(self.columns)}

    def key_of(self, row: Row) -> Row:
        """Return the values of the key."""
        return tuple(row[at] for at in self.key)

    def called(self, row: Row) -> str:
        """Return what a person calls a row."""
        return called(self.key_columns, self.key_of(row))

    def is_computed(self, column: str) -> bool:
        """Whether the live table computes a column."""
        return column in self.shape.by_name and self.shape.by_name[column].is_computed

    # Rows of the backup

    @cached_property
    def source_columns(self) -> tuple[Column, ...]:
        """The columns as the backup has them."""
        return columns_of(self.source, [one.name for one in self.columns])

    @cached_property
    def is_converted(self) -> bool:
        """Whether the live table may keep another value than the backup has."""
        pairs = zip(self.columns, self.source_columns, strict=True)
        return any(one.type != other.type for one, other in pairs)

    def read(self, idents: Sequence[Row]) -> list[Row]:
        """Return rows of the backup as the live table would keep them.

        Raises :class:`~soulsense_db.errors.RowsRefusedError` where it would keep something else.
        """
        by = self.backup.ident_columns(self.source)
        wanted = self.source_columns
        found = dict(self.backup.matching(self.source, by, idents, wanted))
        rows = [found[number] for number in range(len(idents))]
        return [self._kept(row) for row in rows] if self.is_converted else rows

    def _kept(self, row: Row) -> Row:
        found = self.live.converted(self.source_columns, self.columns, row)
        if found is not None:
            return found
        for at, (source, target) in enumerate(zip(self.source_columns, self.columns, strict=True)):
            if self.live.converted([source], [target], (row[at],)) is None:
                raise value_lost(self.name, target.name, self.called(row))
        raise value_lost(self.name, self.columns[0].name, self.called(row))

    def require_whole(self, idents: Sequence[Row], rows: Sequence[Row]) -> None:
        """Raise :class:`~soulsense_db.errors.RowsRefusedError` for a row that would lack a value.

        Either the live table has no column for it, or the backup has none.
        """
        if self.gone:
            by = self.backup.ident_columns(self.source)
            for number, lost in self.backup.matching(self.source, by, idents, self.gone):
                for column, value in zip(self.gone, lost, strict=True):
                    if value is not None:
                        which = self.called(rows[number])
                        if self.is_computed(column.name):
                            raise column_computed(self.name, column.name, which)
                        raise column_gone(self.name, column.name, which, self.added)
        for row in rows:
            for column, value in zip(self.columns, row, strict=True):
                if column.not_null and value is None:
                    raise null_value(self.name, column.name, self.called(row))

    # Rows of the live database

    def find(self, rows: Sequence[Row]) -> list[Row | None]:
        """Return the live row with the key of each of ``rows``, None where there is none."""
        keys = [self.key_of(row) for row in rows]
        by = self.key_columns
        found = dict(self.live.matching(self.shape, by, keys, self.columns))
        return [found.get(number) for number in range(len(rows))]

    def missing_of(self, wanted: Counter[bytes]) -> Counter[bytes]:
        """Return how many rows of each digest the live table lacks; one look through all of it.

        Of those that are ``wanted``: the live rows may just as well be others that the backup has.
        """
        missing = Counter(wanted)
        if not self.is_converted:
            missing = Counter()
            for row in _all_rows(self.backup, self.source, self.source_columns):
                if (digest := digest_of(row)) in wanted:
                    missing[digest] += 1
        for row in _all_rows(self.live, self.shape, self.columns):
            digest = digest_of(row)
            if missing.get(digest, 0) > 0:
                missing[digest] -= 1
        return missing & wanted

    def clashes(self, rows: Sequence[Row]) -> list[str]:
        """Return which of ``rows`` has a unique value that another live row has now."""
        said: list[str] = []
        wanted = self.key_columns or self.columns
        for unique in self.shape.uniques:
            if not set(unique) <= self.places.keys():
                continue
            by = columns_of(self.shape, unique)
            places = [self.places[name] for name in unique]
            asked = [row for row in rows if None not in (row[at] for at in places)]
            values = [tuple(row[at] for at in places) for row in asked]
            for number, other in self.live.matching(self.shape, by, values, wanted):
                row = asked[number]
                if not self._is_the_one(row, other):
                    whose = called(self.key_columns, other) if self.key else "another row"
                    said.append(f"{', '.join(unique)} of {self.called(row)} is that of {whose}")
        return said

    def _is_the_one(self, row: Row, other: Row) -> bool:
        if not self.key:
            return row == other
        if self.key_of(row) == other:
            return True
        (found,) = self.find([row])  # a key that is equal to the server in other letters
        return found is not None and self.key_of(found) == other


def _all_rows(tables: Tables, shape: Shape, columns: Sequence[Column]) -> Iterator[Row]:
    wanted = tables.select(columns, shape.alias)
    statement = f"SELECT {wanted} FROM {shape.source} AS {shape.alias}"  # noqa: S608 - quoted
    return map(tables.texts, tables.each(statement))


def paired(live: Tables, backup: Tables, name: str, *, without: Sequence[str] = ()) -> Pair:
    """Return the table ``name`` of the backup with that of the live database.

    Raises :class:`~soulsense_db.errors.RowsRefusedError` where rows cannot be told apart or would
    not be whole, :class:`~soulsense_db.errors.OptionError` for a column ``without`` that is none.
    """
    source = backup.shapes[name]
    shape = live.shapes.get(name)
    if shape is None:
        if kind := live.kind_of(name):
            raise no_rows_of_its_own(name, kind)
        raise gone_table(name, live.similar(name))
    if shape.key != source.key:
        raise other_key(name, source.key, shape.key)
    _require_can_be_left_out(source, without)
    columns = tuple(
        one
        for one in shape.columns
        if not one.is_computed and one.name in source.by_name and one.name not in without
    )
    both = {one.name for one in columns}
    gone = tuple(
        one
        for one in source.stored
        if one.name not in without
        and (one.name not in shape.by_name or shape.by_name[one.name].is_computed)
    )
    added = tuple(one for one in shape.columns if one.name not in both and not one.is_computed)
    if needed := [one.name for one in added if one.not_null and not one.has_default]:
        raise needs_value(name, needed)
    return Pair(
        live, backup, shape, source, columns, gone, tuple(o.name for o in added), tuple(without)
    )


def _require_can_be_left_out(source: Shape, without: Sequence[str]) -> None:
    can_be = [one.name for one in source.stored if not one.key]
    if wrong := [name for name in without if name not in can_be]:
        raise no_such_column(source.name, wrong, can_be)
