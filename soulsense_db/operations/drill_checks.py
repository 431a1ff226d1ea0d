"""What users themselves require of a restored backup: queries and functions."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from traceback import extract_tb
from typing import Any

from sqlalchemy.engine import Engine

from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import Driver, QueryError
from soulsense_db.operations.drill_errors import check_failed, wrong_check, wrong_function
from soulsense_db.shown_text import printable

DrillCheck = str | Mapping[str, Any] | Callable[[Engine], object]
"""A ``SELECT`` that must be true; a mapping with ``sql`` and one of ``is``, ``at-least``,
``at-most``; or a function that is called with an engine and raises, or returns False, if something
is wrong; otherwise it returns True or nothing."""

_COMPARISONS = ("is", "at-least", "at-most")
_KEYS = {"sql", "name", *_COMPARISONS}
_MOST_SHOWN = 60
# What is called returns at once, and its body has not run.
_LAZY = (
    inspect.isgeneratorfunction,
    inspect.iscoroutinefunction,
    inspect.isasyncgenfunction,
)
# Behind comments. What else is in it, the database refuses.
_SELECT = re.compile(r"(?:\s|/\*.*?\*/|--[^\n]*\n)*(?:select|with|values)\b", re.I | re.S)


@dataclass(frozen=True, slots=True)
class Check:
    """One check, called ``name``; ``problem`` returns why a restored copy fails it, or nothing."""

    name: str
    problem: Callable[[Driver], str]


def checks_of(given: Iterable[DrillCheck]) -> tuple[Check, ...]:
    """Return the checks, queries first: a function may write to the copy.

    Raises :class:`~soulsense_db.errors.OptionError` for what is none.
    """
    if isinstance(given, str | Mapping) or callable(given):  # one, where several may be
        given = (given,)
    queries: list[Check] = []
    functions: list[Check] = []
    for number, one in enumerate(given, 1):
        if isinstance(one, str):
            queries.append(_query(number, {"sql": one}))
        elif isinstance(one, Mapping):
            queries.append(_query(number, one))
        elif callable(one):
            functions.append(_function(number, one))
        else:
            raise wrong_check(number, f"{_shown(one)} is neither a query nor a function")
    return (*queries, *functions)


def run_checks(
    driver: Driver, info: BackupInfo, checks: Iterable[Check], *, is_migrated: bool
) -> None:
    """Raise :class:`~soulsense_db.errors.DrillError` for the first check that the copy fails.

    ``is_migrated``: whether the copy was migrated to today's code before.
    """
    for check in checks:
        if problem := check.problem(driver):
            raise check_failed(info, check.name, problem, is_migrated=is_migrated)


# Queries


def _query(number: int, given: Mapping[str, Any]) -> Check:
    # In Python a key is as easily written with an underscore.
    facts = {str(key).replace("_", "-"): value for key, value in given.items()}
    if unknown := sorted(facts.keys() - _KEYS):
        raise wrong_check(number, f"there is no key '{unknown[0]}'")
    sql = facts.get("sql")
    if not isinstance(sql, str) or not _SELECT.match(sql):
        raise wrong_check(number, "its 'sql' is no SELECT")
    wanted = [key for key in _COMPARISONS if key in facts]
    if wanted[1:]:
        raise wrong_check(number, f"it has both '{wanted[0]}' and '{wanted[1]}'")
    key = wanted[0] if wanted else "is"
    value = facts.get(key, True)
    if not isinstance(value, str | int | float):
        raise wrong_check(number, f"'{key}' is neither a text, a number, true nor false")
    if key != "is" and isinstance(value, bool):
        raise wrong_check(number, f"'{key}' is no number or text")
    name = str(facts.get("name") or _shortened(" ".join(sql.split())))

    def problem(driver: Driver) -> str:
        try:
            return _problem_of_rows(driver.query(sql), key, value)
        except QueryError as error:
            if error.is_wrong:
                reason = str(error).rstrip(".")
                raise wrong_check(number, f"{reason} ({name})") from error
            return str(error)

    return Check(name, problem)


def _problem_of_rows(rows: Sequence[Sequence[Any]], key: str, wanted: str | float) -> str:
    if not rows:
        return "it returned no row, and must return one value"
    if rows[1:] or len(rows[0]) != 1:
        what = f"{len(rows[0])} columns" if not rows[1:] else "several rows"
        raise QueryError(f"it returns {what}, and must return one value", is_wrong=True)
    found = rows[0][0]
    if _fits(found, key, wanted):
        return ""
    words = {"is": "not", "at-least": "which is less than", "at-most": "which is more than"}
    return f"it returned {_shown(found)}, {words[key]} {_shown(wanted)}"


def _fits(found: Any, key: str, wanted: str | float) -> bool:
    if key == "is" and isinstance(wanted, bool):
        # As SQL has it: 1, or any other number but 0, is true; NULL is neither.
        return isinstance(found, int | float) and bool(found) is wanted
    if isinstance(found, str) != isinstance(wanted, str) or not isinstance(
        found, str | int | float
    ):
        return False
    if key == "is":
        return bool(found == wanted)
    return bool(found >= wanted if key == "at-least" else found <= wanted)  # type: ignore[operator]


# Functions


def _function(number: int, function: Callable[[Engine], object]) -> Check:
    name = getattr(function, "__qualname__", type(function).__name__)
    module = getattr(function, "__module__", None)
    name = f"{module}:{name}" if module else name
    if any(is_lazy(function) for is_lazy in _LAZY):
        raise wrong_function(number, name, "calling it runs nothing: it is async, or has a yield")

    def problem(driver: Driver) -> str:
        try:
            result = function(driver.engine)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - what the application raises is its answer
            return _told_of(error) + _place_of(error, function)
        finally:
            driver.engine.dispose()
        if result is not None and not isinstance(result, bool):
            # A number or a text may mean either; what is still to be run has looked at nothing.
            raise wrong_function(
                number, name, f"it returned something else ({type(result).__name__})"
            )
        # What returns nothing has found nothing.
        return "it returned False" if result is False else ""

    return Check(name, problem)


def _told_of(error: BaseException) -> str:
    """Return the kind of an error, and its first line: of the application, which may fail too."""
    kind = type(error).__name__
    try:
        said = str(error).strip().splitlines()
    except Exception:  # noqa: BLE001
        return f"{kind}, which cannot say what happened"
    return f"{kind}: {_shortened(said[0])}" if said else kind


def _place_of(error: BaseException, function: Callable[[Engine], object]) -> str:
    """Return where in the file of ``function`` it was raised: an assertion may say nothing."""
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({PurePath(file).name}, line {lines[-1]})" if file and lines else ""


def _shown(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    return _shortened(value if isinstance(value, int | float) else repr(value))


def _shortened(value: object) -> str:
    text = printable(str(value))
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"
