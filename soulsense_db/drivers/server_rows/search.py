"""Search a table of a backup for rows that the live database does not have, or has otherwise.

The backup is read from one end to the other, and never all of it is in memory. Which live row is
the same is found out as when rows come back, so that what is found here is what would come back.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from soulsense_db.drivers.diff_report import LongValue, Value
from soulsense_db.drivers.row_plan import RowSelection
from soulsense_db.drivers.row_search import FoundRow, FoundRows
from soulsense_db.drivers.server_rows.loading import Server
from soulsense_db.drivers.server_rows.pairs import Pair, paired
from soulsense_db.drivers.server_rows.planning import require_table
from soulsense_db.drivers.server_rows.tables import (
    Column,
    Row,
    Tables,
    digest_of,
    public_value,
)
from soulsense_db.errors import RowsRefusedError
from soulsense_db.progress import Progress

_TELL_EVERY = 500
_LONGEST, _START = 4096, 200  # bytes
# Rows without a key are compared all at once, by digests that are kept.
_MOST_UNKEYED = 100_000


class RowSearch:
    """Searches one table of the backup for rows that the live database does not have like that.

    ``selection``: names the table, and tables that are not to be touched; ``text``: words, each of
    which is somewhere in a row; ``differing``: whether rows count that the live database has with
    other values.
    """

    def __init__(
        self,
        server: Server,
        selection: RowSelection,
        *,
        text: str,
        differing: bool,
        limit: int,
        progress: Progress | None,
    ) -> None:
        self._server = server
        self._backup = server.backup
        self._shape = require_table(self._backup, selection)
        self._words = _folded(text).split()
        self._differing = differing
        self._limit = limit
        self._progress = progress
        self._by = self._backup.ident_columns(self._shape)
        self._columns = self._shape.stored

    def found(self) -> FoundRows:
        """Return the rows, at most as many as the limit says."""
        rows, is_complete = self._server.read(self._search)
        return FoundRows(
            table=self._shape.name,
            columns=tuple(one.name for one in self._columns),
            key=self._shape.key,
            rows=tuple(rows),
            is_complete=is_complete,
        )

    def _search(self, live: Tables) -> tuple[list[FoundRow], bool]:
        pair = paired(live, self._backup, self._shape.name)
        places = {one.name: at for at, one in enumerate(self._columns)}
        order = [places[one.name] for one in pair.columns]
        rows: list[FoundRow] = []
        unkeyed: list[tuple[Row, Row, bytes]] = []
        with self._server.streaming() as stream:
            matching = self._matching(stream)
            while some := list(islice(matching, self._shape.at_once)):
                own = [tuple(values[at] for at in order) for _, values in some]
                if not pair.key:
                    unkeyed += [
                        (ident, values, digest_of(_kept(pair, ident, row)))
                        for (ident, values), row in zip(some, own, strict=True)
                    ]
                    if len(unkeyed) >= _MOST_UNKEYED:
                        return self._with_unkeyed(pair, unkeyed, is_complete=False)
                    continue
                for (ident, values), row, now in zip(some, own, pair.find(own), strict=True):
                    if now is not None and not self._differs(pair, ident, row, now):
                        continue
                    if len(rows) >= self._limit:
                        return rows, False
                    rows.append(self._found(ident, values, now, order))
        return self._with_unkeyed(pair, unkeyed, is_complete=True) if unkeyed else (rows, True)

    def _differs(self, pair: Pair, ident: Row, row: Row, now: Row) -> bool:
        """Whether a row counts that the live database has as well, as ``now``."""
        return self._differing and now != row and now != _kept(pair, ident, row)

    def _with_unkeyed(
        self, pair: Pair, unkeyed: Sequence[tuple[Row, Row, bytes]], *, is_complete: bool
    ) -> tuple[list[FoundRow], bool]:
        """Return rows that only their values tell apart: of equal ones, as many as are missing."""
        missing = pair.missing_of(Counter(digest for *_, digest in unkeyed))
        rows: list[FoundRow] = []
        for ident, values, digest in unkeyed:
            if missing[digest] <= 0:
                continue
            missing[digest] -= 1
            if len(rows) >= self._limit:
                return rows, False
            rows.append(self._found(ident, values, None, ()))
        return rows, is_complete

    def _found(self, ident: Row, values: Row, now: Row | None, order: Sequence[int]) -> FoundRow:
        there: list[str | None] = [None] * len(self._columns)
        for at, value in zip(order, now or (), strict=False):
            there[at] = value
        key = tuple(public_value(one, to) for one, to in zip(ident, self._by, strict=True))
        return FoundRow(
            key=key,
            values=_shown(values, self._columns),
            now=None if now is None else _shown(there, self._columns),
        )

    # The backup

    def _matching(self, stream: Tables) -> Iterator[tuple[Row, Row]]:
        """Yield what each row that has the words is found by, and its values."""
        table = self._shape.source
        total = int(stream.rows(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 - quoted
        order = ", ".join(f"t.{stream.quoted(one.name)}" for one in self._by)
        wanted = stream.select([*self._by, *self._columns])
        statement = f"SELECT {wanted} FROM {table} AS t ORDER BY {order}"  # noqa: S608 - quoted
        for number, row in enumerate(stream.each(statement)):
            if number % _TELL_EVERY == 0:
                self._tell(number, total)
            texts = stream.texts(row)
            values = texts[len(self._by) :]
            if not self._words or _has_words(values, self._columns, self._words):
                yield texts[: len(self._by)], values
        self._tell(total, total)

    def _tell(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(done, total)


def _kept(pair: Pair, ident: Row, row: Row) -> Row:
    """Return ``row`` as the live table would keep it; as it is where that would lose something."""
    if not pair.is_converted:
        return row
    try:
        return pair.read([ident])[0]
    except RowsRefusedError:  # whoever wants it back is told
        return row


def _shown(values: Sequence[str | None], columns: Sequence[Column]) -> tuple[Value, ...]:
    pairs = zip(values, columns, strict=True)
    return tuple(_shortened(public_value(value, column)) for value, column in pairs)


def _shortened(value: Value) -> Value:
    """Return ``value``, or what stands for one that is too long to be kept."""
    if not isinstance(value, str | bytes):
        return value
    data = value.encode() if isinstance(value, str) else value
    if len(data) <= _LONGEST:
        return value
    return LongValue(
        kind="text" if isinstance(value, str) else "blob",
        length=len(value),
        sha256=hashlib.sha256(data).hexdigest(),
        start=value[:_START],
    )


def _has_words(values: Row, columns: Sequence[Column], words: Sequence[str]) -> bool:
    """Whether all words are in a row; bytes are not searched."""
    texts = [
        value
        for value, column in zip(values, columns, strict=True)
        if value is not None and column.kind != "bytes"
    ]
    text = _folded("\n".join(texts))
    return all(word in text for word in words)


def _folded(text: str) -> str:
    """Return ``text`` such that a search finds it in any case and width."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
