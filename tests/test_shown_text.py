"""Text from files and names is shown as text, wherever it is shown."""

from __future__ import annotations

import logging
import os
import pickle
import re
import subprocess
import unicodedata
from pathlib import Path

import pytest
from alembic_project import DOORS, Project
from helpers import make_database
from hypothesis import example, given, settings
from hypothesis import strategies as st
from shell import Shell

from soulsense_db import BackupManager
from soulsense_db.errors import BackupError, BackupNotFoundError, StorageError
from soulsense_db.health import check_health
from soulsense_db.shown_text import escaped, logger_of, printable, shell_command

# A sequence that clears the screen, a forged line, a mark that turns the line, a bell, a byte.
ODD = "a\x1b[2J\u202eb\x07\u2028c\x9b1m\u2066d"
ACTING = set("\x1b\u202e\x07\u2028\x9b\u2066\n\r\x00")


def acts(text: str) -> set[str]:
    """Return the characters of ``text`` that would do something; it may have several lines."""
    return (set(text) & ACTING) - {"\n"}


@given(st.text(st.characters()))
@example(ODD)
@example("ok")
def test_nothing_in_it_acts(text: str) -> None:
    """Each acting character is a space; all others, joined emoji too, stay where they are."""
    shown = printable(text)
    assert len(shown) == len(text)
    for before, after in zip(text, shown, strict=True):
        kind = unicodedata.category(before)
        acting = kind in {"Cc", "Cf", "Cs", "Zl", "Zp"} and before not in "\u200c\u200d"
        assert after == (" " if acting else before)


@given(st.text(st.characters(exclude_characters="\\")))
@example(ODD)
def test_an_escaped_text_tells_what_it_was(text: str) -> None:
    """Nothing in it acts, and which character it was can be read: Python reads it back."""
    shown = escaped(text)
    assert printable(shown) == shown
    assert shown.encode("ascii", "backslashreplace").decode("unicode_escape") == text
    assert escaped("two\nlines\t") == r"two\nlines\t"


_words = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"])
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_words, min_size=1, max_size=4))
@example(["it's", 'a "b"', "$(reboot)", "`x`", "!x", "a\\", "~", "*", "-rf", ""])
@example(["\x1b[2J", "\n", "\udcff\udcfe", "\u202e'\\\n", "a\tb"])
def test_a_command_to_copy_says_what_it_means(words: list[str]) -> None:
    """Pasted into a shell it has these very words; on the way there nothing in it acts."""
    command = shell_command("printf", r"%s\0", *words)
    assert printable(command) == command
    told = subprocess.run(
        ["/bin/bash", "-c", os.fsencode(command)], capture_output=True, check=True
    ).stdout
    assert told == b"".join(os.fsencode(word) + b"\0" for word in words)


def test_errors_are_printable() -> None:
    """Message and hint of every error are one line, whatever names are in them, pickled as well."""
    error = StorageError(f"Could not read {ODD}\n/x.", hint=f"Delete {ODD}\r")
    for one in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301
        assert isinstance(one, BackupError)
        assert not set(str(one)) & ACTING
        assert not set(one.hint) & ACTING
        assert one.message.startswith("Could not read a [2J b  c 1m d /x")


def test_log_lines_are_printable(caplog: pytest.LogCaptureFixture) -> None:
    """What a log line is made of cannot forge another, nor act when somebody reads the log."""
    log = logger_of("soulsense_db.test")
    assert logger_of("soulsense_db.test").filters == log.filters
    log.warning("One %s of %d", Path(f"/srv/{ODD}\nERROR forged"), 7)
    log.warning("%(name)s", {"name": ODD})
    log.warning(ODD)
    for record in caplog.records:
        assert not set(record.getMessage()) & ACTING
    assert caplog.records[0].getMessage().endswith(" of 7")


def odd_folder(parent: Path) -> Path:
    """Make a folder whose name acts on a terminal."""
    folder = parent / ODD.replace("\x00", "")
    folder.mkdir()
    return folder


def test_the_warning_of_a_directory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its command can be copied although the name of the directory cannot be shown."""
    monkeypatch.setattr(logging.getLogger("soulsense_db"), "disabled", False)  # by a stock env.py
    folder = odd_folder(tmp_path)
    manager = BackupManager.from_url(str(make_database(folder / "app.db")))
    manager.create()
    manager.directory.chmod(0o777)
    BackupManager.from_url(str(folder / "app.db")).create()
    (line,) = [r.getMessage() for r in caplog.records if r.name == "soulsense_db"]
    assert not set(line) & ACTING
    (check,) = [c for c in check_health(manager).checks if c.name == "directory"]
    command = check.message.partition("To prevent that: ")[2]
    subprocess.run(["/bin/bash", "-c", command], check=True)
    assert manager.directory.stat().st_mode & 0o777 == 0o755


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_alembic_s_lines(tmp_path: Path, door: str) -> None:
    """What Alembic's user is told of a failure is text, though the folder's name is none."""
    project = Project(odd_folder(tmp_path), door).standard()
    result = project.run("upgrade", "head")
    assert result.returncode != 0
    ours = [line for line in result.stderr.splitlines() if "soulsense_db" in line]
    told = [line for line in ours if not line.lstrip().startswith("File ")]
    assert any("app.db" in line for line in told), result.stderr
    assert not acts("".join(told)), result.stderr


@pytest.mark.slow
def test_the_command_line_s_lines(shell: Shell) -> None:
    """Descriptions, notes, file names and problems of files are text in every command."""
    shell.ok("create", ODD)
    shell.ok("pin", "latest", ODD)
    backups = shell.database.parent / "backups"
    (backups / f"soulsense_backup_20260101_000000_{ODD}.db.meta").write_text("{}")
    (backups / f"soulsense_backup_20260101_000001_{ODD}.db").write_bytes(b"x")
    (backups / f"soulsense_backup_20260101_000001_{ODD}.db.meta").write_text("{")
    for command in (
        ("list",),
        ("show", "latest"),
        ("status",),
        ("verify", "latest"),
        ("delete", "latest", "--yes"),
        ("restore", f"{ODD}.db"),
        ("list", "--url", f"sqlite:///{ODD}/app.db"),
        ("import", ODD),
        ("list", "--kind", ODD),
        ("list", ODD),
        (ODD,),
    ):
        result = shell.run(*command)
        assert not acts(result.stdout + result.stderr), command
        assert "Traceback" not in result.stderr


def test_a_forged_line(shell: Shell) -> None:
    """A line feed in a name ends no line: nothing after it looks like the program's own word."""
    shell.create()
    result = shell.run("show", "x\nOK: all is well")
    assert result.returncode == BackupNotFoundError.exit_code
    assert not re.search("^OK", result.stderr, re.MULTILINE)
