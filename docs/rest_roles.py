"""Docstrings are written for Python's help(); here they become what the site shows.

Their roles become links, the errors of a ``Raises:`` section their full names, which are linked as
well, and types lose the limits that only the reader of meta files needs.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

from soulsense_db import errors
from soulsense_db.alembic import errors as alembic_errors

_ROLE = re.compile(r":\w+:`~?([\w.]+)`")


class FromRest(griffe.Extension):
    """Turns roles and double backticks of docstrings into Markdown, with links."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Change all of ``pkg``, once it is loaded."""
        finish(pkg)


def finish(obj: griffe.Object) -> None:
    """Change the docstring and the types of ``obj``, and of its members."""
    if isinstance(obj, griffe.Attribute):
        obj.annotation = without_limits(obj.annotation, obj.module)
    for parameter in obj.parameters if isinstance(obj, griffe.Function) else ():
        parameter.annotation = without_limits(parameter.annotation, obj.module)
    for member in obj.members.values():
        if not member.is_alias:
            finish(member)
    if obj.docstring is not None:
        obj.docstring.value = for_site(obj.docstring.value, obj)
        # With the members' types as they are now.
        for section in obj.docstring.parsed:
            if section.kind is griffe.DocstringSectionKind.raises:
                for raised in section.value:
                    raised.annotation = _linked(str(raised.annotation))


def _linked(name: str) -> str | griffe.Expr:
    """Return ``name``, that of an error, with the module that it is documented in."""
    for module in (errors, alembic_errors):
        if hasattr(module, name):
            return griffe.ExprName(name, parent=module.__name__)
    return name


def for_site(text: str, obj: griffe.Object) -> str:
    """Return ``text``, the docstring of ``obj``, as Markdown in griffe's Google style."""
    text = _ROLE.sub(lambda role: _link(role[1], obj), text)
    text = re.sub(r"``([^`\n]+)``", r"`\1`", text)
    text = re.sub(r"::\n\n", ":\n\n", text)
    return re.sub(r"^Example:$", "Examples: Example:", text, flags=re.MULTILINE)


def _link(name: str, obj: griffe.Object) -> str:
    """Return a link to ``name`` as ``obj`` knows it; plain code where no page shows it."""
    first, dot, rest = name.partition(".")
    if first != "soulsense_db":
        try:
            name = obj.resolve(first) + dot + rest
        except griffe.NameResolutionError:
            return f"`{name}`"
    shown = name.rpartition(".")[2]
    return f'<autoref identifier="{name}" optional><code>{shown}</code></autoref>'


def without_limits(annotation: Any, module: griffe.Module) -> Any:
    """Return ``annotation`` with the type itself for each ``Annotated`` one, also for its alias."""
    if isinstance(annotation, griffe.ExprName):
        alias = module.members.get(annotation.name)
        value = alias.value if isinstance(alias, griffe.Attribute) else None
        return without_limits(value, module) if _is_annotated(value) else annotation
    if _is_annotated(annotation):
        return without_limits(annotation.slice.elements[0], module)
    if isinstance(annotation, griffe.ExprBinOp):
        annotation.left = without_limits(annotation.left, module)
        annotation.right = without_limits(annotation.right, module)
    if isinstance(annotation, griffe.ExprSubscript):
        annotation.slice = without_limits(annotation.slice, module)
    if isinstance(annotation, griffe.ExprTuple):
        annotation.elements = [without_limits(part, module) for part in annotation.elements]
    return annotation


def _is_annotated(annotation: Any) -> bool:
    return isinstance(annotation, griffe.ExprSubscript) and str(annotation.left) == "Annotated"
