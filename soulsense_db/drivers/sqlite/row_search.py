"""Search a table of a backup for rows that the live database does not have, or has otherwise.

The backup is read from one end to the other, and never all of it is in memory. Which live row is
the same is found out as when rows come back, so that what is found here is what would come back.
"""

from __future__ import annotations

import sqlite3
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from soulsense_db.drivers.diff_report import Value
from soulsense_db.drivers.long_values import shortened
from soulsense_db.drivers.row_errors import unreachable
from soulsense_db.drivers.row_plan import RowSelection
from soulsense_db.drivers.row_search import FoundRow, FoundRows
from soulsense_db.drivers.sqlite.connections import LiveDatabase
from soulsense_db.drivers.sqlite.live_connection import require_not_interrupted
from soulsense_db.drivers.sqlite.pragmas import folded, quoted
from soulsense_db.drivers.sqlite.row_keys import key_columns, public_value
from soulsense_db.drivers.sqlite.row_pairs import Pair, equal, paired
from soulsense_db.drivers.sqlite.row_planning import require_table
from soulsense_db.drivers.sqlite.row_selection import Ident, ident_columns
from soulsense_db.drivers.sqlite.row_tables import Tables
from soulsense_db.drivers.sqlite.row_values import Row, as_stored, digest_of, is_same
from soulsense_db.errors import RowsRefusedError
from soulsense_db.progress import Progress

_TELL_EVERY = 500
_AT_ONCE = 50  # rows that are in memory, each with all its values
_LONGEST_SHOWN = 4096
# Rows without a key are compared all at once, by digests that are kept.
_MOST_UNKEYED = 100_000


class RowSearch:
    """Searches one table of the opened ``backup`` for rows that ``live`` does not have like that.

    ``selection``: names the table, and tables that are not to be touched; ``text``: words, each of
    which is somewhere in a row; ``differing``: whether rows count that ``live`` has with other
    values.
    """

    def __init__(
        self,
        live: LiveDatabase,
        backup: Tables,
        selection: RowSelection,
        *,
        text: str,
        differing: bool,
        limit: int,
        progress: Progress | None,
    ) -> None:
        self._live = live
        self._backup = backup
        self._shape = require_table(backup, selection)
        self._words = _folded(text).split()
        self._differing = differing
        self._limit = limit
        self._progress = progress
        self._columns = tuple(one.name for one in self._shape.stored)
        self._key_size = len(key_columns(self._shape))

    def found(self) -> FoundRows:
        """Return the rows, at most as many as the limit says."""

        def search(raw: sqlite3.Connection) -> tuple[list[FoundRow], bool]:
            with as_stored(raw):
                return self._search(paired(Tables(raw), self._backup, self._shape.name))

        rows, is_complete = self._live.run(search)
        return FoundRows(
            table=self._shape.name,
            columns=self._columns,
            key=self._shape.key,
            rows=tuple(rows),
            is_complete=is_complete,
        )

    def _search(self, pair: Pair) -> tuple[list[FoundRow], bool]:
        places = [self._places[folded(name)] for name in pair.columns]
        rows: list[FoundRow] = []
        unkeyed: dict[Ident, bytes] = {}
        for some in self._batches():
            keyed: list[tuple[Ident, Row, Row, Row]] = []
            for ident, key, values in some:
                row = tuple([values[at] for at in places])
                if pair.has_key(row):
                    keyed.append((ident, key, values, row))
                else:
                    unkeyed[ident] = digest_of(_as_kept(pair, ident, row))
            wanted = [row for *_, row in keyed]
            lives = pair.find_each(wanted, only_keys=not self._differing) if wanted else []
            for (ident, key, values, row), now in zip(keyed, lives, strict=True):
                if now is not None and not self._differs(pair, ident, row, now):
                    continue
                if len(rows) >= self._limit:
                    return rows, False
                rows.append(_found(key, values, self._in_order(now, places)))
            if len(unkeyed) >= _MOST_UNKEYED:
                return self._with_unkeyed(pair, rows, unkeyed, is_complete=False)
        return self._with_unkeyed(pair, rows, unkeyed, is_complete=True)

    def _differs(self, pair: Pair, ident: Ident, row: Row, now: Row) -> bool:
        """Whether a row counts that the live database has as well, as ``now``."""
        if not self._differing or is_same(now, row):
            return False
        return not is_same(now, _as_kept(pair, ident, row))

    def _with_unkeyed(
        self, pair: Pair, rows: list[FoundRow], unkeyed: dict[Ident, bytes], *, is_complete: bool
    ) -> tuple[list[FoundRow], bool]:
        """Add rows that only their values tell apart: of equal ones, as many as are missing."""
        missing = pair.missing_of(Counter(unkeyed.values())) if unkeyed else Counter[bytes]()
        for ident, digest in unkeyed.items():
            if missing[digest] <= 0:
                continue
            missing[digest] -= 1
            if len(rows) >= self._limit:
                return rows, False
            rows.extend(_found(key, values, None) for _, key, values in self._read(ident))
        return rows, is_complete

    @property
    def _places(self) -> dict[str, int]:
        return {folded(name): at for at, name in enumerate(self._columns)}

    def _in_order(self, now: Row | None, places: Sequence[int]) -> Row | None:
        """Return a live row in the order of the backup's columns."""
        if now is None:
            return None
        found: list[Any] = [None] * len(self._columns)
        for at, value in zip(places, now, strict=True):
            found[at] = value
        return tuple(found)

    # The backup

    def _batches(self) -> Iterator[list[tuple[Ident, Row, Row]]]:
        """Yield the rows that have the words, some at a time."""
        matching = self._matching()
        while some := list(islice(matching, _AT_ONCE)):
            yield some

    def _matching(self) -> Iterator[tuple[Ident, Row, Row]]:
        """Yield what each row that has the words is found by, its key and its values."""
        table = f"main.{quoted(self._shape.name)}"
        total = int(self._backup.row(f"SELECT count(*) FROM {table}")[0])  # noqa: S608 - quoted
        for number, found in enumerate(self._read()):
            if number % _TELL_EVERY == 0:
                self._tell(number, total)
            if not self._words or _has_words(found[2], self._words):
                yield found
        self._tell(total, total)

    def _read(self, ident: Ident | None = None) -> Iterator[tuple[Ident, Row, Row]]:
        by = ident_columns(self._shape)
        if not by:
            raise unreachable(self._shape.name)
        wanted = (*by, *key_columns(self._shape), *map(quoted, self._columns))
        named = ", ".join(f'+{one} AS "soulsense_{n}"' for n, one in enumerate(wanted))
        statement = f"SELECT {named} FROM main.{quoted(self._shape.name)}"  # noqa: S608 - quoted
        parameters: Sequence[Any] = ()
        if ident is not None:
            values = ident if isinstance(ident, tuple) else (ident,)
            condition, parameters = equal(by, values, self._backup.encoding)
            statement += f" WHERE {condition}"
        first, second = len(by), len(by) + self._key_size
        for row in self._backup.each(f"{statement} ORDER BY {', '.join(by)}", parameters):
            here = row[:first]
            yield here[0] if self._shape.rowid else here, row[first:second], row[second:]

    def _tell(self, done: int, total: int) -> None:
        require_not_interrupted()
        if self._progress is not None:
            self._progress(done, total)


def _as_kept(pair: Pair, ident: Ident, row: Row) -> Row:
    """Return ``row`` as the live table would keep it; as it is where that would lose something."""
    if not pair.is_converted:
        return row
    try:
        return pair.read(ident)
    except RowsRefusedError:  # whoever wants it back is told
        return row


def _found(key: Row, values: Row, now: Row | None) -> FoundRow:
    return FoundRow(
        key=tuple(map(public_value, key)),
        values=_shown(values),
        now=None if now is None else _shown(now),
    )


def _shown(values: Row) -> tuple[Value, ...]:
    return tuple(shortened(public_value(value), _LONGEST_SHOWN) for value in values)


def _has_words(values: Row, words: Sequence[str]) -> bool:
    text = _folded("\n".join([_text(value) for value in values if value is not None]))
    return all(word in text for word in words)


def _text(value: Any) -> str:
    """Return what a search looks in; bytes that are no text are not searched."""
    if isinstance(value, str):
        return value
    value = public_value(value)
    return "" if isinstance(value, bytes) else str(value)


def _folded(text: str) -> str:
    """Return ``text`` such that a search finds it in any case and width."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
