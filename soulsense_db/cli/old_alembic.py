"""Say when migrations are thought to be protected, and this Alembic has no way to do it.

The switch in the configuration or the environment works through a plugin, which Alembic has since
1.18. Before that nothing of this package runs unless env.py calls it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from soulsense_db.notices import ignoring

_FIRST_WITH_PLUGINS = (1, 18)
_SWITCH = "SOULSENSE_BACKUP"
_OFF = {"0", "false", "no", "off"}


def warning(*, protects: bool, script_location: Callable[[], str | None]) -> str | None:
    """Return what to tell the user, None where all is well.

    ``protects``: whether the configuration says so; ``script_location``: of Alembic's scripts, as
    it is configured.
    """
    said = os.environ.get(_SWITCH, "").lower()
    if said in _OFF or not (said or protects):  # the environment goes before the configuration
        return None
    installed = _installed()
    if installed is None or _numbers(installed) >= _FIRST_WITH_PLUGINS:
        return None
    if _calls_us(script_location()):
        return None
    switch = "soulsense_backup = true" if protects else f"{_SWITCH} in the environment"
    return (
        f"Migrations are NOT protected: {switch} needs Alembic 1.18 or later, and this is "
        f"{installed}. In env.py, replace 'with context.begin_transaction():' with 'with "
        "safe_migrations(context):', and add 'from soulsense_db.alembic import safe_migrations'."
    )


def _installed() -> str | None:
    try:
        return version("alembic")
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def _calls_us(script_location: str | None) -> bool:
    """Whether env.py has the line; who cannot find it, thinks that it has not."""
    if not script_location:
        return False
    with ignoring(OSError, ValueError, what="env.py could not be read"):
        return "safe_migrations" in Path(script_location, "env.py").read_text(encoding="utf-8")
    return False
