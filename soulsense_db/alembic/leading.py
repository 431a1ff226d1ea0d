"""How a command that people type reaches the database of a migration: by its configuration."""

from __future__ import annotations

import os
from pathlib import Path

from alembic.config import Config
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from soulsense_db.errors import OptionError, name_in_commands
from soulsense_db.fs import why_not_obeyed
from soulsense_db.manager import BackupManager
from soulsense_db.notices import log_ignored
from soulsense_db.option_files import MAIN_SECTION, URL_OPTION, is_url, read_options
from soulsense_db.settings import URL_VARIABLE


def have_commands_reach(manager: BackupManager, url: URL, config: Config | None) -> None:
    """Have the commands of messages reach the database at ``url`` as this migration does.

    No password is shown: where nothing but ``--url`` leads to it, ``***`` stands for it. A file is
    always reached by its path.
    """
    if manager.database is not None or not manager.live.address:
        return
    options = _leading(url, config)
    if options is None and url.password is not None:
        options = ("--url", url.render_as_string())
    if options is not None:
        name_in_commands(manager.live.address, options)


def _leading(url: URL, config: Config | None) -> tuple[str, ...] | None:
    """Return the options that lead to ``url``, None where only ``--url`` does."""
    if text := os.environ.get(URL_VARIABLE):  # it counts before any configuration
        return () if _is_same(text, url) else None
    if config is None or config.config_ini_section != MAIN_SECTION:
        return None
    try:
        return _of_file(url, config)
    except (OptionError, OSError) as error:
        log_ignored("Whether the configuration leads to the database cannot be told", error)
        return None


def _of_file(url: URL, config: Config) -> tuple[str, ...] | None:
    names = (config.config_file_name, getattr(config, "toml_file_name", None))
    files = [Path(name) for name in names if name and Path(name).is_file()]
    if not files:
        return None
    texts = [read_options(path, is_url).get(URL_OPTION, "") for path in files]
    named = next(filter(_names_one, texts), None)
    # Without a URL of its own, env.py is run; it has no connection of the program then.
    leads = not config.attributes if named is None else _is_same(named, url)
    if not leads:
        return None
    first = files[0]
    in_folder = {Path(name).absolute() for name in ("alembic.ini", "pyproject.toml")}
    if all(path.absolute() in in_folder and not why_not_obeyed(path) for path in files):
        return ()
    return ("--config", str(first)) if named is None or _names_one(texts[0]) else None


def _names_one(text: str) -> bool:
    """Whether it is a URL, and not the one of a template."""
    try:
        make_url(text).get_dialect()
    except (ArgumentError, ImportError, NoSuchModuleError, ValueError):
        return False
    return True


def _is_same(text: str, url: URL) -> bool:
    """Whether ``text`` is a URL of the same database, with the same login."""
    try:
        other = make_url(text)
        names = other.get_backend_name(), url.get_backend_name()
    except (ArgumentError, ValueError):
        return False
    return names[0] == names[1] and other.set(drivername="") == url.set(drivername="")
