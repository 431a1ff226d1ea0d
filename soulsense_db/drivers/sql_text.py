"""Read the statements that a server writes itself: always in the same way, on as many lines."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

_NAME = r'(?:"(?:[^"]|"")*"|`(?:[^`]|``)*`|[\w$]+)'
_PATTERN = "{text}|" + _NAME + r"(?:\." + _NAME + r")*|\s+|."
_PLAIN_TEXT = r"[Ee]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'"
_TEXT_WITH_ESCAPES = r"'(?:[^'\\]|\\.|'')*'"
_OPENING, _CLOSING = "([", ")]"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How statements are written; ``clauses``: the words that begin one in a column's definition.

    ``bare``: those of them that are a clause by themselves.
    """

    has_escapes: bool
    clauses: frozenset[str]
    bare: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ColumnText:
    """The definition of a column; ``clauses``: what follows each of the words that begin one."""

    name: str
    declared: str
    clauses: tuple[tuple[str, str], ...]

    def clause(self, word: str) -> str | None:
        """Return what follows a word, None without it."""
        return next((text for found, text in self.clauses if found == word), None)


def unquoted(name: str) -> str:
    """Return a name without what quotes it."""
    quote = name[:1]
    if quote in {'"', "`"}:
        return name[1:-1].replace(quote * 2, quote)
    return name


def words(text: str, dialect: Dialect) -> Iterator[str]:
    """Yield the words of a text, what is in brackets and what is between two words as one each."""
    literal = _TEXT_WITH_ESCAPES if dialect.has_escapes else _PLAIN_TEXT
    pattern = re.compile(_PATTERN.replace("{text}", literal), re.DOTALL)
    group: list[str] = []
    depth = 0
    for match in pattern.finditer(text):
        word = match[0]
        depth += (word in _OPENING) - (word in _CLOSING)
        if depth > 0 or group:
            group.append(word)
            if depth <= 0:
                yield "".join(group)
                group.clear()
        else:
            yield word
    if group:
        yield "".join(group)


def parts(text: str, dialect: Dialect) -> list[str]:
    """Return what is between the commas of a list, such as that in the brackets of a table."""
    found = [""]
    for word in words(text, dialect):
        if word == ",":
            found.append("")
        else:
            found[-1] += word
    return [part for one in found if (part := one.strip())]


def in_brackets(text: str, dialect: Dialect) -> tuple[str, str, str]:
    """Return what is before the first bracket, between that and its end, and after it."""
    before = ""
    for word in words(text, dialect):
        if word.startswith("("):
            return before, word[1:-1], text[len(before) + len(word) :]
        before += word
    return text, "", ""


def column_of(text: str, dialect: Dialect) -> ColumnText:
    """Return what the definition of a column says."""
    found = list(words(text, dialect))
    name, rest = found[0], found[1:]
    clauses: list[tuple[str, str]] = []
    declared = ""
    for word in rest:
        last, content = clauses[-1] if clauses else ("", "")
        # What follows DEFAULT or NOT is never the beginning of another clause.
        is_open = bool(clauses) and last not in dialect.bare and not content.strip()
        if word in dialect.clauses and not is_open:
            clauses.append((word, ""))
        elif clauses:
            clauses[-1] = (last, content + word)
        else:
            declared += word
    return ColumnText(
        unquoted(name),
        declared.strip(),
        tuple((word, content.strip()) for word, content in clauses),
    )


def names_in(text: str, dialect: Dialect) -> tuple[str, ...]:
    """Return the names in a list of columns."""
    return tuple(unquoted(one) for one in parts(text, dialect))


def without_brackets(text: str, dialect: Dialect) -> str:
    """Return an expression without the brackets around all of it."""
    while text.startswith("("):
        before, inner, after = in_brackets(text, dialect)
        if before or after.strip():
            break
        text = inner.strip()
    return text


def extra_of(column: ColumnText, known: Collection[str]) -> str:
    """Return the clauses that are none of these, as they were written."""
    return " ".join(
        f"{word} {content}".strip() for word, content in column.clauses if word not in known
    )
