"""The program as a shell runs it, in a folder with a database."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from forked import run
from helpers import clean_environment, make_database

from soulsense_db import BackupInfo, BackupManager, errors


class Shell:
    """Runs ``soulsense-db`` in one folder.

    What is no part of the commands that a test is about is done in this process, by ``create`` and
    ``ids``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = clean_environment()
        self.env |= {"COLUMNS": "80", "NO_COLOR": "1"}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return run("soulsense_db", *arguments, cwd=self.folder, env=self.env)

    def ok(self, *arguments: str) -> str:
        """Run a command that must succeed; return what it printed."""
        result = self.run(*arguments)
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        return result.stdout

    def fails(self, error: type[errors.BackupError], *arguments: str) -> str:
        """Run a command that must fail with the exit code of ``error``; return its stderr."""
        result = self.run(*arguments)
        assert result.returncode == error.exit_code, result.stderr
        assert result.stdout == ""
        first, *more = result.stderr.splitlines()
        assert first.startswith("Error: ")
        if error is errors.DatabaseNotNamedError:  # it lists the places that were looked at
            more = [line for line in more if not line.startswith("  ")]
        assert all(line.startswith("Hint: ") for line in more)
        assert len(more) <= 1
        return result.stderr

    def json(self, *arguments: str) -> dict[str, Any]:
        """Run a command with --json that must succeed; return the ``result`` it printed."""
        answer: dict[str, Any] = json.loads(self.ok(*arguments, "--json"))
        assert answer["ok"]
        result: dict[str, Any] = answer["result"]
        return result

    def create(self, count: int = 1, description: str = "") -> str:
        """Make backups as the program does by default; return the id of the last one."""
        return [self._manager().create(description).id for _ in range(count)][-1]

    def ids(self) -> list[str]:
        """Return the ids of the backups as ``list --quiet`` does, newest first."""
        return [info.id[:12] for info in self.backups()]

    def backups(self) -> list[BackupInfo]:
        """Return the backups, newest first."""
        return self._manager().list()

    def create_until_ambiguous(self) -> str:
        """Make backups until two ids begin with the same character; return it."""
        while True:
            self.create()
            firsts = [one[0] for one in self.ids()]
            if twice := {first for first in firsts if firsts.count(first) > 1}:
                return twice.pop()

    def _manager(self) -> BackupManager:
        # Without a pool, so that no connection stays that a command would have to reckon with.
        return BackupManager(sa.create_engine(f"sqlite:///{self.database}", poolclass=sa.NullPool))

    @property
    def database(self) -> Path:
        """The database that the program finds by default."""
        return self.folder / "data" / "soulsense.db"


def make_shell(folder: Path) -> Shell:
    """Return a shell in ``folder``, whose ``data/soulsense.db`` has rows."""
    (folder / "data").mkdir()
    make_database(folder / "data" / "soulsense.db")
    return Shell(folder)
