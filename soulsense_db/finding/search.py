"""The places in which the database may be named, in their order, and the first that names one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from soulsense_db.drivers import engine_for
from soulsense_db.errors import UnsupportedDatabaseError, without_passwords
from soulsense_db.settings import DEFAULT_URL

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from soulsense_db.finding.alembic_configuration import AlembicConfiguration

_DEFAULT_FILE = Path("data", "soulsense.db")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One place in which the database may be named.

    ``says``: what names it there, to be shown; ``why_not``: why it leads to none; ``open`` returns
    the engine.
    """

    name: str
    says: str = ""
    why_not: str = ""
    open: Callable[[], Engine | AsyncEngine] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDatabase:
    """The engine that was found, where, and the places before it, which lead to none."""

    engine: Engine | AsyncEngine
    place: Place
    before: tuple[Place, ...]


def place_of_url(name: str, url: str) -> Place:
    """Return the place ``name`` with a URL, or the path of an SQLite file."""
    return Place(name=name, says=without_passwords(url), open=lambda: engine_for(url))


def place_of_engine(name: str, reference: str) -> Place:
    """Return the place ``name`` with the reference of an engine, ``module:attribute``."""

    def open_() -> Engine | AsyncEngine:
        from soulsense_db.finding.engine_reference import engine_named

        return engine_named(reference)

    return Place(name=name, says=reference, open=open_)


def place_of_application(name: str, application: str) -> Place:
    """Return the place ``name`` with a Flask application."""

    def open_() -> Engine:
        from soulsense_db.finding.flask_application import engine_of_application

        return engine_of_application(application)

    return Place(name=name, says=application, open=open_)


def places_of_the_folder(
    configurations: Sequence[AlembicConfiguration], backup_directory: Path | None
) -> Iterator[Place]:
    """Yield the places of the current directory: Alembic's, Flask's and SoulSense's.

    ``backup_directory``: the one that is set; backups of a database that is missing are in it.
    """
    yield from map(_place_of_alembic, configurations)
    if not configurations:
        yield Place(
            name="alembic.ini, migrations/alembic.ini, [tool.alembic] of pyproject.toml",
            why_not="not there",
        )
    yield _place_of_flask()
    yield _place_of_soulsense(backup_directory)


def find_database(places: Iterator[Place]) -> FoundDatabase:
    """Return the database of the first place that names one.

    Raises :class:`DatabaseNotNamedError` when none does, and what makes the first one fail.
    """
    before: list[Place] = []
    for place in places:
        if place.open is not None:
            try:
                engine = place.open()
            except UnsupportedDatabaseError as error:  # who typed another one has to know
                hint = f"{error.remedy.sentence} The database is named by {place.name}."
                error.remedy = replace(error.remedy, sentence=hint)
                raise
            return FoundDatabase(engine=engine, place=place, before=tuple(before))
        before.append(place)
    from soulsense_db.finding import errors

    raise errors.nothing_found([f"{place.name} ({place.why_not})" for place in before])


def _place_of_alembic(configuration: AlembicConfiguration) -> Place:
    try:
        why_not = configuration.why_not()
    except (OSError, UnicodeError) as error:
        why_not = f"env.py cannot be read: {error}"
    if why_not:
        return Place(name=configuration.name, why_not=why_not)
    return Place(name=configuration.name, says=configuration.says(), open=configuration.engine)


def _place_of_flask() -> Place:
    from soulsense_db.finding import flask_application as flask

    name = flask.APP_VARIABLE
    if not flask.is_installed():
        return Place(name=name, why_not="Flask-SQLAlchemy is not installed here")
    flask.load_variables()
    if application := os.environ.get(name):
        return Place(name=name, says=application, open=lambda: flask.engine_of_application(None))
    path, why_not = flask.default_file()
    if path is None:
        return Place(name=name, why_not=why_not)
    return Place(
        name=f"the Flask application in {path}",
        says=str(path),
        open=lambda: flask.engine_of_application(None),
    )


def _place_of_soulsense(backup_directory: Path | None) -> Place:
    backups = backup_directory or _DEFAULT_FILE.parent / "backups"
    # Backups of servers may be there as well, whose names end otherwise.
    if _DEFAULT_FILE.exists() or any(backups.glob(f"*{_DEFAULT_FILE.suffix}*")):
        return place_of_url(str(_DEFAULT_FILE), DEFAULT_URL)
    return Place(name=str(_DEFAULT_FILE), why_not="not there")
