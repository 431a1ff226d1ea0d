"""What the user set: options of the Alembic section, and the environment variable."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soulsense_db.catalog import catalog_option
from soulsense_db.errors import OptionError

ENVIRONMENT_VARIABLE = "SOULSENSE_BACKUP"
_YES = {"1", "true", "yes", "on"}
_NO = {"0", "false", "no", "off"}
_DEFAULT_KEEP = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``soulsense_...`` options.

    ``directory``: of the backups, None for the default; ``restores``: whether a failure is put back
    (``soulsense_on_failure``); ``keep``: how many pre-migration backups stay; ``catalog``: name of
    our table, False for none (``soulsense_catalog_table``).
    """

    directory: Path | None
    restores: bool
    keep: int
    catalog: str | bool


def read_options(config: Any) -> Options:
    """Read the options of an Alembic ``Config``; raises :class:`OptionError`."""
    directory = _option(config, "soulsense_backup_directory")
    on_failure = _option(config, "soulsense_on_failure") or "restore"
    if on_failure not in {"restore", "keep"}:
        raise _bad("soulsense_on_failure", on_failure, "restore or keep")
    keep = _option(config, "soulsense_keep") or str(_DEFAULT_KEEP)
    if not keep.isdecimal() or int(keep) < 1:
        raise _bad("soulsense_keep", keep, "a whole number from 1 up")
    catalog = _option(config, "soulsense_catalog_table")
    return Options(
        directory=Path(directory) if directory else None,
        restores=on_failure == "restore",
        keep=int(keep),
        catalog=catalog_option(catalog),
    )


def is_switched_on(config: Any) -> bool:
    """Whether migrations are protected with env.py untouched; raises :class:`OptionError`."""
    from_environment = _from_environment()
    if from_environment is not None:
        return from_environment
    value = _option(config, "soulsense_backup")
    return value is not None and _as_bool("soulsense_backup", value)


def is_switched_off() -> bool:
    """Whether the environment forbids all protection; raises :class:`OptionError`."""
    return _from_environment() is False


def _from_environment() -> bool | None:
    value = os.environ.get(ENVIRONMENT_VARIABLE, "")
    return _as_bool(ENVIRONMENT_VARIABLE, value) if value else None


def _option(config: Any, name: str) -> str | None:
    """Read from alembic.ini, else from pyproject.toml (Alembic 1.16 and later)."""
    if config.file_config.has_option(config.config_ini_section, name):
        return str(config.file_config.get(config.config_ini_section, name)).strip()
    value = getattr(config, "toml_alembic_config", {}).get(name)
    if isinstance(value, str):  # with its %(here)s replaced
        return str(config.get_alembic_option(name)).strip()
    return None if value is None else str(value)


def _as_bool(name: str, value: str) -> bool:
    if value.lower() in _YES | _NO:
        return value.lower() in _YES
    raise _bad(name, value, "true or false")


def _bad(name: str, value: str, allowed: str) -> OptionError:
    return OptionError(f"{name} is '{value}'. Nothing was changed.", hint=f"Set it to {allowed}.")
