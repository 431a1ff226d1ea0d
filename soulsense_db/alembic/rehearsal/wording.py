"""How a report counts rows and values, in words."""

from __future__ import annotations


def rows_text(count: int) -> str:
    """Return so many rows."""
    return f"{count:,} row{'' if count == 1 else 's'}"


def values_text(count: int) -> str:
    """Return so many values."""
    return f"{count:,} value{'' if count == 1 else 's'}"


def part_text(part: int, whole: int, what: str) -> str:
    """Return how many of how many."""
    if part == whole > 1:
        return f"all its {whole:,} {what}s"
    return f"{part:,} {what}{'' if part == 1 else 's'} of {whole:,}"
