"""The plugin's own promises: it never breaks Alembic, and it is light."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa
from alembic.ddl.impl import DefaultImpl
from alembic.runtime.migration import MigrationContext
from alembic_project import FIRST, Project, needs_plugins

from soulsense_db.alembic import plugin, safe_migrations


def test_the_module_can_be_iterated() -> None:
    """Alembic 1.18.0 to 1.20.0 iterate what the entry point names: it yields itself."""
    assert list(cast("Iterable[object]", plugin)) == [plugin]


@needs_plugins
def test_it_is_installed_once() -> None:
    """A second setup() wraps nothing again."""
    before = DefaultImpl.start_migrations
    plugin.setup(None)
    assert DefaultImpl.start_migrations is before


def test_setup_never_raises(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An Alembic without the hooks is logged as unprotected; importing it still works."""
    monkeypatch.delattr(DefaultImpl, "start_migrations")
    plugin.setup(None)
    assert "migrations are NOT protected" in caplog.text


@needs_plugins
def test_a_migration_context_by_itself_is_no_command() -> None:
    """Code that uses MigrationContext without env.py works as if the plugin were not there."""
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"fn": lambda rev, ctx: []})
        context.run_migrations()
        with pytest.raises(TypeError, match="running command"), safe_migrations(_Holder(context)):
            pass
    engine.dispose()


class _Holder:
    """What env.py knows as ``context``, around a context without an environment."""

    def __init__(self, context: MigrationContext) -> None:
        self.get_context = lambda: context


@needs_plugins
def test_importing_alembic_stays_light() -> None:
    """The entry point loads nothing of ours but two small modules."""
    script = (
        "import sys, alembic.command\n"
        "print(sorted(m for m in sys.modules if m.startswith('soulsense_db.')))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "['soulsense_db.alembic', 'soulsense_db.alembic.plugin']"


def test_an_unsupported_dialect_is_refused(tmp_path: Path) -> None:
    """A database without a driver is not migrated unprotected; the error names the dialects."""
    project = Project(tmp_path, "env.py")
    project.revision("first", None, FIRST)
    project.edit_env(
        "    with connectable.connect() as connection:\n",
        "    connectable.dialect.name = 'otherdb'\n"
        "    from alembic.ddl.sqlite import SQLiteImpl\n"
        "    type('OtherImpl', (SQLiteImpl,), {'__dialect__': 'otherdb'})\n"
        "    with connectable.connect() as connection:\n",
    )
    result = project.run("upgrade", "head")
    assert result.returncode != 0
    said = result.stdout + result.stderr
    assert "dialect 'otherdb'" in said
    assert "Supported: mariadb, mysql, postgresql, sqlite" in said
    assert "Traceback" not in said
