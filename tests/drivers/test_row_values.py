"""Values of rows as a person reads them."""

from __future__ import annotations

import pytest

from soulsense_db.drivers.sqlite.row_values import RawText, shown_apart

LONG = "It rained all day, and I read a book about mountains. "


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("a", "b", ("'a'", "'b'")),
        (1, "1", ("1", "'1'")),
        (LONG + "Ann came.", LONG + "Bob left.", ("'…ins. Ann came.'", "'…ins. Bob left.'")),
        (LONG, LONG + "it's", ("'…ins. '", "'…ins. it''s'")),
        (
            b"x" * 15,
            b"x" * 14 + b"y",
            ("x'…787878787878' (15 bytes)", "x'…787878787879' (15 bytes)"),
        ),
        (RawText(b"\xff" * 70), RawText(b"\xff" * 69 + b"!"), ("'…������'", "'…�����!'")),
    ],
)  # fmt: skip
def test_values_that_differ_are_shown_where_they_do(
    before: object, after: object, shown: tuple[str, str]
) -> None:
    """However long they are alike at first: two equal texts would tell nothing."""
    assert shown_apart(before, after) == shown
