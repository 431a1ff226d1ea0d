"""Where the body of a trigger begins in the statement that made it."""

from __future__ import annotations

import pytest

from soulsense_db.drivers.mariadb.trigger_text import body_in


@pytest.mark.parametrize(
    ("statement", "body"),
    [
        ("CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW SET @x=1", "SET @x=1"),
        (
            "create or replace definer = 'x'@'%' trigger if not exists`s`.`a``b`before insert\non"
            ' "s"."t"for each row follows`b`DO 1',
            "DO 1",
        ),
        ("CREATE DEFINER=`r` TRIGGER a/*x*/BEFORE INSERT ON t FOR EACH ROW BEGIN END", "BEGIN END"),
        (
            "CREATE TRIGGER a BEFORE # FOR EACH ROW\n INSERT -- x\n ON t FOR EACH ROW\n"
            "-- x\nPRECEDES c /* d */ DO 1",
            "/* d */ DO 1",
        ),
        (
            "CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW\n follow: BEGIN END",
            "follow: BEGIN END",
        ),
        ("CREATE TRIGGER a BEFORE INSERT OR UPDATE ON t FOR EACH ROW DO 1", None),
        ("CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW DO 1", None),
        ("CREATE TRIGGER a " + "/* x */" * 5000, None),
    ],
)
def test_the_body_is_found_behind_every_header(statement: str, body: str | None) -> None:
    """Names may be quoted or bare, comments stand anywhere; what is not known is said."""
    assert body_in(statement, timing="BEFORE", event="INSERT") == body
