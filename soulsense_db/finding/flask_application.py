"""The database of a Flask application with Flask-SQLAlchemy, found as ``flask`` finds it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soulsense_db.errors import BackupError
from soulsense_db.finding import errors
from soulsense_db.finding.application_code import Watch, running
from soulsense_db.fs import why_not_obeyed

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

APP_VARIABLE = "FLASK_APP"
_DEFAULT_FILES = ("wsgi.py", "app.py")
_VARIABLE_FILES = (".env", ".flaskenv")
_SKIP = "FLASK_SKIP_DOTENV"
_IMPORTS_FLASK = re.compile(r"^\s*(?:from|import)\s+flask\b", re.MULTILINE)


def is_installed() -> bool:
    """Whether there is a Flask-SQLAlchemy; without importing it."""
    from importlib.util import find_spec

    return find_spec("flask_sqlalchemy") is not None


def default_file() -> tuple[Path | None, str]:
    """Return the file in which ``flask`` looks unasked, or why it is not obeyed.

    Only one that imports Flask: another program's app.py may do anything when it is imported.
    """
    for path in map(Path, _DEFAULT_FILES):
        if not path.is_file():
            continue
        if not _IMPORTS_FLASK.search(path.read_text(encoding="utf-8", errors="replace")):
            continue
        reason = why_not_obeyed(path)
        return (None, f"{path} {reason}") if reason else (path, "")
    return None, "not set, and no wsgi.py or app.py imports flask"


def engine_of_application(application: str | None) -> Engine:
    """Return the engine of Flask-SQLAlchemy's default database.

    ``application``: as ``flask --app`` takes it; None for what ``flask`` finds by itself. Raises
    :class:`ApplicationCodeError`.
    """
    try:
        from flask.cli import ScriptInfo
    except ImportError as error:
        raise errors.no_flask(str(error)) from None
    name = application or os.environ.get(APP_VARIABLE) or "of this folder"
    engine: Engine | None = None
    watch = Watch("")
    try:
        with running(f"loading the Flask application {name}") as watch:
            load_variables()
            path = application or os.environ.get(APP_VARIABLE) or default_file()[0]
            if path is None:
                raise errors.no_flask_database(name)
            with _without_other_variables():
                engine = _default_engine(ScriptInfo(str(path)).load_app(), name)
    except BackupError:
        # An application that connects is complete enough to tell which database it uses.
        if watch.missing is None:
            raise
        engine = watch.missing
    assert engine is not None
    return engine


def load_variables() -> None:
    """Read .env and .flaskenv of this folder, as ``flask`` does where python-dotenv is installed.

    Not those of the folders above, which may be anybody's.
    """
    try:
        from dotenv import load_dotenv
    except ImportError:
        return
    for path in map(Path, _VARIABLE_FILES):
        if path.is_file() and not why_not_obeyed(path):
            load_dotenv(path)


@contextmanager
def _without_other_variables() -> Iterator[None]:
    """Keep Flask from looking for such files itself."""
    before = os.environ.get(_SKIP)
    os.environ[_SKIP] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SKIP]
        else:
            os.environ[_SKIP] = before


def _default_engine(application: Any, name: str) -> Engine:
    extension = application.extensions.get("sqlalchemy")
    if extension is None:
        raise errors.no_flask_database(name)
    with application.app_context():
        # Flask-SQLAlchemy 2 keeps its object inside of another.
        found: Engine = getattr(extension, "db", extension).engine
        return found
