"""The program with a person at a terminal of 80 columns: questions, colours, progress."""

from __future__ import annotations

import re
import sqlite3
import sys
from contextlib import closing

import pexpect
import pytest
from helpers import execute, scalar, write_marker
from rich.cells import cell_len
from shell import Shell
from terminal import end_of, terminal

from soulsense_db import errors

pytestmark = pytest.mark.slow


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
            assert end_of(child) == errors.NotConfirmedError.exit_code
    assert scalar(shell.database, "SELECT count(*) FROM child") == 0


@pytest.mark.slow
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
            assert end_of(child) == 0
    assert shell.ok("list", "--quiet") == ""


def test_a_base_is_asked_about_with_what_needs_it(shell: Shell) -> None:
    """Before a cascade all that would go is listed; a no keeps all, a yes deletes all."""
    shell.ok("create", "--differential")
    shell.ok("create", "--differential", "The second")
    newest, base = shell.backups()
    for answer, left in (("n", 2), ("y", 0)):
        with terminal(shell, "delete", base.id, "--cascade") as child:
            child.expect(f"{newest.id[:8]}.*The second")
            child.expect(rf"Delete {base.filename} and the backup based on it\s+permanently\?")
            child.sendline(answer)
            end_of(child)
        assert len(shell.backups()) == left


def test_control_c_at_the_question(shell: Shell) -> None:
    """Ctrl-C at the question changes nothing and prints no traceback."""
    shell.create()
    with terminal(shell, "delete", "latest") as child:
        child.expect(r"\[y/N\]")
        child.sendintr()
        code = end_of(child)
        assert "Traceback" not in child.before
    assert code != 0
    assert len(shell.ok("list", "--quiet").split()) == 1


def test_a_list_is_as_wide_as_the_terminal(shell: Shell) -> None:
    """One line for every backup, none wider than the terminal, whatever the description."""
    shell.ok("create", "x" * 200)
    with terminal(shell, "list") as child:
        assert end_of(child) == 0
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
        end_of(child)
        coloured = re.search(r"\x1b\[[0-9;]*3[0-9]m", child.before) is not None
    assert coloured is colours


def test_long_work_shows_progress(shell: Shell) -> None:
    """At a terminal a bar shows while the work is done, and the result after it."""
    with terminal(shell, "create") as child:
        child.expect("Backing up")
        child.expect("Created")
        assert end_of(child) == 0


def test_a_second_pass_shows_as_one(shell: Shell) -> None:
    """Work that goes over the data twice shows the second time as it does the first."""
    with terminal(shell, program="progress_twice.py") as child:
        for done in (5, 7):
            child.expect(rf"Twice .* {done} B of 100 B .*-:--:--")
        assert end_of(child) == 0


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
        assert end_of(child) == code
    assert scalar(shell.database, "SELECT count(*) FROM child") == 0


@pytest.mark.parametrize(
    ("command", "done"), [("show", "id +{0.id}"), ("verify", "OK {0.filename}\r")]
)
def test_a_backup_is_chosen_by_its_number(shell: Shell, command: str, done: str) -> None:
    """Without a REF there is a list; what is no number of it is asked again."""
    shell.create(2)
    oldest = shell.backups()[-1]
    with terminal(shell, command) as child:
        child.expect(rf"2  {oldest.id[:8]}")
        child.expect("which backup")
        child.sendline("3")
        child.expect("Type a number from 1 to 2")
        child.sendline("nosuch")
        child.expect("Backup file not found: nosuch")
        child.sendline("2")
        child.expect(done.format(oldest))
        assert end_of(child) == 0


def test_who_chooses_sees_what_the_list_shows(shell: Shell) -> None:
    """Also at which revision a backup is, and that it was taken of a half migrated database."""
    execute(
        shell.database,
        "CREATE TABLE alembic_version (version_num VARCHAR(32))",
        "INSERT INTO alembic_version VALUES ('ab12cd')",
    )
    shell.create()
    write_marker(shell.database, backup="x", alembic_heads=("ab12cd",), target_revision="r2")
    shell.create()
    with terminal(shell, "restore") as child:
        child.expect("REVISION.*DESCRIPTION")
        child.expect(r"1  .* ab12cd +\(half-run\)")
        child.expect("2  .* ab12cd")
        child.expect("which backup")
        assert "half-run" not in child.before
        child.send("\r")
        end_of(child)


def test_the_chosen_backup_is_deleted_and_no_other(shell: Shell) -> None:
    """An id that is typed is taken as well; the question is asked as always."""
    shell.create(3)
    newest, chosen, oldest = shell.ids()
    with terminal(shell, "delete") as child:
        child.expect("which backup")
        child.sendline(chosen)
        child.expect(r"Delete .* permanently\? \[y/N\]")
        child.sendline("y")
        child.expect("Deleted")
        assert end_of(child) == 0
    assert shell.ids() == [newest, oldest]


@pytest.mark.parametrize("key", ["\r", "\x04", "\x03"])
def test_nothing_is_chosen(shell: Shell, key: str) -> None:
    """Return, Ctrl-D and Ctrl-C at the list change nothing, with their usual exit codes."""
    shell.create()
    with terminal(shell, "restore") as child:
        child.expect("which backup")
        child.send(key)
        code = end_of(child)
        assert "Traceback" not in child.before
    assert code == (130 if key == "\x03" else errors.NotConfirmedError.exit_code)
    assert not shell.database.with_name(f"{shell.database.name}.safety_backup").exists()


def test_there_is_nothing_to_choose_from(shell: Shell) -> None:
    """Without a backup there is an error that says how to make one, and no empty list."""
    with terminal(shell, "restore") as child:
        child.expect("There is no backup")
        child.expect("soulsense-db create")
        assert end_of(child) == errors.BackupNotFoundError.exit_code


def test_a_wait_for_a_lock_is_said(shell: Shell) -> None:
    """A person who waits for another program's transaction reads what is waited for."""
    shell.create()
    with closing(sqlite3.connect(shell.database, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with terminal(shell, "restore", "latest", "--yes") as child:
            child.expect("Waiting for another program")
            writer.execute("ROLLBACK")
            child.expect("Restored")
            assert end_of(child) == 0


def _printed(columns: int, program: str) -> list[str]:
    """Return the lines that ``program`` prints on a terminal with so many columns."""
    child = pexpect.spawn(
        sys.executable,
        ["-c", f"from soulsense_db.cli.output import print_facts, print_table\n{program}"],
        env={"PATH": "", "TERM": "dumb", "NO_COLOR": "1"},
        dimensions=(24, columns),
        encoding="utf-8",
        timeout=30,
    )
    child.expect(pexpect.EOF)
    return [line.rstrip() for line in child.before.splitlines()]


def test_no_two_names_are_cut_alike() -> None:
    """Names that differ late are cut behind the difference; a wide terminal shows them whole."""
    names = ["customers_and_their_orders_2025", "customers_and_their_orders_2026", "日本語の表" * 9]
    program = f"print_table(('TABLE', '>N', 'TEXT'), [(n, '1', 'x' * 60) for n in {names!r}])"
    narrow = [line.split()[0] for line in _printed(40, program)[1:]]
    assert len(set(narrow)) == 3
    assert narrow[:2] == names[:2]
    assert [line.split()[0] for line in _printed(200, program)[1:]] == names


def test_a_description_takes_the_room_that_is_left() -> None:
    """The last column is as wide as the terminal lets it be, also in letters of two cells."""
    for text in ("w" * 300, "文" * 300):
        program = f"print_table(('ID', 'DESCRIPTION'), [('0123456789ab', {text!r})])"
        for columns in (40, 80, 200):
            line = _printed(columns, program)[1]
            assert columns - 2 <= cell_len(line) <= columns
            assert line.endswith("…")


def test_what_is_copied_is_in_one_piece() -> None:
    """Ids and paths are neither cut nor folded, however narrow the terminal is."""
    path = "/srv/" + "very_long_name/" * 9 + "日本語.db"
    facts = f"print_facts([('file', {path!r}), ('id', '0123456789ab')])"
    assert path in "\n".join(_printed(40, facts))
    table = f"print_table(('ID', '', 'WHY'), [('0123456789ab', 'x' * 40, {path!r})], fold=True)"
    shown = "\n".join(_printed(40, table))
    assert path in shown
    assert "0123456789ab" in shown
