"""Migrate the project in the working directory as a program may that has its own way to Alembic.

migrate.py WAY TARGET ...     one upgrade after the other
migrate.py WAY --threads      three threads that upgrade to head at once
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

config = Config("alembic.ini")
url = config.get_main_option("sqlalchemy.url")
assert url is not None
engine = sa.create_engine(url)


def steps(scripts: ScriptDirectory, target: str) -> Callable[..., Any]:
    """Return what Alembic asks for the steps."""
    return lambda revision, _context: scripts._upgrade_revs(target, revision)


def entered(target: str) -> None:
    """Enter an EnvironmentContext, and begin its transaction."""
    scripts = ScriptDirectory.from_config(config)
    with EnvironmentContext(config, scripts) as env, engine.connect() as connection:
        env.configure(connection=connection, fn=steps(scripts, target))
        with env.begin_transaction():
            env.run_migrations()


def not_entered(target: str) -> None:
    """Use an EnvironmentContext without entering it."""
    scripts = ScriptDirectory.from_config(config)
    env = EnvironmentContext(config, scripts)
    with engine.connect() as connection:
        env.configure(connection=connection, fn=steps(scripts, target))
        env.run_migrations()


def in_a_transaction(target: str) -> None:
    """Hand over a connection that is in a transaction."""
    scripts = ScriptDirectory.from_config(config)
    with EnvironmentContext(config, scripts) as env, engine.begin() as connection:
        env.configure(connection=connection, fn=steps(scripts, target))
        with env.begin_transaction():
            env.run_migrations()


def migration_context(target: str) -> None:
    """Use a MigrationContext alone."""
    scripts = ScriptDirectory.from_config(config)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"fn": steps(scripts, target)})
        with Operations.context(context), context.begin_transaction():
            context.run_migrations()


def no_config_kept(target: str) -> None:
    """Keep no Config for as long as the steps run, and begin no transaction."""
    scripts = ScriptDirectory.from_config(Config("alembic.ini"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"fn": steps(scripts, target)})
        with Operations.context(context):
            context.run_migrations()


def by_command(target: str) -> None:
    """Run the command, and with it env.py."""
    command.upgrade(Config("alembic.ini"), target)


WAYS: dict[str, Callable[[str], None]] = {
    "entered": entered,
    "not entered": not_entered,
    "in a transaction": in_a_transaction,
    "MigrationContext": migration_context,
    "no config kept": no_config_kept,
    "command": by_command,
}


def in_threads(migrate: Callable[[str], None]) -> None:
    """Upgrade in three threads at once; tell how many hang, and what failed."""
    failures: list[str] = []

    def work() -> None:
        try:
            migrate("head")
        except BaseException as error:  # noqa: BLE001 - told of, whatever it is
            failures.append(f"{type(error).__name__}: {error}"[:300])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    print("alive:", sum(thread.is_alive() for thread in threads))
    for failure in failures:
        print(failure)
    sys.stdout.flush()
    os._exit(0)


way, *targets = sys.argv[1:]
if targets == ["--threads"]:
    in_threads(WAYS[way])
for wanted in targets:
    WAYS[way](wanted)
