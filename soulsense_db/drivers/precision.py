"""Whether a number says less than the value whose place it took."""

from __future__ import annotations

import re
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

# The number that a text begins with, as a CAST reads it.
_PREFIX = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_NUMBERS = (int, float, Decimal)
_LEADING_ZERO = re.compile(r"\s*[+-]?0\d")
_LONGEST_NUMBER = 400  # few numbers have more digits


def is_less_exact(new: Any, old: Any) -> bool:
    """Whether ``new`` is the number ``old`` rounded, or only a part of what the text ``old`` says.

    A text without a digit says no number: :func:`says_no_number`.
    """
    if type(new) not in _NUMBERS:
        return False
    try:
        if isinstance(old, str):
            return _is_part_of(_decimal(new), old)
        if type(old) in _NUMBERS:
            return _is_rounded(_decimal(new), _decimal(old))
    except (InvalidOperation, OverflowError):  # infinite, or far too large
        return False
    return False


def says_no_number(old: Any) -> bool:
    """Whether a CAST would make 0 of a text, whatever is in it."""
    return isinstance(old, str) and not _PREFIX.match(old)


def _decimal(number: float | Decimal) -> Decimal:
    return Decimal(str(number))


def _is_part_of(new: Decimal, text: str) -> bool:
    found = _PREFIX.match(text[:_LONGEST_NUMBER])
    if found is None:
        return False
    said = Decimal(found[1])
    is_all = found.end() == len(text.rstrip())
    if is_all and new == said:
        return bool(_LEADING_ZERO.match(text))
    # Another number than a CAST makes of it is one that somebody chose.
    return new in {said, said.to_integral_value(ROUND_DOWN)} or new == _decimal(float(said))


def _is_rounded(new: Decimal, old: Decimal) -> bool:
    if new == old or not (new.is_finite() and old.is_finite()):
        return False
    places = Decimal(1).scaleb(min(0, int(new.normalize().as_tuple().exponent)))
    if places > Decimal(1).scaleb(int(old.normalize().as_tuple().exponent)):
        return any(
            old.quantize(places, rounding) == new
            for rounding in (ROUND_HALF_UP, ROUND_HALF_EVEN, ROUND_DOWN)
        )
    return new == _decimal(float(old))  # an integer that no float can be
