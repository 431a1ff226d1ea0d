"""The error tree."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator

import pytest

from soulsense_db import errors
from soulsense_db.errors import BackupError, DatabaseError


def _tree(root: type[BackupError] = BackupError) -> Iterator[type[BackupError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


CLASSES = list(_tree())


def test_every_exit_code_is_one_errors_own() -> None:
    """A script can tell every error from every other by its exit code, 1 to 127."""
    codes = [cls.exit_code for cls in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(1 <= code <= 127 for code in codes)
    assert all("exit_code" in vars(cls) for cls in CLASSES)


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_survive_pickling(cls: type[BackupError]) -> None:
    """An error raised in a worker process arrives whole: class, message, hint."""
    error = cls("It broke.", hint="Mend it.")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(copy) is cls
    assert (copy.message, copy.hint, str(copy)) == ("It broke.", "Mend it.", "It broke. Mend it.")


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_without_a_hint_is_only_its_message(cls: type[BackupError]) -> None:
    """No stray space or word is printed where there is nothing to advise."""
    assert str(cls("It broke.")) == "It broke."
    assert cls("It broke.").hint == ""


def test_the_guides_name_is_the_root() -> None:
    """``except DatabaseError`` of the guide catches everything this package raises."""
    assert DatabaseError is BackupError


def test_the_drawn_tree_is_the_real_one() -> None:
    """The tree at the top of the module names every class under its parent, with its code."""
    drawn: dict[str, tuple[str | None, int]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    (?P<lines>[│├└─ ]*)(?P<name>\w+Error) +(?P<code>\d+) ", line)
        if found:
            level = len(found["lines"]) // 4
            above[level:] = [found["name"]]
            drawn[found["name"]] = (above[level - 1] if level else None, int(found["code"]))
    real = {
        cls.__name__: (cls.__base__.__name__ if cls is not BackupError else None, cls.exit_code)
        for cls in CLASSES
        if cls.__base__ is not None and cls.__module__ == errors.__name__
    }
    assert drawn == real
