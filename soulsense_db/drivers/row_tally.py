"""Tally the rows that differ: how many of which kind, in which columns, and some samples."""

from __future__ import annotations

import hashlib
from bisect import insort
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

from soulsense_db.drivers.diff_report import (
    ChangeKind,
    ColumnChange,
    LongValue,
    RowChange,
    ShorterValue,
    Value,
)
from soulsense_db.drivers.long_values import shortened
from soulsense_db.drivers.precision import is_less_exact, says_no_number

Row = tuple[Any, ...]

_LONGEST_IN_SAMPLE = 4096
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class Found:
    """What differs between the rows of a table; ``changed`` is None where nobody can tell."""

    added: int = 0
    removed: int = 0
    changed: int | None = 0
    columns: tuple[ColumnChange, ...] = ()
    samples: tuple[RowChange, ...] = ()


class Tally:
    """Counts the rows that differ; ``columns`` is what they have, behind their key.

    ``not_text``: columns whose values are only shown as texts. ``is_ordered``: whether the rows
    come in the order of their keys, of which the first ones are kept as samples.
    """

    def __init__(
        self,
        most_samples: int,
        columns: Sequence[str],
        *,
        not_text: Collection[str] = (),
        is_ordered: bool = True,
    ) -> None:
        self.columns = columns
        self._is_text = [column not in not_text for column in columns]
        self._is_ordered = is_ordered
        self._most = most_samples
        self._samples: dict[ChangeKind, list[RowChange]] = {
            "added": [],
            "removed": [],
            "changed": [],
        }
        self._added = self._removed = self._changed = 0
        self._differing = [0] * len(columns)
        self._became_null = [0] * len(columns)
        self._became_shorter = [0] * len(columns)
        self._first_shorter: list[ShorterValue | None] = [None] * len(columns)
        self._became_inexact = [0] * len(columns)
        # Texts without a number that became 0, as by a CAST, and those that became another number.
        self._became_zero = [0] * len(columns)
        self._became_number = [0] * len(columns)
        self._digest = 0

    @property
    def found(self) -> Found:
        """What was counted so far."""
        counts = zip(
            self.columns,
            self._differing,
            self._became_null,
            self._became_shorter,
            self._inexact,
            self._first_shorter,
            strict=True,
        )
        return Found(
            self._added,
            self._removed,
            self._changed,
            tuple(
                ColumnChange(
                    column=column,
                    differing=differing,
                    became_null=became_null,
                    became_shorter=became_shorter,
                    became_inexact=inexact,
                    first_shorter=first,
                )
                for column, differing, became_null, became_shorter, inexact, first in counts
                if differing
            ),
            tuple(sample for samples in self._samples.values() for sample in samples),
        )

    @property
    def _inexact(self) -> list[int]:
        """How many numbers say less than before, by column.

        Where words became several numbers, somebody gave each its own.
        """
        return [
            rounded + (0 if others else zeros)
            for rounded, zeros, others in zip(
                self._became_inexact, self._became_zero, self._became_number, strict=True
            )
        ]

    @property
    def is_renumbered(self) -> bool:
        """Whether the rows that differ are the same on both sides, under other keys."""
        differ = self._added or self._removed or self._changed
        return bool(differ) and self._added == self._removed and self._digest == 0

    def add(
        self, rows: Iterable[tuple[Row | None, Row | None]], key_size: int, *, keeps_digest: bool
    ) -> None:
        """Count ``rows`` of a walk: those only in the first, only in the second, in both."""
        for before, after in rows:
            if keeps_digest:
                self._digest += _digest(after, key_size) - _digest(before, key_size)
            if before is None:
                self._added += 1
                self._keep("added", key_size, None, after)
            elif after is None:
                self._removed += 1
                self._keep("removed", key_size, before, None)
            else:
                self._changed += 1
                self._compare(before, after, key_size)
                self._keep("changed", key_size, before, after)

    def sample(self, rows: Iterator[Row], key_size: int, *, is_new: bool) -> None:
        """Keep the first of ``rows``, which only one side has."""
        for row in islice(rows, self._most):
            self._keep(
                "added" if is_new else "removed",
                key_size,
                None if is_new else row,
                row if is_new else None,
            )

    def _compare(self, before: Row, after: Row, key_size: int) -> None:
        for at in range(len(self.columns)):
            old, new = before[key_size + at], after[key_size + at]
            if old is new or (old == new and type(old) is type(new)):
                continue
            self._differing[at] += 1
            if new is None:
                self._became_null[at] += 1
            elif self._is_text[at] and _is_shorter(new, old):
                self._became_shorter[at] += 1
                if self._first_shorter[at] is None:
                    self._first_shorter[at] = ShorterValue(
                        key=_kept(before[:key_size]), before=_length(old), after=_length(new)
                    )
            elif is_less_exact(new, old):
                self._became_inexact[at] += 1
            elif isinstance(new, int | float | Decimal) and says_no_number(old):
                self._became_zero[at] += new == 0
                self._became_number[at] += new != 0

    def _keep(self, kind: ChangeKind, key_size: int, before: Row | None, after: Row | None) -> None:
        samples = self._samples[kind]
        is_full = len(samples) >= self._most
        if not self._most or (is_full and self._is_ordered):
            return
        there = after or before
        assert there is not None
        end = key_size + len(self.columns)
        if is_full and place_of(there[: key_size or end]) >= _place_of_sample(samples[-1]):
            return
        found = RowChange(
            kind=kind,
            key=_kept(there[:key_size]),
            before=None if before is None else _kept(before[key_size:end]),
            after=None if after is None else _kept(after[key_size:end]),
        )
        if self._is_ordered:
            samples.append(found)
            return
        insort(samples, found, key=_place_of_sample)
        del samples[self._most :]


def _place_of_sample(sample: RowChange) -> list[tuple[int, Any]]:
    return place_of(sample.key or sample.after or sample.before or ())


def place_of(values: Row) -> list[tuple[int, Any]]:
    """Return what orders rows by these values, whatever kinds of values they are."""
    return [_place(value) for value in values]


def _place(value: Any) -> tuple[int, Any]:
    if value is None:
        return 0, 0
    if isinstance(value, LongValue):
        value = value.start
    if isinstance(value, str):
        return 2, value.encode(errors="surrogateescape")
    if isinstance(value, bytes):
        return 3, value
    return (1, value) if value == value else (1, float("inf"))  # noqa: PLR0124 - NaN is not


def _kept(row: Row) -> tuple[Value, ...]:
    return tuple(shortened(value, _LONGEST_IN_SAMPLE) for value in row)


def says_less(new: Any, old: Any) -> bool:
    """Whether a value that changed is NULL now, shorter, or less exact."""
    return (old is not None and new is None) or _is_shorter(new, old) or is_less_exact(new, old)


def _kind(value: Any) -> str | None:
    if isinstance(value, LongValue):
        return value.kind
    if isinstance(value, str):
        return "text"
    return "blob" if isinstance(value, bytes) else None


def _is_shorter(value: Any, than: Any) -> bool:
    """Whether both are text or bytes, and this is less of it."""
    kind, other = _kind(value), _kind(than)
    if kind is None or other is None:
        return False
    if kind != other:  # characters and bytes cannot be compared, but with nothing
        return _length(value) == 0 < _length(than)
    return _length(value) < _length(than)


def _length(value: Any) -> int:
    return value.length if isinstance(value, LongValue) else len(value)


def _digest(row: Row | None, key_size: int) -> int:
    """Return a number for the values of a row: a sum of them is one for all rows in any order."""
    if row is None:
        return 0
    text = repr(row[key_size:]).encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest())
