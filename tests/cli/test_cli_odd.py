"""The command line where things are odd: closed streams, odd files, others at work meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from shell import Shell
from test_cli_json import validator

from soulsense_db.cli import backups, pruning, restoring, undoing
from soulsense_db.cli.session import Session
from soulsense_db.errors import (
    BackupNotFoundError,
    DatabaseLockedError,
    NotConfirmedError,
    OptionError,
)
from soulsense_db.manager import BackupManager
from soulsense_db.option_files import read_options
from soulsense_db.retention import RetentionPolicy
from soulsense_db.settings import Settings

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


@pytest.mark.slow
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
        ("$RUN list >/dev/full", 1),
        ("$RUN list --help >/dev/full", 1),
        ("$RUN create <&- >&- 2>&-", 0),
    ],
)
def test_a_closed_or_full_stream_is_no_traceback(shell: Shell, command: str, code: int) -> None:
    """Whatever the standard streams are, the exit code tells, and stderr has a line or two."""
    shell.create()
    result = sh(shell, command)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 2


@pytest.mark.slow
def test_an_unexpected_error_is_a_line_or_an_object(shell: Shell) -> None:
    """An error that is none of the tree has exit code 99, and asks to be reported."""
    broken = (
        "import sys; from soulsense_db.cli import main, session\n"
        "def fail(*_, **__): raise RuntimeError('bad\\nluck')\n"
        "session.BackupManager = fail; main()"
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
        "session.BackupManager = stop; main()"
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


@pytest.mark.slow
def test_json_behind_two_dashes_is_a_word(shell: Shell) -> None:
    """After ``--`` the text --json is a description, and errors are lines for people."""
    shell.ok("create", "--", "--json")
    assert "--json" in shell.ok("list")
    result = shell.run("show", "--", "--json")
    assert result.returncode == 20
    assert result.stdout == ""


@pytest.mark.parametrize(
    "text",
    ["[tool]\nalembic = 3\n", "[tool]\nalembic = [1]\n", "tool = 1\n", "a = " + "[" * 100_000],
)
def test_a_toml_file_of_another_shape_is_an_option_error(tmp_path: Path, text: str) -> None:
    """Whatever stands where the table should be, the error names the file."""
    path = tmp_path / "pyproject.toml"
    path.write_text(text)
    with pytest.raises(OptionError, match=r"pyproject\.toml"):
        read_options(path)


def test_a_configuration_that_is_no_file_is_an_option_error(shell: Shell) -> None:
    """A pipe or a directory is refused at once."""
    os.mkfifo(shell.folder / "pipe.ini")
    shell.fails(OptionError, "list", "--config", "pipe.ini")
    shell.fails(OptionError, "list", "--config", "data")


def test_a_url_that_cannot_be_read_is_told_without_its_text(shell: Shell) -> None:
    """A stray % in the URL is named by file and option, and does not matter with --url."""
    (shell.folder / "alembic.ini").write_text(
        "[alembic]\nsqlalchemy.url = postgresql://me:sec%ret@host/db\n"
    )
    told = shell.fails(OptionError, "list")
    assert "alembic.ini" in told
    assert "sqlalchemy.url" in told
    assert "sec" not in told
    shell.ok("list", "--url", str(shell.database))


def test_option_names_have_no_case_and_rules_no_empty_value(tmp_path: Path) -> None:
    """A rule in capitals is a rule, and one without a value is not left out in silence."""
    path = tmp_path / "pyproject.toml"
    path.write_text("[tool.alembic]\nSoulsense_Keep_Daily = 3\n")
    retention = Settings.of(read_options(path)).retention
    assert retention is not None
    assert retention.keep_daily == 3
    for name in ("soulsense_keep_daily", "soulsense_keep_within", "soulsense_max_total_size"):
        with pytest.raises(OptionError, match=name):
            Settings.of({name: " "})


def test_an_empty_directory_option_is_an_error(shell: Shell) -> None:
    """A shell variable that is not set never means another directory."""
    shell.fails(OptionError, "list", "--directory", "")


def test_an_empty_url_option_is_an_error(shell: Shell) -> None:
    """Nor does it mean another database: that of alembic.ini, say."""
    shell.fails(OptionError, "restore", "latest", "--yes", "--url", "")


def session_of(shell: Shell, *, yes: bool = False, quiet: bool = True) -> Session:
    """Return the session of a call without options but these."""
    return Session(str(shell.database), None, None, None, as_json=False, quiet=quiet, yes=yes)


def test_prune_removes_only_what_it_showed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is asked about one backup does not lose two, for another one was made meanwhile."""
    shell.create(2)
    session = session_of(shell)
    manager = session.manager
    monkeypatch.setattr(Session, "confirm", lambda *_, **__: manager.create())
    with pytest.raises(NotConfirmedError, match="Nothing was changed"):
        pruning.prune(session, RetentionPolicy(keep_last=1))
    assert len(manager.list()) == 3
    monkeypatch.setattr(Session, "confirm", lambda *_, **__: None)
    pruning.prune(session, RetentionPolicy(keep_last=1))
    assert len(manager.list()) == 1


def test_undo_goes_back_only_to_what_it_showed(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restore while the question stands ends it: its safety backup is another database."""
    shell.create(2)
    session = session_of(shell)
    manager = session.manager
    manager.restore("latest")
    monkeypatch.setattr(Session, "confirm", lambda *_, **__: manager.restore("latest~1"))
    before = manager.safety_backup()
    with pytest.raises(NotConfirmedError, match="Another restore"):
        undoing.undo(session)
    assert manager.safety_backup() != before  # of the restore that came between, and no undo


def test_since_respects_the_zone(shell: Shell) -> None:
    """A moment is the same one in every zone."""
    shell.env["TZ"] = "America/New_York"
    shell.ok("create")
    for minutes, count in ((-5, 1), (5, 0)):
        moment = (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%MZ")
        assert len(shell.json("list", "--since", moment)["backups"]) == count


def test_a_verified_backup_that_goes_away_was_verified(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What passed its check is reported as such, even if it cannot be read once more."""
    shell.create()
    session = session_of(shell)
    verify = BackupManager.verify

    def verify_and_lose(self: BackupManager, *args: Any, **options: Any) -> Any:
        report = verify(self, *args, **options)
        Path(report.backup.path).unlink()
        return report

    monkeypatch.setattr(BackupManager, "verify", verify_and_lose)
    result = backups.verify(session, "latest")
    assert result["recorded"]
    assert result["backup"]["verified_at"]


def test_a_comparison_that_fails_does_not_block_a_restore(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The preview is a help; only a backup that cannot be restored ends the command."""
    shell.create()

    def fail_with(error: Exception) -> None:
        def compare(*_: Any) -> None:
            raise error

        monkeypatch.setattr(BackupManager, "compare", compare)

    fail_with(DatabaseLockedError("Locked."))
    assert (
        restoring.restore(session_of(shell, yes=True, quiet=False), "latest")["comparison"] is None
    )
    fail_with(BackupNotFoundError("Gone."))
    with pytest.raises(BackupNotFoundError):
        restoring.restore(session_of(shell, yes=True, quiet=False), "latest")


def test_status_of_what_cannot_be_looked_at_is_critical(shell: Shell) -> None:
    """A bad URL is exit 2 for the monitor; thresholds in the wrong order are refused."""
    result = shell.run("status", "--url", "nonsense://x/y")
    assert result.returncode == 2
    assert "SOULSENSE_DB CRITICAL" in result.stdout
    shell.fails(OptionError, "status", "--warning-age", "3d", "--critical-age", "2d")
