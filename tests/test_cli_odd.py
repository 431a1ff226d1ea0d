"""The command line where things are odd: closed streams, odd files, others at work meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from shell import Shell
from test_cli_json import validator

RUN = f"{sys.executable} -m soulsense_db"


def sh(shell: Shell, command: str) -> subprocess.CompletedProcess[str]:
    """Run a line of sh in which ``$RUN`` is the program."""
    return subprocess.run(
        ["/bin/sh", "-c", command.replace("$RUN", RUN)],
        cwd=shell.folder,
        env=shell.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("$RUN delete latest <&-", 73),
        ("$RUN list >&-", 0),
        ("$RUN list --json >&-", 0),
        ("$RUN show nosuch 2>&-", 20),
        ("$RUN show nosuch 2>/dev/full", 20),
        ("$RUN show nosuch --json >/dev/full", 1),
        ("$RUN create >/dev/full", 1),
        ("$RUN list --json >/dev/full", 1),
        ("$RUN create <&- >&- 2>&-", 0),
    ],
)
def test_a_closed_or_full_stream_is_no_traceback(shell: Shell, command: str, code: int) -> None:
    """Whatever the standard streams are, the exit code tells, and stderr has a line or two."""
    shell.ok("create")
    result = sh(shell, command)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 2


def test_an_unexpected_error_is_a_line_or_an_object(shell: Shell) -> None:
    """An error that is none of the tree has exit code 99, and asks to be reported."""
    broken = (
        "import sys; from soulsense_db.cli import main, session\n"
        "def fail(*_, **__): raise RuntimeError('bad\\nluck')\n"
        "session.BackupManager.from_url = fail; main()"
    )
    for arguments in (["list"], ["list", "--json"]):
        result = subprocess.run(
            [sys.executable, "-c", broken, *arguments],
            cwd=shell.folder,
            env=shell.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 99
        assert "Traceback" not in result.stderr
        if "--json" in arguments:
            found = json.loads(result.stdout)
            validator().validate(found)
            assert found["error"]["type"] == "InternalError"
        else:
            first, second = result.stderr.splitlines()
            assert first == "Error: Internal error: RuntimeError: bad luck"
            assert "report" in second


def test_an_interrupt_is_an_object_with_json(shell: Shell) -> None:
    """Ctrl-C with --json is an object of type Interrupted, exit code 130."""
    broken = (
        "from soulsense_db.cli import main, session\n"
        "def stop(*_, **__): raise KeyboardInterrupt\n"
        "session.BackupManager.from_url = stop; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", broken, "list", "--json"],
        cwd=shell.folder,
        env=shell.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 130
    found = json.loads(result.stdout)
    validator().validate(found)
    assert found["error"]["type"] == "Interrupted"


def test_json_behind_two_dashes_is_a_word(shell: Shell) -> None:
    """After ``--`` the text --json is a description, and errors are lines for people."""
    shell.ok("create", "--", "--json")
    assert "--json" in shell.ok("list")
    result = shell.run("show", "--", "--json")
    assert result.returncode == 20
    assert result.stdout == ""
