"""The databases that an env.py configures, without running any migration step.

env.py is run as ``alembic current`` runs it. What it gives to ``context.configure()`` is noted, and
``context.run_migrations()`` does nothing. A command of Alembic that env.py runs of its own accord
is stopped before its first step, and before the safety backup that would come before that.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from alembic.config import CommandLine, Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Engine


def configured_databases(
    config: Config, *, migrates: Callable[[], BaseException]
) -> list[Engine | str]:
    """Run env.py; return the engines, and then the URLs, that it configures, in its order.

    ``migrates`` makes what is raised when env.py is about to run migrations. Raises what env.py
    raises.
    """
    script = ScriptDirectory.from_config(config)
    environment = EnvironmentContext(config, script)
    engines, urls = _noting(environment)
    with _no_steps(migrates), environment:
        script.run_env()
    return [*engines, *urls]


def _noting(environment: EnvironmentContext) -> tuple[list[Engine], list[str]]:
    """Let ``environment`` note what env.py configures, and run nothing.

    On the object itself: Alembic leads ``alembic.context`` to no class of another name.
    """
    engines: list[Engine] = []
    urls: list[str] = []
    configure = environment.configure

    def note(connection: Any = None, url: Any = None, **options: Any) -> None:
        configure(connection=connection, url=url, **options)
        if connection is not None:
            engines.append(connection.engine)
        elif url is not None:
            text = url if isinstance(url, str) else url.render_as_string(hide_password=False)
            urls.append(text)

    # Of this one object, which is env.py's "context": no other run of Alembic is changed.
    environment.configure = note  # type: ignore[method-assign,assignment]
    environment.run_migrations = lambda **_: None  # type: ignore[method-assign]
    environment.begin_transaction = nullcontext  # type: ignore[method-assign]
    return engines, urls


def configuration_of(
    ini: Path | None, toml: Path | None, *, words: Sequence[str] = ("current",)
) -> Config:
    """Return Alembic's configuration in these files, as for its command line ``words``."""
    words = list(words)
    if ini is not None:
        words = ["-c", str(ini), *words]
    options: Namespace = CommandLine().parser.parse_args(list(words))
    files: dict[str, Any] = {"toml_file": toml} if toml is not None else {}
    config = Config(ini, cmd_opts=options, **files)
    if ini is not None and _location(config) is None and (ini.parent / "env.py").exists():
        config.set_main_option("script_location", str(ini.absolute().parent).replace("%", "%%"))
    return config


def _location(config: Config) -> str | None:
    # Alembic 1.16 and later have the second way, which reads pyproject.toml as well.
    read = getattr(config, "get_alembic_option", config.get_main_option)
    return read("script_location")


@contextmanager
def _no_steps(migrates: Callable[[], BaseException]) -> Iterator[None]:
    run_migrations = MigrationContext.run_migrations

    def refuse(self: MigrationContext, **kw: Any) -> None:
        raise migrates()

    # The mark of the plugin: it is not to wrap a safety backup around this.
    refuse.soulsense_db = True  # type: ignore[attr-defined]
    MigrationContext.run_migrations = refuse  # type: ignore[method-assign]
    try:
        yield
    finally:
        MigrationContext.run_migrations = run_migrations  # type: ignore[method-assign]
