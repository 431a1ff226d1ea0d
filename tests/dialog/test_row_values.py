"""Values of rows, as a person reads them in a cell of the window."""

from __future__ import annotations

import pytest

from soulsense_db.drivers import FoundRow

pytest.importorskip("tkinter", reason="the window needs tkinter")
from soulsense_db.dialog.row_values import cell


@pytest.mark.parametrize(
    ("before", "now", "shown"),
    [
        ("two\nlines", None, "two lines"),
        ("two\nlines", "two\nlines", "two lines"),
        ("two\nlines", "three lines", "two lines (now: three lines)"),
        ("two\nlines", "two lines", r"two\nlines (now: two lines)"),
        ("a tab\t", "a tab", r"a tab\t (now: a tab)"),
    ],
)
def test_two_values_of_a_cell_look_different(before: str, now: str | None, shown: str) -> None:
    """A line feed is a space, unless the two differ in nothing else."""
    there = None if now is None else (now,)
    assert cell(FoundRow(key=(1,), values=(before,), now=there), 0) == shown
