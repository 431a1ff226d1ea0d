"""Signals that end a command: nothing is left behind, and the database is what it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from age_keys import Key
from alembic_project import Project
from helpers import CHILD_SECONDS, eventually
from rehearsals import is_alive, manager_of, project, run_sql, untouched
from shell import Shell

from soulsense_db import BackupManager
from soulsense_db.drivers import engine_for

pytestmark = pytest.mark.slow

REHEARSE = ("rehearse",)
RESTORE = ("restore", "latest", "--upgrade", "--yes")


@pytest.fixture
def made(tmp_path: Path, key: Key) -> Project:
    """Return a project with an encrypted backup, and a step that tells its process and waits."""
    made = project(tmp_path / "project")
    sealing = BackupManager(engine_for(f"sqlite:///{made.database}"), recipients=key.recipients)
    sealing.create("old")
    run_sql(made.database, "DELETE FROM entry")
    mark = str(tmp_path / "process")
    made.revision(
        "second",
        "first",
        f"Path({mark!r} + '.new').write_text(str(os.getpid()))\n"
        f"os.replace({mark!r} + '.new', {mark!r})\ntime.sleep(600)",
    )
    return made


@contextmanager
def _migrating(made: Project, words: tuple[str, ...], key: Key) -> Iterator[subprocess.Popen[str]]:
    """Start a command; yield it once its step runs. That process does not outlive it."""
    mark = made.folder.parent / "process"
    with subprocess.Popen(
        [sys.executable, "-m", "soulsense_db", *words],
        cwd=made.folder,
        env=Shell(made.folder).env | {"SOULSENSE_IDENTITY_FILE": str(key.path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert eventually(mark.exists, seconds=CHILD_SECONDS)
            yield process
        finally:
            process.kill()
    assert eventually(lambda: not is_alive(int(mark.read_text())))


@pytest.mark.parametrize("words", [REHEARSE, RESTORE], ids=" ".join)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_in_order(
    made: Project, key: Key, words: tuple[str, ...], number: signal.Signals
) -> None:
    """The exit code is a shell's; no decrypted copy stays, and no process that migrates."""
    with untouched(made.folder, but=(".lock", ".meta")), _migrating(made, words, key) as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=CHILD_SECONDS)
        assert process.returncode == 128 + number
        assert said.splitlines()[-1] == "Interrupted. The interrupted operation changed nothing."


def test_a_signal_that_is_ignored_stays_so(made: Project, key: Key) -> None:
    """Under nohup a closed terminal ends nothing."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a new process inherits that
    try:
        with _migrating(made, REHEARSE, key) as process:
            os.kill(process.pid, signal.SIGHUP)
            os.kill(process.pid, signal.SIGTERM)
            process.communicate(timeout=CHILD_SECONDS)
            assert process.returncode == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_prune_removes_what_a_killed_command_left(made: Project, key: Key) -> None:
    """Also one that has no backup to remove, but not a dry run."""

    def left() -> list[str]:
        return [path.name for path in made.folder.glob(".app.db.work-*")]

    with _migrating(made, REHEARSE, key) as process:
        process.kill()
        process.communicate(timeout=CHILD_SECONDS)
    assert left()
    shell = Shell(made.folder)
    assert "Nothing to remove." in shell.ok("prune", "--keep-last", "9", "--dry-run")
    assert left()
    assert "Nothing to remove." in shell.ok("prune", "--keep-last", "9")
    assert left() == []
    assert len(manager_of(made).list()) == 1
