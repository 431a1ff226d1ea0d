"""What becomes of a real run that fails: whether a backup before it would be put back."""

from __future__ import annotations

import sys
from pathlib import Path

import alembic
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from soulsense_db.alembic.options import is_switched_off, is_switched_on, read_settings
from soulsense_db.errors import BackupError
from soulsense_db.notices import log_ignored

_FIRST_WITH_PLUGINS = (1, 18)
_CALL = "safe_migrations"
_SWITCH = "soulsense_backup = true in the configuration of Alembic"
_CHANGE = f"'with {_CALL}(context):' in env.py"
_AGAIN = "Correct the migration, and rehearse it again."


def way_back(config: Config, *, dies: bool = False) -> str:
    """Return it as a sentence; ``dies``: for a step that ends its process at once.

    Nothing is left then that could put the backup back.
    """
    try:
        is_off, is_on = is_switched_off(), is_switched_on(config)
        restores = read_settings(config).restores
    except BackupError as error:  # that of an option, which the real run refuses
        log_ignored("Whether migrations are protected cannot be told", error)
        return "The real run would be refused: an option of the backup before migrations is wrong."
    if is_off:
        return (
            f"Nothing would put the data back: SOULSENSE_BACKUP=0 switches the backup off. {_AGAIN}"
        )
    if not (is_on and _has_plugins()) and not _calls_us(config):
        return (
            "Nothing would put the data back. To have that done, switch on the backup before "
            f"migrations: {_SWITCH if _has_plugins() else _CHANGE}. {_AGAIN}"
        )
    if not restores:
        return (
            "The real run would leave it so (soulsense_on_failure = keep), with a backup from "
            f"before. {_AGAIN}"
        )
    if dies:
        return (
            "The backup before migrations is switched on, but a process that ends like this cannot "
            "put it back: the database would be half migrated. The next upgrade would be refused, "
            f"and print the command that puts the backup back. {_AGAIN}"
        )
    return (
        "The backup before migrations is switched on: the real run would put the backup back, and "
        f"the live database would have nothing of it. {_AGAIN}"
    )


def _has_plugins() -> bool:
    numbers = (part for part in alembic.__version__.split(".")[:2] if part.isdigit())
    return tuple(map(int, numbers)) >= _FIRST_WITH_PLUGINS


def _calls_us(config: Config) -> bool:
    """Whether env.py has the line of the other door."""
    paths = list(sys.path)  # Alembic puts prepend_sys_path there, for good
    try:
        env_py = Path(ScriptDirectory.from_config(config).env_py_location)
        return _CALL in env_py.read_text(encoding="utf-8")
    except (OSError, ValueError, CommandError) as error:
        log_ignored("env.py could not be read", error)
        return False
    finally:
        sys.path[:] = paths
