"""The engine behind ``package.module:attribute``."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from soulsense_db.drivers import engine_of
from soulsense_db.finding import errors
from soulsense_db.finding.application_code import reason_of, running

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

REFERENCE = re.compile(r"(?P<module>\w+(\.\w+)*):(?P<attribute>\w+(\.\w+)*)(\(\))?")


def engine_named(reference: str) -> Engine | AsyncEngine:
    """Return the engine that ``reference`` names: itself, not a new one of its URL.

    Raises :class:`OptionError` for what is no such name, and :class:`ApplicationCodeError`.
    """
    match = REFERENCE.fullmatch(reference.strip())
    if match is None:
        raise errors.misspelt(reference)
    module, attribute = match["module"], match["attribute"]
    name = f"{module}:{attribute}"
    with running(f"importing {module}"):
        found = attribute_of(imported(module), module, attribute)
    if callable(found) and not _has_engine(found):
        found = _called(found, name)
    return _engine(found, name)


def imported(module: str) -> ModuleType:
    """Return the application's module of that name, imported while its code is watched."""
    top = module.partition(".")[0]
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        reason = reason_of(error).partition(": ")[2]
        hidden = _is_hidden_by_python(top)
        raise errors.not_importable(
            module, reason, missing=error.name or "", hidden=hidden
        ) from error
    if _is_hidden_by_python(top):
        reason = "another module has its name"
        raise errors.not_importable(module, reason, missing="", hidden=True)
    return found


def _is_hidden_by_python(name: str) -> bool:
    """Whether the application has a module ``name``, and Python's own was there before it."""
    own = [
        path for folder in ("", "src") for path in (Path(folder, name), Path(folder, f"{name}.py"))
    ]
    own = [path.resolve() for path in own if path.exists()]
    if name not in sys.stdlib_module_names or not own:
        return False
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is None or not any(Path(file).resolve().is_relative_to(path) for path in own)


def attribute_of(found: Any, module: str, path: str) -> Any:
    """Return the attribute of what was ``found`` as ``module``; raises where there is none."""
    inside = module
    for name in path.split("."):
        if not hasattr(found, name):
            raise errors.no_attribute(inside, name, _engines_in(found))
        found = getattr(found, name)
        inside = f"{inside}.{name}"
    return found


def _engines_in(module: object) -> list[str]:
    names = vars(module) if hasattr(module, "__dict__") else {}
    return sorted(name for name, value in names.items() if _is_engine(value))


def _is_engine(value: object) -> bool:
    return type(value).__module__.startswith("sqlalchemy.") and _has_engine(value)


def _has_engine(value: object) -> bool:
    """Whether an engine comes of it without a call: a sessionmaker can be called as well."""
    try:
        engine_of(value)
    except TypeError:
        return False
    return True


def _called(factory: Callable[..., Any], name: str) -> Any:
    if inspect.iscoroutinefunction(factory):
        raise errors.no_engine(name, "an async function; its engine can be made without await")
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise errors.no_engine(name, f"it cannot be called: {error}") from None
    except ValueError:  # of C, which says nothing of its arguments
        pass
    with running(f"calling {name}()"):
        return factory()


def _engine(found: Any, name: str) -> Engine | AsyncEngine:
    kind = type(found).__name__
    if type(found).__module__.partition(".")[0] in {"flask", "flask_sqlalchemy"}:
        raise errors.flask_object(name)
    if inspect.isgenerator(found):
        raise errors.no_engine(name, "it yields: name the sessionmaker or engine that it uses")
    try:
        return engine_of(found)
    except TypeError:
        if isinstance(found, str) or hasattr(found, "render_as_string"):
            raise errors.no_engine(name, "a URL: give it to --url") from None
        raise errors.no_engine(name, f"it is of type {kind}") from None
