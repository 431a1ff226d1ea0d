"""The function of the application behind ``package.module:function``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from soulsense_db.finding import errors
from soulsense_db.finding.application_code import running
from soulsense_db.finding.engine_reference import REFERENCE, attribute_of, imported


def function_named(reference: str) -> Callable[..., Any]:
    """Return the function that ``reference`` names; it is not called.

    Raises :class:`OptionError` for what is no such name, and :class:`ApplicationCodeError`.
    """
    match = REFERENCE.fullmatch(reference.strip())
    if match is None:
        raise errors.misspelt_function(reference)
    module, attribute = match["module"], match["attribute"]
    with running(f"importing {module}"):
        found = attribute_of(imported(module), module, attribute)
    if not callable(found) or inspect.iscoroutinefunction(found):
        raise errors.no_function(f"{module}:{attribute}", type(found).__name__)
    return found  # type: ignore[no-any-return]
