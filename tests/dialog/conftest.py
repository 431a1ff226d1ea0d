"""Fixtures: screens that nobody sees, and a person at an application on one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dialog.display import Display, missing
from dialog.person import Person

MakePerson = Callable[..., Person]


def _display(**options: Any) -> Iterator[Display]:
    if why := missing():
        pytest.skip(why)
    made = Display(**options)
    yield made
    made.close()


@pytest.fixture(scope="session")
def display() -> Iterator[Display]:
    """Return an ordinary screen."""
    yield from _display()


@pytest.fixture(scope="session")
def display_small() -> Iterator[Display]:
    """Return a screen of 1024 x 768 pixels."""
    yield from _display(width=1024, height=768)


@pytest.fixture(scope="session")
def display_192() -> Iterator[Display]:
    """Return a screen with twice as many dots per inch: everything is drawn at 200%."""
    yield from _display(width=2560, height=2048, dpi=192)


@pytest.fixture
def person(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakePerson]:
    """Return a function that starts an application and returns the person at it.

    Whatever goes wrong in the application fails the test at its end.
    """
    people: list[Person] = []

    def make(setup: str | Path, *, screen: Display | None = None, **options: Any) -> Person:
        folder = tmp_path / f"person-{len(people)}"
        folder.mkdir()
        where = screen or request.getfixturevalue("display")
        people.append(Person(where, setup, folder, **options))
        return people[-1]

    yield make
    problems = []
    for one in people:
        try:
            one.close()
        except AssertionError as problem:
            problems.append(str(problem))
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)
