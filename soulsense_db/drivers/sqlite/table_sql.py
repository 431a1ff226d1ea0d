"""Read the SQL of a schema as far as SQLite has no other way to tell what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from soulsense_db.drivers.sqlite.pragmas import folded

_TOKEN = re.compile(
    r"""
    (?P<space> \s+ | --[^\n]* | /\*.*?(?:\*/|\Z) )
  | (?P<string> '(?:[^']|'')*(?:'|\Z) )
  | (?P<quoted> "(?:[^"]|"")*(?:"|\Z) | `(?:[^`]|``)*(?:`|\Z) | \[[^\]]*(?:\]|\Z) )
  | (?P<word> [\w$\x80-\U0010ffff]+ )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_UNESCAPED = {'"': '""', "`": "``"}
_CONSTRAINTS = {"constraint", "primary", "unique", "check", "foreign"}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of SQL: ``text`` is the same for all ways to write a name or a keyword."""

    text: str
    is_name: bool
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TableSQL:
    """What the SQL of a table says: a text for each CHECK, collations by column, the rest."""

    checks: tuple[str, ...]
    collations: dict[str, str]
    options: frozenset[str]


def tokens(sql: str) -> list[Token]:
    """Return the pieces of ``sql`` without space and comments."""
    found = []
    for match in _TOKEN.finditer(sql):
        kind, text = match.lastgroup, match.group()
        if kind == "space":
            continue
        if kind == "quoted":
            end = text[0]
            text = text[1:-1].replace(_UNESCAPED.get(end, end), end)
        if kind in {"quoted", "word"}:
            text = folded(text)
        found.append(Token(text, kind in {"quoted", "word"}, match.start(), match.end()))
    return found


def same_sql(one: str, other: str) -> bool:
    """Whether both say the same, but for space, comments, quotes of names and the case of words."""
    if one == other:
        return True
    return [(t.text, t.is_name) for t in tokens(one)] == [
        (t.text, t.is_name) for t in tokens(other)
    ]


def read_table(sql: str) -> TableSQL:
    """Return what the SQL of a table says."""
    found = tokens(sql)
    depths = list(_depths(found))
    after = {t.text for t, depth in zip(found, depths, strict=True) if depth == 0 and t.is_name}
    options: set[str] = {name for name in ("strict", "without") if name in after}
    if any(token.text == "autoincrement" for token in found):
        options.add("autoincrement")
    body = [(t, depth) for t, depth in zip(found, depths, strict=True) if depth > 0]
    return TableSQL(
        checks=tuple(_checks(sql, found, depths)),
        collations=dict(_collations(body)),
        options=frozenset(options),
    )


def _depths(found: Sequence[Token]) -> Iterator[int]:
    """Yield how many parentheses are open at each token; of one itself, those around it."""
    depth = 0
    for token in found:
        if token.text == ")" and not token.is_name:
            depth -= 1
        yield depth
        if token.text == "(" and not token.is_name:
            depth += 1


def _checks(sql: str, found: Sequence[Token], depths: Sequence[int]) -> Iterator[str]:
    """Yield what stands in the parentheses of each CHECK, on one line."""
    pairs = pairwise(range(len(found)))
    for at, after in pairs:
        is_check = found[at].text == "check" and found[at].is_name and depths[at] == 1
        if not is_check or found[after].text != "(":
            continue
        end = next(
            (i for i in range(after + 1, len(found)) if depths[i] == depths[after]), len(found) - 1
        )
        yield " ".join(sql[found[after].end : found[end].start].split())


def _collations(body: Sequence[tuple[Token, int]]) -> Iterator[tuple[str, str]]:
    """Yield the name of each column, in small letters, that has a collation of its own."""
    column: str | None = None
    is_start = True
    for (token, depth), (following, _) in pairwise(body):
        if depth != 1:
            continue
        if is_start:
            column = None if token.text in _CONSTRAINTS else token.text
        is_start = token.text == "," and not token.is_name
        if column is not None and token.text == "collate" and token.is_name:
            yield column, following.text.upper()
