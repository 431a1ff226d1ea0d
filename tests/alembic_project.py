"""A real Alembic project in a folder, for the tests of the hooks: made by ``alembic init``."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import alembic
import pytest
from alembic import command
from alembic.config import Config
from forked import run

from soulsense_db.meta_file import read_backup

ALEMBIC_VERSION = tuple(int(part) for part in alembic.__version__.split(".")[:2])
HAS_PLUGINS = ALEMBIC_VERSION >= (1, 18)
# Each way to switch the protection on; the plugin needs Alembic 1.18.
DOORS = ["env.py", *(["alembic.ini", "environment", "both"] if HAS_PLUGINS else [])]
needs_plugins = pytest.mark.skipif(not HAS_PLUGINS, reason="Alembic before 1.18 has no plugins")

FIRST = """
    op.create_table("entry", sa.Column("id", sa.Integer, primary_key=True),
                    sa.Column("text", sa.String(200)))
    op.execute("INSERT INTO entry (text) VALUES ('one'), ('two'), ('three')")
"""
# Runs after a revision that commits, destroys data, and fails in the end.
BROKEN = """
    op.execute("DELETE FROM entry WHERE id > 1")
    op.create_table("mood", sa.Column("id", sa.Integer, primary_key=True))
    with op.batch_alter_table("entry") as batch:
        batch.drop_column("text")
    op.execute("INSERT INTO nowhere VALUES (1)")
"""


def write_code(path: Path, text: str) -> None:
    """Write a module that may have been run before.

    Python tells a module that has changed by its size, and by its time in whole seconds.
    """
    path.write_text(text)
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


@dataclass
class Project:
    """An Alembic project in ``folder`` with its database ``app.db``."""

    folder: Path
    door: str
    template: str = "generic"
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make it, with the protection switched on by ``door``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.config()
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            config.stdout = nowhere
            command.init(config, str(self.folder / "mig"), template=self.template)
        driver = "sqlite+aiosqlite" if "async" in self.template else "sqlite"
        ini = self.ini.read_text()
        for line in ini.splitlines():
            if line.startswith("sqlalchemy.url ="):
                name = {"driver://user:pass@localhost/dbname": "app.db"}.get(
                    line.partition("=")[2].strip()
                ) or f"{line.rpartition('/')[2].strip()}.db"
                ini = ini.replace(line, f"sqlalchemy.url = {driver}:///{self.folder / name}", 1)
        self.ini.write_text(ini)
        if self.door in ("env.py", "both"):
            self.protect()
        if self.door in ("alembic.ini", "both"):
            self.set_option("soulsense_backup", "true")
        if self.door == "environment":
            self.env["SOULSENSE_BACKUP"] = "1"

    @property
    def ini(self) -> Path:
        """The configuration file."""
        return self.folder / "alembic.ini"

    @property
    def env_py(self) -> Path:
        """The environment script."""
        return self.folder / "mig" / "env.py"

    @property
    def database(self) -> Path:
        """The database file."""
        return self.folder / "app.db"

    def protect(self) -> None:
        """Protect the migrations by env.py."""
        self.edit_env(
            "    with context.begin_transaction():\n", "    with safe_migrations(context):\n"
        )
        text = self.env_py.read_text()
        self.write_env(
            text.replace(
                "from alembic import context",
                "from alembic import context\nfrom soulsense_db.alembic import safe_migrations",
                1,
            )
        )

    def write_env(self, text: str) -> None:
        """Write env.py."""
        write_code(self.env_py, text)

    def edit_env(self, old: str, new: str) -> None:
        """Replace ``old`` in env.py, which must be there."""
        text = self.env_py.read_text()
        assert old in text, f"not in env.py: {old!r}"
        self.write_env(text.replace(old, new))

    def set_option(self, name: str, value: str) -> None:
        """Add an option to the ``[alembic]`` section."""
        text = self.ini.read_text()
        self.ini.write_text(text.replace("[alembic]\n", f"[alembic]\n{name} = {value}\n", 1))

    def revision(self, name: str, after: str | None, upgrade: str, downgrade: str = "pass") -> None:
        """Write a revision; the bodies are Python lines with ``op`` and ``sa``."""
        write_code(
            self.folder / "mig" / "versions" / f"{name}.py",
            "import os, signal, time\nfrom pathlib import Path\n"
            "import sqlalchemy as sa\nfrom alembic import context, op\n"
            f"revision = {name!r}\ndown_revision = {after!r}\n"
            f"def upgrade(*args, **kw):\n{_indented(upgrade)}\n"
            f"def downgrade(*args, **kw):\n{_indented(downgrade)}\n",
        )

    def standard(self) -> Project:
        """Write revisions ``first`` (good), ``second`` (good) and ``broken``; run the first."""
        self.revision("first", None, FIRST, 'op.drop_table("entry")')
        self.revision("second", "first", 'op.execute("UPDATE entry SET text = upper(text)")')
        self.revision("broken", "second", BROKEN)
        self.upgrade("first")
        return self

    def config(self) -> Config:
        """Return a new Config, as one command of the command line has."""
        if "pyproject" in self.template:
            return Config(str(self.ini), toml_file=str(self.folder / "pyproject.toml"))
        return Config(str(self.ini))

    def upgrade(self, revision: str, config: Config | None = None) -> None:
        """Run ``alembic upgrade`` in this process."""
        self.call("upgrade", revision, config=config)

    def call(
        self, name: str, *arguments: object, config: Config | None = None, **kw: object
    ) -> None:
        """Run a command of ``alembic.command`` in this process."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            for key, value in self.env.items():
                patch.setenv(key, value)
            getattr(command, name)(config or self.config(), *arguments, **kw)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the ``alembic`` command line in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "alembic", *arguments],
            cwd=self.folder,
            env={**os.environ, **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the ``alembic`` command line to its end."""
        return run("alembic", *arguments, cwd=self.folder, env={**os.environ, **self.env})

    def backups(self) -> list[Path]:
        """Return the data files in the backup directory, oldest first."""
        found = (self.folder / "backups").glob("*.db")
        return sorted(found, key=lambda path: read_backup(path).created_at)

    def kinds(self) -> list[str]:
        """Return the kinds of all backups."""
        return [read_backup(path).kind for path in self.backups()]

    @property
    def marker(self) -> Path:
        """Where the migration marker would be."""
        return self.folder / "app.db.migrating"


def digest(database: Path) -> str:
    """Return a digest of schema and rows of all tables but the catalog."""
    total = hashlib.sha256()
    with closing(sqlite3.connect(database)) as connection:
        schema = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '%backups%' ORDER BY name"
        ).fetchall()
        total.update(repr(schema).encode())
        for name, sql in schema:
            if sql and sql.startswith("CREATE TABLE"):
                rows = connection.execute(f'SELECT * FROM "{name}" ORDER BY 1').fetchall()
                total.update(repr(rows).encode())
    return total.hexdigest()


def query(database: Path, statement: str) -> list[tuple[object, ...]]:
    """Return the rows of ``statement``."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(statement).fetchall()


def _indented(body: str) -> str:
    return textwrap.indent(textwrap.dedent(body).strip() or "pass", "    ")
