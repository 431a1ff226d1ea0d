"""``soulsense-db gui``: the window as a program of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import CHILD_SECONDS, eventually
from shell import Shell

from dialog.display import Display
from soulsense_db import errors


@contextmanager
def window(shell: Shell, display: Display, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run the program until its window is to be seen, and kill it at the end of the block."""
    command = [sys.executable, "-m", "soulsense_db", "gui", *options]
    program = subprocess.Popen(
        command,
        cwd=shell.folder,
        env=shell.env | display.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with program:
        try:
            search = ("search", "--sync", "--onlyvisible", "--name", "^Backups of soulsense.db$")
            display.xdotool(*search, "windowfocus")
            yield program
        finally:
            program.kill()


def ended(program: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return exit code and what was printed, once the program has ended."""
    out, err = program.communicate(timeout=CHILD_SECONDS)
    return program.returncode, out, err


def test_it_opens_and_closes(shell: Shell, display: Display) -> None:
    """A window opens over the database of the command line; Escape ends the program with 0."""
    with window(shell, display) as program:
        display.xdotool("key", "Escape")
        assert ended(program) == (0, "", "")


def test_a_backup_is_made_in_it(shell: Shell, display: Display) -> None:
    """What is typed and confirmed with Enter is a backup."""
    with window(shell, display, "--dark") as program:
        display.xdotool("key", "ctrl+n")
        display.xdotool("type", "From the window")
        display.xdotool("key", "Return")
        directory = shell.folder / "data" / "backups"
        assert eventually(lambda: len(list(directory.glob("*.db"))) == 1)

        def closes() -> bool:  # while the work ends, Escape asks, and takes that back
            display.xdotool("key", "Escape")
            return program.poll() is not None

        assert eventually(closes)
        code, out, err = ended(program)
    assert (code, out, err) == (0, "", "")
    (made,) = json.loads(shell.ok("list", "--json"))["result"]["backups"]
    assert made["description"] == "From the window"


def test_for_programs(shell: Shell, display: Display) -> None:
    """With --json it says, when it has been closed, that all went well."""
    with window(shell, display, "--json") as program:
        display.xdotool("key", "Escape")
        code, out, err = ended(program)
    assert (code, err) == (0, "")
    assert json.loads(out) == {"format": 1, "command": "gui", "ok": True, "result": {}}


def test_control_c_at_the_terminal_ends_it(shell: Shell, display: Display) -> None:
    """An interrupt closes the window; no traceback, and the exit code of an interrupt."""
    with window(shell, display) as program:
        program.send_signal(signal.SIGINT)
        code, out, err = ended(program)
    assert (code, out) == (130, "")
    assert err == "Interrupted. The interrupted operation changed nothing.\n"


@pytest.mark.parametrize("display_name", [None, "", ":9999", "no/display"])
def test_no_display(shell: Shell, display_name: str | None) -> None:
    """Where there is no screen, that is said in two lines, with an exit code of its own."""
    shell.env.pop("DISPLAY", None)
    if display_name is not None:
        shell.env["DISPLAY"] = display_name
    told = shell.fails(errors.DisplayError, "gui")
    assert "No window can be opened here" in told
    assert "Nothing was changed." in told
    assert "the other commands need none" in told


def test_no_tkinter(shell: Shell, tmp_path: Path) -> None:
    """A Python without tkinter, as some distributions have it, is told what to install."""
    stand_in = tmp_path / "without"
    stand_in.mkdir()
    missing = "raise ModuleNotFoundError(\"No module named '_tkinter'\", name='_tkinter')\n"
    (stand_in / "_tkinter.py").write_text(missing)
    shell.env["PYTHONPATH"] = str(stand_in)
    told = shell.fails(errors.DisplayError, "gui")
    assert "This Python has no tkinter" in told
    assert "apt install python3-tk" in told
    shell.ok("create", "--quiet")


def test_a_database_for_which_there_is_no_window(shell: Shell, display: Display) -> None:
    """One that cannot be backed up, or is in memory, is an error of the terminal."""
    shell.env |= display.env
    shell.fails(errors.UnsupportedDatabaseError, "gui", "--url", "oracle://h/db")
    shell.fails(errors.UnsupportedDatabaseError, "gui", "--url", "sqlite://")
