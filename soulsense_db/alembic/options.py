"""What the user set: the options of Alembic's configuration, and the environment variable."""

from __future__ import annotations

import os
from typing import Any

from soulsense_db.option_files import MAIN_SECTION, PREFIX, require_none_misplaced, text_of_toml
from soulsense_db.settings import Settings, as_bool

ENVIRONMENT_VARIABLE = "SOULSENSE_BACKUP"


def read_settings(config: Any) -> Settings:
    """Read the options of an Alembic ``Config``; raises ``OptionError``.

    Those of ``[alembic]`` count for every section (``alembic -n other``) that has not its own.
    Without a ``config`` there are only defaults.
    """
    if config is None:
        return Settings.of({})
    from_toml = getattr(config, "toml_alembic_config", {})  # Alembic 1.16 and later
    found = {
        name: _from_toml(config, name) for name in from_toml if name.lower().startswith(PREFIX)
    }
    sections = (MAIN_SECTION, config.config_ini_section)
    require_none_misplaced(config.file_config, sections)
    for section in sections:
        if config.file_config.has_section(section):
            for name in config.file_config.options(section):
                if name.startswith(PREFIX):
                    found[name] = str(config.file_config.get(section, name))
    return Settings.of(found)


def is_switched_on(config: Any) -> bool:
    """Whether migrations are protected with env.py untouched; raises ``OptionError``."""
    from_environment = _from_environment()
    return read_settings(config).protects if from_environment is None else from_environment


def is_switched_off() -> bool:
    """Whether the environment forbids all protection; raises ``OptionError``."""
    return _from_environment() is False


def _from_environment() -> bool | None:
    value = os.environ.get(ENVIRONMENT_VARIABLE, "")
    return as_bool(ENVIRONMENT_VARIABLE, value) if value else None


def _from_toml(config: Any, name: str) -> str:
    value = config.toml_alembic_config[name]
    if isinstance(value, str | list):  # with its %(here)s replaced
        value = config.get_alembic_option(name)
    return text_of_toml(value)
