"""The body of a trigger, out of the statement that made it.

``ACTION_STATEMENT`` in ``information_schema`` has it in other words: without a layer of
backslashes, and without what says of which character set a text is. A trigger that was made of that
would do something else.
"""

from __future__ import annotations

import re

_GAP = r"(?>\s|/\*.*?\*/|--(?=\s)[^\n]*(?:\n|$)|\#[^\n]*(?:\n|$))"
_SOME, _ANY = f"{_GAP}++", f"{_GAP}*+"
_NAME = r'(?>`(?:[^`]|``)*`|"(?:[^"]|"")*"|[\w$]+)'
_QUALIFIED = rf"(?:{_NAME}{_ANY}\.{_ANY})?{_NAME}"
_USER = rf"(?:'(?:[^']|'')*'|{_NAME})"
_DEFINER = rf"DEFINER{_ANY}={_ANY}{_USER}(?:{_ANY}@{_ANY}{_USER})?{_ANY}"
_HEADER = re.compile(
    rf"{_ANY}CREATE{_SOME}(?:OR{_SOME}REPLACE{_SOME})?(?:{_DEFINER})?"
    rf"TRIGGER{_ANY}(?:IF{_SOME}NOT{_SOME}EXISTS{_ANY})?{_QUALIFIED}{_ANY}"
    rf"(?P<timing>BEFORE|AFTER){_SOME}(?P<event>INSERT|UPDATE|DELETE){_SOME}"
    rf"ON{_ANY}{_QUALIFIED}{_ANY}FOR{_SOME}EACH{_SOME}ROW\b\s*",
    re.IGNORECASE | re.DOTALL,
)
# Its place among others: the order in which they are made says it.
_PLACE = re.compile(rf"{_ANY}(?:FOLLOWS|PRECEDES)\b{_ANY}{_NAME}\s*", re.IGNORECASE | re.DOTALL)


def body_in(statement: str, *, timing: str, event: str) -> str | None:
    """Return what comes after ``FOR EACH ROW``, as it was written.

    Args:
        statement: What made the trigger.
        timing: ``BEFORE`` or ``AFTER``, as the server says otherwise.
        event: ``INSERT``, ``UPDATE`` or ``DELETE``, likewise.

    Returns:
        None where the statement is not understood.
    """
    header = _HEADER.match(statement)
    if header is None or (header["timing"].upper(), header["event"].upper()) != (timing, event):
        return None
    place = _PLACE.match(statement, header.end())
    return statement[place.end() if place else header.end() :] or None
