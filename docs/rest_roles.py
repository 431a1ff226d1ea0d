"""Docstrings are written for Python's help(); here their reST becomes Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe


class FromRest(griffe.Extension):
    """Turns roles and double backticks of docstrings into Markdown code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of ``obj``."""
        if obj.docstring is not None:
            obj.docstring.value = from_rest(obj.docstring.value)


def from_rest(text: str) -> str:
    """Return ``text`` with its roles (``:class:`~a.B```) and literals as Markdown code."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    text = re.sub(r"``([^`\n]+)``", r"`\1`", text)
    return re.sub(r"::\n\n", ":\n\n", text)
