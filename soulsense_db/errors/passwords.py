"""Passwords have no place in an error, a log or a command to copy."""

from __future__ import annotations

import re

from soulsense_db.shown_text import printable

# Up to the last @, for whoever did not quote one in the password. A path has one slash of a URL.
_IN_URL = re.compile(
    r"((?:(?<![\w+.-])[A-Za-z][\w+.-]{1,40}:/{1,9}|://)[^\s:@/]{0,999}):\S{0,9999}@"
)
_IN_QUERY = re.compile(
    r"([?&;][\w.-]*(?:pass|pwd|secret|token|key)[\w.-]*=)[^\s&;]*[^\s&;.)]", re.IGNORECASE
)


def without_passwords(text: str) -> str:
    """Return ``text`` with ``***`` for every password in a URL, whoever it came from."""
    return _IN_QUERY.sub(r"\1***", _IN_URL.sub(r"\1:***@", text))


def presentable(text: str) -> str:
    """Return ``text`` on one line, without passwords and without characters that act."""
    return printable(without_passwords(text))
