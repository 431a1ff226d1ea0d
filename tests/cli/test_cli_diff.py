"""soulsense-db diff: what it prints, as lines, as JSON, as a page."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers import add_child, execute, snapshot_of
from html_page import Page
from shell import Shell
from test_cli_json import answer

from soulsense_db import errors
from soulsense_db.cli.diff_json import value_json
from soulsense_db.cli.shown_values import shown, shown_pair
from soulsense_db.drivers import LongValue, Value

EVIL = "evil \x1b[2J\x07 \u202e<script>alert(1)</script> & \"'"


def _fill(shell: Shell) -> None:
    """Make a backup, and then a change of every kind."""
    execute(
        shell.database,
        "CREATE TABLE v (id INTEGER PRIMARY KEY, x)",
        "INSERT INTO v VALUES (1, 9007199254740993), (2, x'00ff'), (3, 1e999), (4, 'text')",
        "INSERT INTO v VALUES (5, CAST(x'ff' AS TEXT)), (6, zeroblob(9000)), (7, NULL), (8, 0.1)",
    )
    shell.create()
    with closing(sqlite3.connect(shell.database)) as connection:
        connection.execute("UPDATE v SET x = ? WHERE id < 9", (EVIL,))
        connection.execute("DELETE FROM parent WHERE id = 3")
        connection.execute("ALTER TABLE parent ADD COLUMN nick TEXT")
        connection.commit()
    add_child(shell.database)


def test_lines_for_a_person(shell: Shell) -> None:
    """What is compared, in which direction, each kind of difference, and a last line with all."""
    _fill(shell)
    printed = shell.ok("diff", "latest")
    lines = printed.splitlines()
    assert lines[0].startswith("before  soulsense_backup_")
    assert lines[1].startswith("after   ")
    assert lines[1].endswith("soulsense.db, the live database")
    assert "  Column parent.nick was added (TEXT)." in lines
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.startswith("  ")}
    assert rows["parent"] == ["10", "9", "0", "-1", "1"]
    assert rows["child"] == ["300", "301", "+1", "0", "0"]
    assert rows["v.x"] == ["8", "0", "0", "0"]
    assert lines[-1] == (
        "1 difference of the schema; rows differ in 3 of 3 tables: 1 added, 1 removed, 9 changed."
    )
    assert "one more" not in printed
    assert shell.ok("diff", "latest", "latest").splitlines()[-1] == (
        "No differences: 3 tables compared."
    )


def test_the_revision_is_no_row_of_data(shell: Shell) -> None:
    """Alembic's table is not counted among the tables whose rows differ: the revision is told."""
    execute(
        shell.database,
        "CREATE TABLE alembic_version (version_num TEXT)",
        "INSERT INTO alembic_version VALUES ('0001')",
    )
    shell.create()
    execute(shell.database, "UPDATE alembic_version SET version_num = '0002'")
    said = shell.ok("diff", "latest")
    assert "alembic_version" not in said
    assert said.splitlines()[-1] == (
        "0 differences of the schema; the rows are the same, the revision is not."
    )
    execute(shell.database, "UPDATE child SET body = 'x' WHERE id = 1")
    assert "rows differ in 1 of 2 tables: 0 added, 0 removed, 1 changed." in shell.ok(
        "diff", "latest"
    )
    assert "rows differ in 1 of 1 table" in shell.ok("diff", "latest", "--table", "alembic_version")


def test_what_became_less_exact_is_counted(shell: Shell, tmp_path: Path) -> None:
    """Numbers that were rounded have a column of their own, in the terminal and on the page."""
    execute(
        shell.database,
        "CREATE TABLE price (id INTEGER PRIMARY KEY, euros REAL)",
        "INSERT INTO price VALUES (1, 19.99), (2, 5.49), (3, 7.0)",
    )
    shell.create()
    execute(shell.database, "UPDATE price SET euros = CAST(euros AS INTEGER) WHERE id < 3")
    page = tmp_path / "diff.html"
    lines = shell.ok("diff", "latest", "--html", str(page)).splitlines()
    at = next(number for number, line in enumerate(lines) if "LESS EXACT" in line)
    assert lines[at].split("  ")[-1] == "LESS EXACT"
    assert lines[at + 1].split() == ["price.euros", "2", "0", "0", "2"]
    text = page.read_text()
    assert '<th class="number">Less exact</th>' in text
    numbers = text.partition("<code>price.euros</code>")[2].partition("</tr>")[0]
    assert re.findall(r">(\d+)<", numbers) == ["2", "0", "0", "2"]


def test_samples_side_by_side(shell: Shell) -> None:
    """Rows are shown with their key, long values shortened, and nothing in them acts."""
    _fill(shell)
    printed = shell.ok("diff", "latest", "--rows", "1", "--table", "v", "--table", "child")
    assert "parent" not in printed.replace("parent_id", "")
    assert re.search(r"  \+ added id=301\n", printed)
    assert "'one more'" in printed
    before, after = re.search(r"  ~ changed id=1\n.*\n +x +(\S+) +('.*)\n", printed).groups()  # type: ignore[union-attr]
    assert before == "9007199254740993"
    assert after.startswith(r"'evil \x1b[2J")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", printed)


def test_json_loses_nothing(shell: Shell) -> None:
    """Big integers, infinity, bytes and bytes that are no text come through as they are."""
    _fill(shell)
    found = answer(shell, "diff", "latest", "--rows", "20", "--table", "v")["result"]
    (table,) = found["tables"]
    before = [sample["before"][1] for sample in table["samples"]]
    assert before[:5] == [
        {"type": "integer", "value": "9007199254740993"},
        {"type": "blob", "base64": base64.b64encode(b"\x00\xff").decode()},
        {"type": "real", "value": "inf"},
        {"type": "text", "value": "text"},
        {"type": "text", "base64": base64.b64encode(b"\xff").decode()},
    ]
    assert (before[5]["type"], before[5]["length"]) == ("blob", 9000)
    assert before[6:] == [{"type": "null"}, {"type": "real", "value": "0.1"}]
    assert table["samples"][0]["after"][1] == {"type": "text", "value": EVIL}
    whole = answer(shell, "diff", "latest")["result"]
    assert whole["second"] is None
    assert not whole["identical"]
    assert answer(shell, "diff", "latest", "latest")["result"]["identical"]


def test_a_page_of_its_own(shell: Shell) -> None:
    """One file for its owner, with nothing from elsewhere, in which no value is HTML."""
    _fill(shell)
    file = shell.folder / "diff.html"
    printed = shell.ok("diff", "latest", "--rows", "3", "--html", "diff.html")
    assert printed.splitlines()[-1] == "Written to diff.html"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert "script" not in page.tags
    assert not page.tags & {"link", "img", "iframe", "object"}
    assert not {name for name, _ in page.attributes} & {"src", "href", "onclick", "onload"}
    assert "url(" not in text and "@import" not in text
    assert "<script>alert(1)</script>" in page.text
    assert "\x1b" not in text and "\u202e" not in text
    assert "Column parent.nick was added" in page.text
    shell.ok("diff", "latest", "latest", "--html", "diff.html")  # one of ours is replaced
    assert "No differences" in file.read_text(encoding="utf-8")
    assert not [name for name in snapshot_of(shell.folder) if "soulsense_report" in name]


def test_a_page_replaces_nothing_else(shell: Shell) -> None:
    """The database, or any other file, is not taken for a page; a missing folder is told."""
    shell.create()
    before = shell.database.read_bytes()
    told = shell.fails(errors.OptionError, "diff", "latest", "--html", str(shell.database))
    assert "is no file that --html has written" in told
    assert shell.database.read_bytes() == before
    told = shell.fails(errors.OptionError, "diff", "latest", "--html", "nosuch/diff.html")
    assert "nosuch, which is no directory" in told


def test_wrong_arguments(shell: Shell) -> None:
    """Each is an error with its exit code, and the hint says what there is."""
    assert shell.run("diff").returncode == 2
    shell.create()
    assert shell.run("diff", "latest", "--rows", "-1").returncode == 2
    assert shell.run("diff", "latest", "--rows", "1001").returncode == 2
    assert shell.run("diff", "latest", "--rows", "many").returncode == 2
    shell.fails(errors.BackupNotFoundError, "diff", "nosuch")
    shell.fails(errors.BackupNotFoundError, "diff", "latest", "nosuch")
    assert "child" in shell.fails(errors.OptionError, "diff", "latest", "--table", "chlid")
    shell.database.unlink()
    shell.fails(errors.DatabaseFileNotFoundError, "diff", "latest")
    assert "No differences" in shell.ok("diff", "latest", "latest")


LONG = "The same beginning, which is as long as that. " * 5
PAIRS: list[tuple[Value, Value, str, str]] = [
    (None, 1, "NULL", "1"),
    ("a", "b", "'a'", "'b'"),
    (1, 1.0, "1", "1.0"),
    ("1", 1, "'1'", "1"),
    (b"\x01", None, "x'01'", "NULL"),
    ("a\x00", "a ", r"'a\x00'", "'a '"),
    ("a\nb", "a b", r"'a\nb'", "'a b'"),
    ("a\nb", r"a\nb", r"'a\nb' 'a\nb'", r"'a\nb' 'a\\nb'"),
]


@pytest.mark.parametrize(("before", "after", "one", "other"), PAIRS)
def test_two_values_that_differ_look_different(
    before: Value, after: Value, one: str, other: str
) -> None:
    """Whatever they are, it can be seen that they are not the same."""
    assert shown_pair(before, after) == (one, other)


def test_long_values_are_shown_where_they_differ() -> None:
    """A change far behind the beginning is what is shown, with the length of the whole."""
    one, other = shown_pair(f"{LONG}old", f"{LONG}new and more")
    assert "old" in one and "new and more" in other
    assert one.startswith("'…") and one.endswith(f"({len(LONG) + 3:,} characters)")
    values = [
        LongValue(kind="blob", length=9000, sha256=digest * 64, start=b"\x00" * 200)
        for digest in "ab"
    ]
    texts = shown_pair(*values)
    assert texts[0] != texts[1]
    assert "9,000 bytes" in texts[0]
    assert len(shown("x" * 5000)) < 80


@pytest.mark.parametrize("value", [-(2**63), 1e308, 5e-324, float("-inf"), 0.1, "\x00", "\udcff"])
def test_json_values_are_read_back(value: Any) -> None:
    """What is printed is read back as the same value, bit by bit."""
    found = json.loads(json.dumps(value_json(value)))
    kinds = {"integer": int, "real": float, "text": str}
    if "value" in found:
        assert kinds[found["type"]](found["value"]) == value
    else:
        assert base64.b64decode(found["base64"])


def test_a_terminal_is_wide_enough(shell: Shell, tmp_path: Path) -> None:
    """A table with a name that is odd, and a column with a long one, are printed whole."""
    execute(shell.database, 'CREATE TABLE "a \x1b[31m <b>" ("c \n d" INTEGER PRIMARY KEY)')
    shell.create()
    execute(shell.database, 'INSERT INTO "a \x1b[31m <b>" VALUES (1)')
    printed = shell.ok("diff", "latest", "--rows", "1")
    assert "a  [31m <b>" in printed
    assert "added c   d=1" in printed
    assert "\x1b" not in printed
