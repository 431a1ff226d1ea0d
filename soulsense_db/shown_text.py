"""Text from files and names, as it may be shown: on a terminal, in a log, in a window.

Descriptions, names and paths may hold anything: sequences that clear the screen, line feeds that
forge a line of a log, marks that turn the direction of writing around.
"""

from __future__ import annotations

import logging
import shlex
import unicodedata
from collections.abc import Mapping

# Control characters, those of format, lone surrogates, separators of lines and of paragraphs.
_ACTING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Joiners of emoji and of Persian letters act on their neighbours only.
_JOINERS = "\u200c\u200d"


def printable(text: str) -> str:
    """Return ``text`` on one line, with a space for each character that acts instead of showing."""
    if text.isprintable():
        return text
    return "".join(c if _shows(c) else " " for c in text)


def _shows(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in _ACTING


def escaped(text: str) -> str:
    r"""Return ``text`` on one line, with escape sequences such as ``\n`` for what acts.

    As :func:`printable`, where it matters which character it is, as in the values of rows.
    """
    if text.isprintable():
        return text
    return "".join(c if _shows(c) else c.encode("unicode_escape").decode() for c in text)


def shell_command(*words: object) -> str:
    """Return a command to copy to a shell, with ``words`` as they are, whatever is in them.

    A word that would not be printable is written as ``$'...'``, which bash, zsh and ksh know.
    """
    return " ".join(_quoted(str(word)) for word in words)


def _quoted(word: str) -> str:
    if printable(word) == word:
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{''.join(c if c.isprintable() else _octal(c) for c in escaped)}'"


def _octal(character: str) -> str:
    is_byte = "\udc80" <= character <= "\udcff"  # of a file's name that is no text
    data = character.encode(errors="surrogateescape" if is_byte else "surrogatepass")
    return "".join(f"\\{byte:03o}" for byte in data)


class _Printable(logging.Filter):
    """Makes what a log line is made of printable; the line is then so too."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = printable(str(record.msg))
        if isinstance(record.args, Mapping):
            record.args = {name: _shown(value) for name, value in record.args.items()}
        elif record.args:
            record.args = tuple(map(_shown, record.args))
        return True


def _shown(value: object) -> object:
    return value if isinstance(value, (int, float)) else printable(str(value))


_FILTER = _Printable()


def logger_of(name: str) -> logging.Logger:
    """Return the logger ``name``, whose lines are printable from now on."""
    log = logging.getLogger(name)
    log.disabled = False  # by a stock env.py, which disables all loggers that it does not name
    log.addFilter(_FILTER)  # a second time does nothing
    return log
