"""The program with a person at a terminal of 80 columns: questions, colours, progress."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pexpect
import pytest
from helpers import PROGRAMS, execute, scalar
from shell import Shell

from soulsense_db import errors


@contextmanager
def terminal(
    shell: Shell, *arguments: str, colours: bool = False, program: str = ""
) -> Iterator[Any]:
    """Start ``soulsense-db``, or one of tests/programs, at a terminal of its own."""
    env = {**shell.env, "TERM": "xterm-256color", "COLUMNS": "80"}
    if colours:
        del env["NO_COLOR"]
    child = pexpect.spawn(
        sys.executable,
        [str(PROGRAMS / program)] if program else ["-m", "soulsense_db", *arguments],
        cwd=str(shell.folder),
        env=env,
        dimensions=(24, 80),
        encoding="utf-8",
        timeout=30,
    )
    try:
        yield child
    finally:
        child.close(force=True)


def _end(child: Any) -> int:
    child.expect(pexpect.EOF)
    child.wait()
    return int(child.exitstatus)


def test_no_is_no(shell: Shell) -> None:
    """A person who answers no, or just presses return, has changed nothing."""
    shell.create()
    execute(shell.database, "DELETE FROM child")
    for answer in ("n", ""):
        with terminal(shell, "restore", "latest") as child:
            child.expect(r"child +\+300 +0 +0")
            child.expect(r"Replace .* with this backup\? \[y/N\]")
            child.sendline(answer)
            child.expect("Nothing was changed")
            assert _end(child) == errors.NotConfirmedError.exit_code
    assert scalar(shell.database, "SELECT count(*) FROM child") == 0


def test_yes_is_yes(shell: Shell) -> None:
    """A person who answers yes has restored; the same for undo, delete and prune."""
    shell.create(2)
    execute(shell.database, "DELETE FROM child")
    for arguments, done in (
        (["restore", "latest"], "Restored .* as of"),
        (["undo"], "Restored .* as of"),
        (["prune", "--keep-last", "1"], r"Removed 1 \("),
        (["delete", "latest"], "Deleted soulsense_backup"),
        (["restore", "--accept"], "nothing to accept"),
    ):
        with terminal(shell, *arguments) as child:
            child.expect(r"\[y/N\]")
            child.sendline("y")
            child.expect(done)
            assert _end(child) == 0
    assert shell.ok("list", "--quiet") == ""


def test_control_c_at_the_question(shell: Shell) -> None:
    """Ctrl-C at the question changes nothing and prints no traceback."""
    shell.create()
    with terminal(shell, "delete", "latest") as child:
        child.expect(r"\[y/N\]")
        child.sendintr()
        code = _end(child)
        assert "Traceback" not in child.before
    assert code != 0
    assert len(shell.ok("list", "--quiet").split()) == 1


def test_a_list_is_as_wide_as_the_terminal(shell: Shell) -> None:
    """One line for every backup, none wider than the terminal, whatever the description."""
    shell.ok("create", "x" * 200)
    with terminal(shell, "list") as child:
        assert _end(child) == 0
        shown = re.sub(r"\x1b\[[0-9;]*m", "", child.before.replace("\r", ""))
        lines = shown.strip().splitlines()
    assert len(lines) == 2
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].split() == ["ID", "AGE", "SIZE", "KIND", "VERIFIED", "DESCRIPTION"]
    assert lines[1].endswith("xxx\u2026")


@pytest.mark.parametrize("colours", [True, False])
def test_no_color(shell: Shell, colours: bool) -> None:
    """A terminal gets colours, and none with NO_COLOR set."""
    shell.create()
    with terminal(shell, "status", colours=colours) as child:
        _end(child)
        coloured = re.search(r"\x1b\[[0-9;]*3[0-9]m", child.before) is not None
    assert coloured is colours


def test_long_work_shows_progress(shell: Shell) -> None:
    """At a terminal a bar shows while the work is done, and the result after it."""
    with terminal(shell, "create") as child:
        child.expect("Backing up")
        child.expect("Created")
        assert _end(child) == 0


def test_a_second_pass_shows_as_one(shell: Shell) -> None:
    """Work that goes over the data twice shows the second time as it does the first."""
    with terminal(shell, program="progress_twice.py") as child:
        for done in (5, 7):
            child.expect(rf"Twice .* {done} B of 100 B .*-:--:--")
        assert _end(child) == 0


def test_progress_is_not_for_pipes(shell: Shell) -> None:
    """Piped, nothing but the result is printed, and nothing on stderr."""
    result = shell.run("create")
    assert result.stderr == ""
    assert "Backing up" not in result.stdout


@pytest.mark.parametrize(
    ("key", "code"), [("\x03", 130), ("\x04", errors.NotConfirmedError.exit_code)]
)
def test_a_key_that_ends_the_question_changes_nothing(shell: Shell, key: str, code: int) -> None:
    """Ctrl-C interrupts, as everywhere; Ctrl-D, the end of what is typed, is no yes."""
    shell.json("create")
    execute(shell.database, "DELETE FROM child")
    with terminal(shell, "restore", "latest") as child:
        child.expect(r"\[y/N\]")
        child.send(key)
        assert _end(child) == code
    assert scalar(shell.database, "SELECT count(*) FROM child") == 0
