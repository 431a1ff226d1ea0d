"""The applications from PyPI that are tried, and how each one upgrades its database by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Application:
    """An application with an Alembic chain of its own.

    ``requirement``: what pip installs; ``distribution``: the name that has a version; ``middle``: a
    revision in the middle of its chain; ``environment``: what leads it to a database file;
    ``build``: the command, below the bin/ of its environment, that makes a new database at a
    revision; ``upgrade``: the application's own way of upgrading an old one.
    """

    name: str
    requirement: str
    distribution: str
    middle: str
    environment: Callable[[Path], dict[str, str]]
    build: Callable[[str], list[str]]
    upgrade: list[str]


def _environment_of_prefect(database: Path) -> dict[str, str]:
    return {
        "PREFECT_HOME": str(database.parent / "home"),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


def _environment_of_dstack(database: Path) -> dict[str, str]:
    return {
        "DSTACK_SERVER_DIR": str(database.parent / "home"),
        "DSTACK_DATABASE_URL": f"sqlite+aiosqlite:///{database}",
    }


# What `dstack server` awaits before it serves anything.
_MIGRATE_DSTACK = "import asyncio; from dstack._internal.server.db import migrate"
_BUILD_DSTACK = """
from dstack._internal.server import db
upgrade = db.command.upgrade
db.command.upgrade = lambda config, _head: upgrade(config, {revision!r})
"""

APPLICATIONS = (
    # One async engine on aiosqlite for each event loop, cached; alembic.command runs in a worker
    # thread, env.py goes back to the event loop; one transaction per migration.
    Application(
        name="Prefect",
        requirement="prefect==3.9.1",
        distribution="prefect",
        middle="f92143d30c24",
        environment=_environment_of_prefect,
        build=lambda revision: ["prefect", "server", "database", "upgrade", "-y", "-r", revision],
        upgrade=["prefect", "server", "database", "upgrade", "-y"],
    ),
    # One async engine on aiosqlite with a connect event that sets WAL and other pragmas; env.py is
    # given the connection by the event loop that runs alembic.command.
    Application(
        name="dstack",
        requirement="dstack[server]==0.22.5",
        distribution="dstack",
        middle="c48df7985d57",
        environment=_environment_of_dstack,
        build=lambda revision: [
            "python",
            "-c",
            f"{_MIGRATE_DSTACK}\n{_BUILD_DSTACK.format(revision=revision)}\nasyncio.run(migrate())",
        ],
        upgrade=["python", "-c", f"{_MIGRATE_DSTACK}; asyncio.run(migrate())"],
    ),
)
