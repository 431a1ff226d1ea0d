"""Statements are read as servers write them, whatever is in their names and texts."""

from __future__ import annotations

import pytest

from soulsense_db.drivers.sql_text import Dialect, column_of, in_brackets, parts, without_brackets

_ONE = Dialect(has_escapes=False, clauses=frozenset({"DEFAULT", "NOT", "COLLATE"}))
_OTHER = Dialect(
    has_escapes=True,
    clauses=frozenset({"DEFAULT", "NOT", "NULL", "COMMENT"}),
    bare=frozenset({"NULL"}),
)


@pytest.mark.parametrize(
    ("dialect", "text", "expected"),
    [
        (_ONE, "a int, b text DEFAULT 'x,y''(', c", ["a int", "b text DEFAULT 'x,y''('", "c"]),
        (_ONE, "a DEFAULT E'\\',(', b", ["a DEFAULT E'\\',('", "b"]),
        (_ONE, "a DEFAULT '\\', b", ["a DEFAULT '\\'", "b"]),
        (_ONE, 'a, "b, ""(c" int', ["a", '"b, ""(c" int']),
        (_ONE, "a DEFAULT ARRAY['x', f(1, 2)], b", ["a DEFAULT ARRAY['x', f(1, 2)]", "b"]),
        (_OTHER, "`a, ``(` INT, b COMMENT 'it\\',('", ["`a, ``(` INT", "b COMMENT 'it\\',('"]),
        (_ONE, " ", []),
    ],
)
def test_a_list_is_divided_at_its_own_commas(
    dialect: Dialect, text: str, expected: list[str]
) -> None:
    """Not at those in texts, names and brackets."""
    assert parts(text, dialect) == expected


def test_a_column_has_a_type_and_clauses() -> None:
    """What follows DEFAULT is its own, also where it is a word that begins a clause."""
    column = column_of("`n``o` int(11) NULL DEFAULT NULL COMMENT 'x'", _OTHER)
    assert (column.name, column.declared) == ("n`o", "int(11)")
    assert column.clauses == (("NULL", ""), ("DEFAULT", "NULL"), ("COMMENT", "'x'"))
    column = column_of('b numeric(10, 2) DEFAULT (NOT true) NOT NULL COLLATE s."C"', _ONE)
    assert column.declared == "numeric(10, 2)"
    assert (column.clause("DEFAULT"), column.clause("COLLATE")) == ("(NOT true)", 's."C"')
    assert column.clause("COMMENT") is None


def test_brackets() -> None:
    """The first that are no part of a name or a text; those without an end go on to it."""
    assert in_brackets('CREATE TABLE "t (" (a, f(b)) WITH (x)', _ONE) == (
        'CREATE TABLE "t (" ',
        "a, f(b)",
        " WITH (x)",
    )
    assert in_brackets("nothing", _ONE) == ("nothing", "", "")
    assert parts("a, f(b, c", _ONE) == ["a", "f(b, c"]
    assert without_brackets("((a) = (b))", _ONE) == "(a) = (b)"
