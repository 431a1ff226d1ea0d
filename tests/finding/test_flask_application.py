"""A Flask application with Flask-SQLAlchemy, found as ``flask`` finds it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from application_folder import modules_forgotten, write
from helpers import make_database

from soulsense_db.errors import ApplicationCodeError, DatabaseNotNamedError
from soulsense_db.finding import (
    AlembicConfiguration,
    FoundDatabase,
    find_database,
    place_of_application,
    places_of_the_folder,
)

FACTORY = """
    from flask import Flask
    from flask_sqlalchemy import SQLAlchemy

    db = SQLAlchemy()


    class Entry(db.Model):
        id = db.mapped_column(db.Integer, primary_key=True)


    def create_app():
        app = Flask(__name__)
        app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///app.db"
        db.init_app(app)
        return app
"""
WITH_TABLES = f"""{FACTORY}

    app = create_app()
    with app.app_context():
        db.create_all()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder, without FLASK_APP."""
    monkeypatch.chdir(tmp_path)
    for name in ("FLASK_APP", "FLASK_DEBUG"):
        monkeypatch.setenv(name, "")  # so that what a test sets goes again
        monkeypatch.delenv(name)
    with modules_forgotten():
        yield tmp_path


def find(*configurations: AlembicConfiguration) -> FoundDatabase:
    """Look through the current folder."""
    return find_database(places_of_the_folder(configurations, None))


def database_of(found: FoundDatabase) -> str | None:
    """Return the file of what was found."""
    return found.engine.url.database


def test_an_application_is_found_by_its_variable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FLASK_APP names a package with a factory; its database is in the instance folder."""
    write(folder, shop__init=FACTORY)
    monkeypatch.setenv("FLASK_APP", "shop")
    found = find()
    assert found.place.name == "FLASK_APP"
    assert database_of(found) == str(folder / "instance" / "app.db")


def test_an_application_is_found_by_the_option(folder: Path) -> None:
    """--app takes what ``flask --app`` takes."""
    write(folder, shop__init=FACTORY)
    place = place_of_application("--app", "shop:create_app()")
    assert place.open is not None
    assert place.open().url.database == str(folder / "instance" / "app.db")


def test_an_app_py_of_flask_is_found_unasked(folder: Path) -> None:
    """As by ``flask``; it may make its tables, where they are there already."""
    write(folder, app=FACTORY)
    assert database_of(find()) == str(folder / "instance" / "app.db")


def test_an_app_py_of_another_program_is_not_run(folder: Path) -> None:
    """It may do anything when it is imported."""
    write(folder, app="open('ran', 'w')")
    with pytest.raises(DatabaseNotNamedError) as caught:
        find()
    assert any("no wsgi.py or app.py imports flask" in place for place in caught.value.candidates)
    assert not (folder / "ran").exists()


def test_an_application_that_makes_its_database_makes_none(folder: Path) -> None:
    """It is stopped when it connects; which database it uses is known by then."""
    write(folder, wsgi=WITH_TABLES)
    file = folder / "instance" / "app.db"
    assert database_of(find()) == str(file)
    assert not file.exists()


def test_an_application_without_a_database_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who named an application meant its database: no other one is taken."""
    write(folder, bare="from flask import Flask\napp = Flask(__name__)")
    (folder / "data").mkdir()
    make_database(folder / "data" / "soulsense.db")
    monkeypatch.setenv("FLASK_APP", "bare")
    with pytest.raises(ApplicationCodeError, match="bare has no database of Flask-SQLAlchemy"):
        find()
    monkeypatch.setenv("FLASK_APP", "nosuch")
    with pytest.raises(ApplicationCodeError, match="Could not import 'nosuch'"):
        find()


def test_the_env_py_of_flask_migrate_leads_to_the_application(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs inside of the application alone, so that is asked instead."""
    from flask_migrate import Migrate, init

    write(folder, shop__init=FACTORY)
    monkeypatch.syspath_prepend(str(folder))
    import shop  # type: ignore[import-not-found]

    app = shop.create_app()
    Migrate(app, shop.db)
    with app.app_context():
        init()
    monkeypatch.setenv("FLASK_APP", "shop")
    found = find(AlembicConfiguration(ini=Path("migrations/alembic.ini")))
    assert found.place.name == "FLASK_APP"
    (before,) = found.before
    assert before.why_not == "migrations/env.py asks a Flask application"


def test_the_file_that_is_named_is_the_one_that_is_loaded(folder: Path) -> None:
    """A wsgi.py that imports no Flask is not run, although ``flask`` would load it first."""
    make_database(folder / "app.db")
    write(folder, wsgi="raise RuntimeError('it was run')")
    write(folder, app=FACTORY.replace("sqlite:///app.db", f"sqlite:///{folder}/app.db"))
    found = find()
    assert found.place.says == "app.py"
    assert database_of(found) == str(folder / "app.db")


def test_the_variables_are_those_of_this_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its .flaskenv names the application; one of a folder above, or of anybody, does not."""
    project = folder / "project"
    project.mkdir()
    (folder / ".flaskenv").write_text("FLASK_APP=../evil.py\n")
    (folder / "evil.py").write_text("raise RuntimeError('it was run')\n")
    monkeypatch.chdir(project)
    make_database(project / "app.db")
    write(project, app=FACTORY.replace("sqlite:///app.db", f"sqlite:///{project}/app.db"))
    assert find().place.says == "app.py"
    (project / "app.py").rename(project / "other.py")
    (project / ".flaskenv").write_text("FLASK_APP=other.py\n")
    assert find().place.says == "other.py"
    monkeypatch.delenv("FLASK_APP")
    (project / ".flaskenv").chmod(0o666)
    with pytest.raises(DatabaseNotNamedError):
        find()
