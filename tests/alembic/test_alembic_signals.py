"""Signals while steps run and while the database is put back; what the program says last."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from alembic_project import HAS_PLUGINS, Project, digest, query
from helpers import PROGRAMS, clean_environment, eventually

from soulsense_db import BackupManager

pytestmark = pytest.mark.slow

DOORS = ["env.py", *(["alembic.ini"] if HAS_PLUGINS else [])]
# Says that it runs, and does so until something ends it.
_WAITS = """
op.execute("DELETE FROM entry")
Path("runs").touch()
while True:
    time.sleep(0.02)
"""
# A put-back that waits in its progress for as long as a test wants.
_SLOW = """
import time
from pathlib import Path
from soulsense_db.drivers.sqlite import SQLiteDriver
load = SQLiteDriver.load
def slow(self, source, **options):
    Path("loads").touch()
    while not Path("may load").exists():
        time.sleep(0.02)
    load(self, source, **options)
SQLiteDriver.load = slow
"""


@pytest.fixture(params=DOORS)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """Return a project at ``first`` whose last step runs until a signal comes."""
    project = Project(tmp_path / "project", request.param).standard()
    project.revision("broken", "second", _WAITS)
    return project


def _start(project: Project, *before: str) -> subprocess.Popen[str]:
    hangup = () if before else ("--hangup",)
    process = subprocess.Popen(
        [*before, sys.executable, PROGRAMS / "upgrade_at_a_terminal.py", *hangup],
        cwd=project.folder,
        env={**clean_environment(), **project.env},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert eventually((project.folder / "runs").exists, seconds=40)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_a_step_puts_the_database_back(project: Project, number: int) -> None:
    """Ctrl-C, a stopped service and a closed terminal end a migration as an error does."""
    before = digest(project.database)
    with _start(project) as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode in ((-number, 1, 130) if number == signal.SIGINT else (128 + number,))
    assert digest(project.database) == before
    assert "was put back, at first" in said
    assert not project.marker.exists()


def test_a_signal_that_is_ignored_stays_so(project: Project) -> None:
    """Under nohup a closed terminal ends nothing."""
    with _start(project, "nohup") as process:
        process.send_signal(signal.SIGHUP)
        assert not eventually(lambda: process.poll() is not None, seconds=1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM


def test_a_handler_of_the_application_is_left_alone(project: Project) -> None:
    """A program that handles SIGTERM goes on doing so, during the steps and afterwards."""
    project.edit_env(
        "config = context.config",
        "import signal\nfrom pathlib import Path\n"
        "signal.signal(signal.SIGTERM, lambda *_: Path('handled').touch())\n"
        "config = context.config",
    )
    with _start(project) as process:
        process.send_signal(signal.SIGTERM)
        assert eventually((project.folder / "handled").exists, seconds=20)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert not project.marker.exists()


@pytest.mark.parametrize("end", ["well", "badly"])
def test_the_handlers_are_what_they_were_afterwards(tmp_path: Path, end: str) -> None:
    """After a command, however it ended, no handler of ours is left in a program."""
    project = Project(tmp_path / "project", "env.py").standard()
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    if end == "well":
        project.upgrade("second")
    else:
        with pytest.raises(Exception, match="nowhere"):
            project.upgrade("head")
    assert before == {n: signal.getsignal(n) for n in before}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_a_put_back_is_held(project: Project, number: int) -> None:
    """The put-back goes on to its end; what runs, the backup and the command are said at once."""
    before = digest(project.database)
    project.edit_env("config = context.config", f"{_SLOW}\nconfig = context.config")
    with _start(project) as process:
        process.send_signal(signal.SIGINT)
        assert eventually((project.folder / "loads").exists, seconds=40)
        process.send_signal(number)
        assert process.stderr is not None
        lines: list[str] = []
        while "soulsense-db restore" not in (lines[-1] if lines else ""):
            lines.append(process.stderr.readline())
        (project.folder / "may load").touch()
        _, said = process.communicate(timeout=60)
    assert any("is being put back from" in line for line in lines)
    assert "was put back, at first" in said
    assert digest(project.database) == before
    assert not project.marker.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_during_a_put_back_ends_it(project: Project, number: int) -> None:
    """Then the database is half migrated, it has its marker, and the last word says so."""
    before = digest(project.database)
    project.edit_env("config = context.config", f"{_SLOW}\nconfig = context.config")
    with _start(project) as process:
        process.send_signal(signal.SIGINT)
        assert eventually((project.folder / "loads").exists, seconds=40)
        process.send_signal(number)
        assert process.stderr is not None
        while "soulsense-db restore" not in process.stderr.readline():
            pass
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert project.marker.exists()
    assert digest(project.database) != before
    assert "soulsense-db restore" in said.splitlines()[-1]
    backup = project.backups()[-1]
    BackupManager.from_url(str(project.database)).restore(backup)
    assert digest(project.database) == before
    assert not project.marker.exists()


def _last_line(project: Project, program: str, how: str) -> str:
    ended = subprocess.run(
        [sys.executable, PROGRAMS / program, how],
        cwd=project.folder,
        env={**clean_environment(), **project.env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("how", ["exit", "fatal", "replace", "raise"])
@pytest.mark.parametrize("door", DOORS)
def test_the_last_word_names_the_state_of_the_database(tmp_path: Path, how: str, door: str) -> None:
    """Whatever a program says of its own, the last line tells that the database was put back."""
    project = Project(tmp_path / "project", door).standard()
    last = _last_line(project, "upgrade_and_handle.py", how)
    assert "was put back, at first" in last


def test_there_is_no_last_word_after_a_success(tmp_path: Path) -> None:
    """A program that tries again, and succeeds, is not told of what failed before."""
    project = Project(tmp_path / "project", "env.py").standard()
    assert _last_line(project, "upgrade_and_handle.py", "again") == "all well"
    assert query(project.database, "SELECT version_num FROM alembic_version") == [("broken",)]


def test_a_program_that_leaves_while_a_thread_migrates_says_so(project: Project) -> None:
    """A daemon thread ends with its program: the last line names the backup and the way back."""
    before = digest(project.database)
    last = _last_line(project, "upgrade_in_a_thread.py", "leave")
    assert "may be half migrated" in last
    assert "soulsense-db restore" in last
    assert project.marker.exists()
    BackupManager.from_url(str(project.database)).restore(project.backups()[-1])
    assert digest(project.database) == before


def test_a_put_back_in_a_thread_needs_no_signals(tmp_path: Path) -> None:
    """Python lets only the main thread handle signals: in others a failure is put back as well."""
    project = Project(tmp_path / "project", "env.py").standard()
    before = digest(project.database)
    subprocess.run(
        [sys.executable, PROGRAMS / "upgrade_in_a_thread.py", "join"],
        cwd=project.folder,
        env={**os.environ},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert digest(project.database) == before
    assert not project.marker.exists()
