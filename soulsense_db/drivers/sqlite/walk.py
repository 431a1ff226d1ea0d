"""Walk two sides of a table side by side, in the order of their keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from soulsense_db.drivers.diff_report import LongValue
from soulsense_db.drivers.sqlite.rows import Row

Order = list[tuple[int, Any]]


class UnorderedError(Exception):
    """A key is too long to be kept, and says nothing of its place among the others."""


class Walk:
    """Yields the rows that differ: in both, only in the first, only in the second.

    ``key_size``: how many values at the beginning of a row are its key; ``encoding``: of text.
    ``null_keys``: several rows may have a key with NULL in it: such a row is found by all values,
    and the rows come in that order.

    When it is at its end, it knows how many rows there were, and in ``tail`` how many of those only
    in the first are behind the last one of the second.
    """

    def __init__(
        self,
        first: Iterator[Row],
        second: Iterator[Row],
        *,
        key_size: int,
        encoding: str,
        null_keys: bool = False,
    ) -> None:
        self._first = first
        self._second = second
        self._place = _placing(key_size, encoding, null_keys=null_keys)
        self.first_rows = self.second_rows = self.tail = 0

    def __iter__(self) -> Iterator[tuple[Row | None, Row | None]]:
        first, second, place = self._first, self._second, self._place
        same = both = only_first = only_second = 0
        one, other = next(first, None), next(second, None)
        while one is not None and other is not None:
            if one == other:
                same += 1
                one, other = next(first, None), next(second, None)
                continue
            one_place, other_place = place(one), place(other)
            if one_place == other_place:
                both += 1
                yield one, other
                one, other = next(first, None), next(second, None)
            elif one_place < other_place:
                only_first += 1
                yield one, None
                one = next(first, None)
            else:
                only_second += 1
                yield None, other
                other = next(second, None)
        while one is not None:
            self.tail += 1
            yield one, None
            one = next(first, None)
        while other is not None:
            only_second += 1
            yield None, other
            other = next(second, None)
        self.first_rows = same + both + only_first + self.tail
        self.second_rows = same + both + only_second


def _placing(key_size: int, encoding: str, *, null_keys: bool) -> Callable[[Row], Order]:
    def of_key(row: Row) -> Order:
        return [_place(value, encoding) for value in row[:key_size]]

    def of_key_or_all(row: Row) -> Order:
        return of_key(row) if None not in row[:key_size] else [_place(v, encoding) for v in row]

    return of_key_or_all if null_keys else of_key


def _place(value: Any, encoding: str) -> tuple[int, Any]:
    """Return what Python orders as SQLite does: NULL, numbers, text, blobs."""
    if value is None:
        return 0, 0
    if isinstance(value, int | float):
        return 1, value
    if isinstance(value, str):
        # What is no text has come as such stand-ins, or in UTF-16 as halves of pairs.
        unpaired = "surrogateescape" if encoding == "UTF-8" else "surrogatepass"
        return 2, value.encode(encoding, errors=unpaired)
    if isinstance(value, LongValue):
        raise UnorderedError
    return 3, value
