"""The database of Alembic's configuration: its URL, else what env.py configures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from soulsense_db.drivers import driver_for, engine_for
from soulsense_db.errors import (
    BackupError,
    DatabaseUnreachableError,
    OptionError,
    without_passwords,
)
from soulsense_db.finding import errors
from soulsense_db.finding.application_code import Watch, running
from soulsense_db.fs import why_not_obeyed
from soulsense_db.option_files import URL_OPTION, is_url, read_options

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

_SCRIPT_LOCATION = "script_location"
_NO_URL = re.compile(r"driver://|\s*$")
_WITH_GAP = re.compile(r"^sqlalchemy\.url\s*[=:].*(?<!%)%\(\w+\)s", re.MULTILINE)
_ASKS_FLASK = re.compile(r"^\s*from flask import .*\bcurrent_app\b", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlembicConfiguration:
    """One configuration of Alembic: an ini file, a pyproject.toml, or both, which belong together.

    ``is_named``: whether the user named it, so that it is obeyed whoever it belongs to.
    """

    ini: Path | None = None
    toml: Path | None = None
    is_named: bool = False

    @property
    def name(self) -> str:
        """What it is called."""
        files = [str(self.ini)] if self.ini else []
        files += [f"[tool.alembic] of {self.toml}"] if self.toml else []
        return " and ".join(files)

    def url(self) -> str | None:
        """Return its URL, None for none, for that of a template, and for one with a gap.

        A gap, ``%(DB_FILE)s``, is filled in by env.py, and so is the place of a URL that is of no
        dialect at all, such as ``scheme://localhost/app``.
        """
        found: str | None = None
        for path in filter(None, (self.toml, self.ini)):
            try:
                url = read_options(path, is_url).get(URL_OPTION, "")
            except OptionError:
                if self.env_py() is None or not _has_gap(path):
                    raise
                url = ""
            is_none = _NO_URL.match(url) or (_has_no_dialect(url) and self.env_py() is not None)
            found = found if is_none else url
        return found

    def env_py(self) -> Path | None:
        """Return its env.py, None where there is none."""
        location = None
        for path in filter(None, (self.toml, self.ini)):
            location = read_options(path, _is_script_location).get(_SCRIPT_LOCATION) or location
        if location is None and self.ini is not None:
            location = str(self.ini.parent)
        if location is None:
            return None
        path = Path(location, "env.py")
        if ":" in location and not path.is_file():
            path = _in_package(location)
            if not path.is_file():
                return path
        if path.is_absolute() and path.is_relative_to(Path.cwd()):
            path = path.relative_to(Path.cwd())
        return path if path.is_file() else None

    def why_not(self) -> str:
        """Return why it leads to no database, or nothing. No code is run."""
        if self.url():
            return ""
        env_py = self.env_py()
        if env_py is None:
            return "it has no sqlalchemy.url and no env.py"
        if _ASKS_FLASK.search(env_py.read_text(encoding="utf-8", errors="replace")):
            return f"{env_py} asks a Flask application"
        reason = "" if self.is_named else why_not_obeyed(env_py)
        return f"{env_py} {reason}" if reason else ""

    def says(self) -> str:
        """Return what names the database in it, to be shown."""
        url = self.url()
        return without_passwords(url) if url else str(self.env_py())

    def engine(self) -> Engine:
        """Return the engine; runs env.py where there is no URL."""
        url = self.url()
        return engine_for(url) if url else self._engine_of_env_py()

    def _engine_of_env_py(self) -> Engine:
        from soulsense_db.alembic.configured import configuration_of, configured_databases

        what = f"running {self.env_py()}"
        watch = Watch(what)
        found: list[Engine | str] = []
        try:
            with running(what) as watch:
                found = configured_databases(
                    configuration_of(self.ini, self.toml),
                    migrates=lambda: watch.refuse(errors.migrating(what)),
                )
        except BackupError as error:
            if isinstance(error.__cause__, NoSuchModuleError):
                raise errors.template_url(what) from error
            if isinstance(error, DatabaseUnreachableError):
                error.remedy = errors.without_server(error.hint, str(self.env_py()))
                raise
            # Which database it is, is known when it connects: whether it is there comes later.
            if watch.missing is None:
                raise
            return watch.missing
        databases: dict[str, Engine] = {}
        for one in found:
            engine = engine_for(one) if isinstance(one, str) else one
            databases.setdefault(_address(engine), engine)
        if not databases:
            raise errors.nothing_configured(what)
        if len(databases) > 1:
            raise errors.several(what, [without_passwords(name) for name in databases])
        (engine,) = databases.values()
        return engine


def _in_package(location: str) -> Path:
    """Return the env.py of ``package:folder:folder``; the package is not imported for it."""
    package, *folders = location.split(":")
    names = (*package.split("."), *folders, "env.py")
    inside = Path(*names)
    for path in (inside, "src" / inside, *_installed(*names)):
        if path.is_file():
            return path
    return inside


def _installed(package: str, *names: str) -> Iterator[Path]:
    """Yield where files of an installed package may be."""
    with suppress(ValueError):  # it is loaded, and says nothing of where from
        spec = find_spec(package)
        for place in (spec.submodule_search_locations if spec else None) or ():
            yield Path(place, *names)


def _address(engine: Engine) -> str:
    """Return where its database is: two engines of one URL may have another ``creator`` each."""
    with suppress(BackupError):  # no database of ours: nothing more is known of it than its URL
        if address := driver_for(engine, lock_timeout=1).address:
            return address
    return engine.url.render_as_string(hide_password=False)


def _has_gap(path: Path) -> bool:
    return _WITH_GAP.search(path.read_text(encoding="utf-8")) is not None


def _has_no_dialect(url: str) -> bool:
    try:
        make_url(url).get_dialect()
    except NoSuchModuleError:
        return True
    except (ArgumentError, ImportError, ValueError):  # whoever opens it says what is wrong
        return False
    return False


def _is_script_location(name: str) -> bool:
    return name == _SCRIPT_LOCATION
