"""The commands of every day, one after the other as an operator calls them."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from helpers import add_child, execute, flip, make_database, scalar, write_marker
from shell import Shell

from soulsense_db import errors
from soulsense_db.backup_info.meta_format import to_meta


@pytest.mark.slow
def test_show_tells_everything(shell: Shell) -> None:
    """`show` has each fact of a backup on a line of its own."""
    shell.ok("create", "Before import")
    shell.ok("pin", "latest", "tax")
    shown = shell.ok("show", "latest")
    facts = {line.split()[0]: line.split(None, 1)[1] for line in shown.splitlines()}
    assert facts["description"] == "Before import"
    assert facts["database"] == str(shell.database)
    assert facts["pinned"] == "tax"
    assert len(facts["sha256"]) == 64
    assert "ago)" in facts["taken"]
    assert "ago)" in facts["verified"]


def test_show_tells_of_the_last_day_of_the_calendar(shell: Shell) -> None:
    """A meta file that an insane clock wrote is legal, and shown as any other."""
    shell.env["TZ"] = "Asia/Tokyo"  # where that day has no local time any more
    shell.create()
    (info,) = shell._manager().list()
    told = replace(info, verified_at=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    Path(info.meta_path).write_bytes(to_meta(told))
    assert "9999-12-31 23:59:59" in shell.ok("show", "latest")


@pytest.mark.slow
def test_list_filters(shell: Shell) -> None:
    """--kind, --since and --revision leave the others out; --quiet prints only ids."""
    execute(
        shell.database,
        "CREATE TABLE alembic_version (version_num TEXT)",
        "INSERT INTO alembic_version VALUES ('abc')",
    )
    shell.ok("create", "one")
    shell.ok("auto")
    execute(shell.database, "UPDATE alembic_version SET version_num = 'def'")
    shell.ok("auto")
    ids = shell.ok("list", "--quiet").split()
    assert [len(one) for one in ids] == [12, 12]
    assert shell.ok("list", "--quiet", "--kind", "automatic").split() == ids[:1]
    both = ("--kind", "automatic", "--kind", "manual")
    assert shell.ok("list", "--quiet", *both).split() == ids
    assert shell.ok("list", "--quiet", "--revision", "abc").split() == ids[1:]
    assert shell.ok("list", "--quiet", "--since", "2000-01-01").split() == ids
    assert shell.ok("list", "--quiet", "--since", "1h").split() == ids
    assert "No backups that match" in shell.ok("list", "--since", "2999-01-01")
    assert shell.ok("list", "--quiet", "--until", "today").split() == ids
    assert shell.ok("list", "--quiet", "--until", "1h") == ""
    assert (
        shell.ok("list", "--quiet", "--since", "yesterday", "--until", "2999-01-01").split() == ids
    )
    assert "yesterday" in shell.fails(errors.OptionError, "list", "--since", "last summer")
    assert shell.run("list", "--kind", "odd").returncode == 2


@pytest.mark.slow
def test_list_fits_a_terminal(shell: Shell) -> None:
    """Long descriptions and revisions are whole when piped, one line for every backup."""
    shell.ok("create", "x" * 300)
    shell.ok("pin", "latest", "y" * 300)
    listed = shell.ok("list").splitlines()
    assert len(listed) == 2
    assert f"(pinned) {'x' * 300}" in listed[1]
    assert "\x1b" not in "".join(listed)


@pytest.mark.slow
def test_prune_says_what_and_why(shell: Shell) -> None:
    """--dry-run lists every backup with its reasons; with --yes those not kept are gone."""
    shell.create(3)
    planned = shell.ok("prune", "--keep-last", "1", "--dry-run")
    assert planned.count("no rule keeps it") == 2
    assert "last (1 of 1)" in planned
    assert planned.splitlines()[-1] == "Would remove 2, keep 1."
    assert len(shell.ids()) == 3
    refused = shell.run("prune", "--keep-last", "1")
    assert refused.returncode == errors.NotConfirmedError.exit_code
    assert len(shell.ids()) == 3
    names = {info.filename for info in shell.backups()[1:]}
    done = shell.ok("prune", "--keep-last", "1", "--yes")
    assert {line.removeprefix("Removed ") for line in done.splitlines()[-3:-1]} == names
    assert done.splitlines()[-1].startswith("Removed 2 (")
    assert len(shell.ids()) == 1
    assert "Nothing to remove." in shell.ok("prune", "--keep-last", "1")


@pytest.mark.slow
def test_prune_without_a_terminal_names_the_line_to_write(shell: Shell) -> None:
    """Of which kinds a script means is for it to say: the refusal has the lines, and they work."""
    shell.create(3)
    for _ in range(2):
        shell.ok("auto")
        add_child(shell.database)
    shell.ok("auto")
    rules = ("--keep-last", "1", "--keep-within", "0h", "--max-total-size", "5GB")
    refused = shell.run("prune", *rules)
    assert refused.returncode == errors.NotConfirmedError.exit_code
    assert "To be removed: 2 manual, 1 automatic." in refused.stdout
    assert len(shell.ids()) == 5
    *_, automatic, everything = refused.stderr.split("soulsense-db ")
    automatic = automatic[: automatic.index("--yes") + len("--yes")]
    assert "--kind all" in everything
    shell.ok(*automatic.split())
    assert [info.kind for info in shell.backups()] == ["automatic", "manual", "manual", "manual"]
    named = shell.run("prune", "--kind", "manual", "--keep-last", "1")
    assert named.returncode == errors.NotConfirmedError.exit_code
    assert "prune --kind manual --keep-last 1 --yes" in named.stderr
    shell.ok(*everything.split())
    assert [info.kind for info in shell.backups()] == ["automatic", "manual"]
    assert shell.run("prune", "--kind", "odd", "--keep-last", "1").returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "policy",
    [
        [],
        ["--keep-last", "0"],
        ["--keep-daily", "0", "--keep-yearly", "0"],
        ["--keep-last", "-2"],
        ["--keep-last", "99999999"],
        ["--keep-within", "7w"],
        ["--keep-within", ""],
        ["--max-total-size", "0"],
        ["--max-total-size", "-1GB"],
        ["--max-total-size", "9" * 400],
        ["--allow-empty"],
    ],
)
def test_a_policy_that_means_nothing_removes_nothing(shell: Shell, policy: list[str]) -> None:
    """Zeros, negative numbers and nonsense are errors before anything is removed."""
    shell.create(2)
    if policy != ["--max-total-size", "9" * 400]:
        shell.fails(errors.OptionError, "prune", "--yes", *policy)
    else:
        shell.run("prune", "--yes", *policy)
    assert len(shell.ids()) == 2


def test_prune_obeys_the_configuration(shell: Shell, tmp_path: Path) -> None:
    """Without options the soulsense_keep_... rules of alembic.ini or of --config are the policy."""
    shell.create(4)
    (shell.folder / "alembic.ini").write_text("[alembic]\nsoulsense_keep_last = 3\n")
    assert "Would remove 1" in shell.ok("prune", "-n")
    other = tmp_path / "other.toml"
    other.write_text("[tool.alembic]\nsoulsense_keep_last = 2\n")
    assert "Would remove 2" in shell.ok("prune", "-n", "--config", str(other))
    assert "Would remove 3" in shell.ok("prune", "-n", "--keep-last", "1")
    shell.fails(errors.OptionError, "prune", "-n", "--config", "nowhere.ini")


@pytest.mark.slow
def test_pin_and_unpin(shell: Shell) -> None:
    """A pinned backup is refused by delete with its note, and goes once it is unpinned."""
    shell.create()
    shell.ok("pin", "latest", "for the audit")
    assert "for the audit" in shell.fails(errors.ProtectedBackupError, "delete", "latest", "--yes")
    shell.ok("unpin", "latest")
    shell.ok("delete", "latest", "--yes")


def test_a_pinned_backup_is_refused_before_the_question(shell: Shell) -> None:
    """Nobody is asked, and nobody told to add --yes, where the answer cannot matter."""
    shell.create()
    (info,) = shell.backups()
    shell.ok("pin", "latest", "for the audit")
    said = shell.fails(errors.ProtectedBackupError, "delete", "latest")
    assert "is pinned (for the audit). Nothing was changed." in said
    assert said.endswith(f"soulsense-db unpin {info.filename}\n")


@pytest.mark.slow
def test_undo_without_a_restore_says_what_to_do(shell: Shell) -> None:
    """Where nothing can be undone, the command that goes back to the newest backup is named."""
    without = shell.fails(errors.NothingToUndoError, "undo")
    assert "there is no backup to restore" in without
    shell.create()
    (info,) = shell.backups()
    said = shell.fails(errors.NothingToUndoError, "undo")
    assert f"{info.timestamp_display}: soulsense-db restore latest" in said
    assert "soulsense-db list" in said


@pytest.mark.slow
def test_out_and_in_again(shell: Shell, tmp_path: Path) -> None:
    """`export` copies a backup to a directory, `import` brings it in, its time and text kept."""
    shell.ok("create", "Before import")
    usb = tmp_path / "usb"
    usb.mkdir()
    assert str(usb) in shell.ok("export", "latest", str(usb))
    (exported,) = usb.glob("*.db")
    shell.fails(errors.StorageError, "export", "latest", str(usb))
    shell.ok("delete", "latest", "--yes")
    shell.ok("import", str(exported))
    (found,) = shell.json("list")["backups"]
    assert (found["kind"], found["description"]) == ("imported", "Before import")
    shell.fails(errors.BackupNotFoundError, "import", "nowhere.db")


def test_a_directory_that_is_missing_is_not_written_as_a_file(shell: Shell, tmp_path: Path) -> None:
    """`export` to a name without an ending: it means a directory, and says how to make it."""
    shell.create()
    usb = tmp_path / "usb"
    said = shell.fails(errors.StorageError, "export", "latest", str(usb))
    assert f"There is no directory {usb}" in said
    assert f"mkdir {usb}" in said
    assert not usb.exists()
    (shell.folder / "sub").mkdir()
    told = shell.ok("export", "latest", "sub/../copy.db")
    assert f"to {shell.folder.resolve() / 'copy.db'}\n" in told


def test_undo_can_be_looked_at_first(shell: Shell) -> None:
    """`undo --dry-run` shows what it would do, asks nothing and changes nothing."""
    shell.create()
    add_child(shell.database)
    shell.ok("restore", "latest", "--yes")
    before = shell.database.read_bytes()
    said = shell.ok("undo", "--dry-run")
    assert "child" in said
    assert said.endswith("Nothing was changed: this was a dry run.\n")
    assert shell.json("undo", "--dry-run")["dry_run"]
    assert shell.database.read_bytes() == before
    shell.ok("undo", "--yes")
    assert shell.database.read_bytes() != before


def test_a_table_on_one_side_comes_or_goes(shell: Shell) -> None:
    """A restore's preview says that the table itself does, not only its rows."""
    execute(shell.database, "CREATE TABLE old (id INTEGER)", "INSERT INTO old VALUES (1)")
    shell.create()
    execute(
        shell.database,
        "DROP TABLE old",
        "CREATE TABLE new (id INTEGER)",
        "INSERT INTO new VALUES (1)",
    )
    said = re.sub(" +", " ", shell.ok("restore", "latest", "--dry-run"))
    assert " new 0 -1 table is removed\n" in said
    assert " old +1 0 table is created\n" in said


def test_import_tells_how_old_the_data_is(shell: Shell, tmp_path: Path) -> None:
    """It says which date it took, and that `latest` is still a newer backup; `show` says it too."""
    shell.create()
    old = make_database(tmp_path / "old.db")
    os.utime(old, (10**9, 10**9))
    said = shell.ok("import", str(old))
    assert "Taken 2001-09-09 01:46:40, when the file was last changed\n" in said
    assert "'latest' does not mean this one" in said
    identity = next(info.id for info in shell.backups() if info.kind == "imported")
    assert "when the file was last changed" in shell.ok("show", identity)
    old.rename(tmp_path / "20010910_014640.db")
    said = shell.ok("import", str(tmp_path / "20010910_014640.db"))
    assert "Taken 2001-09-10 01:46:40, by the date in the file's name\n" in said


@pytest.mark.slow
def test_auto_is_one_line(shell: Shell) -> None:
    """A scheduled run prints one line that tells all it did, and one for each removed backup."""
    assert shell.ok("auto").startswith("auto: created soulsense_backup_")
    line = shell.ok("auto", "--keep-last", "1")
    assert line.startswith("auto: nothing has changed since soulsense_backup_")
    assert line.endswith(", verified, removed 0 and kept 1 automatic backup(s)\n")
    add_child(shell.database)
    (old,) = shell.backups()
    line, named = shell.ok("auto", "--keep-last", "1").splitlines()
    assert line.endswith(", verified, removed 1 and kept 1 automatic backup(s)")
    assert named == f"auto: removed {old.filename}"
    assert shell.ok("auto", "--quiet") == ""
    (backup,) = (shell.folder / "data" / "backups").glob("*.db")
    flip(backup, 5000)
    ran = shell.run("auto", "--quiet")
    assert (ran.returncode, ran.stdout) == (0, "")
    assert ran.stderr == f"{backup.name} is damaged; another backup was created.\n"
    shell.database.unlink()
    shell.fails(errors.DatabaseFileNotFoundError, "auto", "--keep-last", "1")


@pytest.mark.slow
def test_status_speaks_to_monitors(shell: Shell) -> None:
    """The exit code is 0, 1 or 2, and the first line is a Nagios plugin's, with its numbers."""
    before = shell.run("status")
    assert before.returncode == 2
    assert before.stdout.startswith("SOULSENSE_DB CRITICAL - newest backup: there is no backup")
    shell.ok("auto")
    line, *checks = shell.ok("status").splitlines()
    assert line.startswith("SOULSENSE_DB OK - ")
    assert " | backups=1 age=" in line
    assert len(checks) == 6
    old = shell.run("status", "--warning-age", "0h", "--critical-age", "1d")
    assert old.returncode == 1
    assert shell.run("status", "--quiet", "--warning-age", "0h").stdout == ""
    assert shell.run("status", "--warning-age", "0s", "--critical-age", "90min").returncode == 1
    assert "90min, 30s" in shell.fails(errors.OptionError, "status", "--warning-age", "soon")
    shell.fails(errors.OptionError, "status", "--warning-free", "-1")
    write_marker(shell.database, backup="x", alembic_heads=(), target_revision=None)
    assert shell.run("status").returncode == 2
    ran = shell.run("auto", "--keep-last", "1")
    assert ran.returncode == errors.InterruptedMigrationError.exit_code
    assert "a migration was INTERRUPTED: nothing removed" in ran.stdout
    assert ran.stderr.startswith("Error: A migration of")
    assert shell.run("auto", "--quiet", "--keep-last", "1").stderr == ran.stderr
    (shell.folder / "data" / "backups").rename(shell.folder / "away")
    (shell.folder / "data" / "backups").touch()
    unreadable = shell.run("status")
    assert unreadable.returncode == 2
    assert unreadable.stdout.startswith("SOULSENSE_DB CRITICAL - error: Not a directory")


@pytest.mark.slow
def test_restore_shows_what_will_be_lost(shell: Shell) -> None:
    """Age, revision and rows per table are told before the question, and --yes answers it."""
    shell.ok("create", "Before the flood")
    execute(
        shell.database, "DELETE FROM child WHERE id < 4", "INSERT INTO parent VALUES (77,'x',0)"
    )
    refused = shell.run("restore", "latest")
    assert refused.returncode == errors.NotConfirmedError.exit_code
    assert "--yes" in refused.stderr
    lines = [line.split() for line in refused.stdout.splitlines()]
    assert ["child", "+3", "0", "0"] in lines
    assert ["parent", "0", "-1", "0"] in lines
    assert "revision" not in refused.stdout  # there is no Alembic
    assert scalar(shell.database, "SELECT count(*) FROM parent") == 11
    shell.ok("restore", "latest", "--yes", "--quiet")
    assert scalar(shell.database, "SELECT count(*) FROM parent") == 10
    undone = shell.ok("undo", "--yes")
    assert ["child", "0", "-3", "0"] in [line.split() for line in undone.splitlines()]
    assert scalar(shell.database, "SELECT count(*) FROM parent") == 11


def test_restoring_the_same_says_so(shell: Shell) -> None:
    """Where a restore would change nothing, the preview says that."""
    shell.create()
    assert "a restore would change nothing" in shell.ok("restore", "latest", "--yes")
    shell.fails(errors.BackupNotFoundError, "restore", "nosuch", "--yes")


def test_a_schema_that_differs_is_said_beside_the_rows(shell: Shell) -> None:
    """An index, a view or a trigger that a restore takes away is not behind the numbers of rows."""
    shell.create()
    execute(shell.database, "DELETE FROM child")
    assert "  schema " not in shell.ok("restore", "latest", "--dry-run")
    execute(shell.database, "CREATE VIEW children AS SELECT * FROM child")
    assert "  schema    tables, indexes, views or triggers differ\n" in shell.ok(
        "restore", "latest", "--dry-run"
    )
    shell.ok("restore", "latest", "--yes")
    assert "  schema    tables, indexes, views or triggers differ\n" in shell.ok(
        "undo", "--dry-run"
    )


def test_restoring_a_missing_database(shell: Shell) -> None:
    """Without a live database there is nothing to compare, and the restore works."""
    shell.create()
    shell.database.unlink()
    assert "Database file not found" in shell.ok("restore", "latest", "--yes")
    assert scalar(shell.database, "SELECT count(*) FROM child") == 300
    assert shell.run("undo", "--yes").returncode == errors.NothingToUndoError.exit_code


def test_an_ambiguous_beginning_lists_candidates(shell: Shell) -> None:
    """The candidates are in the error."""
    twice = shell.create_until_ambiguous()
    shown = shell.fails(errors.AmbiguousReferenceError, "show", twice)
    assert shown.count("(20") == sum(one.startswith(twice) for one in shell.ids())


def test_completion_is_for_shells(shell: Shell) -> None:
    """`completion bash` prints a script that bash accepts; another word is a usage error."""
    import subprocess

    script = shell.ok("completion", "bash")
    assert "soulsense" in script
    subprocess.run(["/bin/bash", "-n", "-c", script], check=True)
    assert shell.run("completion", "tcsh").returncode == 2


def test_completion_completes(shell: Shell) -> None:
    """What the script asks the program is answered with commands."""
    shell.env |= {
        "_SOULSENSE_DB_COMPLETE": "complete_bash",
        "COMP_WORDS": "soulsense-db rest",
        "COMP_CWORD": "1",
    }
    assert shell.run().stdout.split() == ["restore"]


@pytest.mark.slow
def test_a_wrong_name_of_the_database_makes_no_file(shell: Shell) -> None:
    """Looking at a database that is not there leaves nothing behind."""
    for command in (["list"], ["status"], ["prune", "--keep-last", "1"], ["show", "latest"]):
        shell.run(*command, "--url", "nowhere/app.db")
    assert not (shell.folder / "nowhere").exists()


NO_BACKUP_NEEDED = [["list"], ["prune", "--keep-last", "1", "--yes"], ["restore", "--accept"]]
ABOUT_ONE = [[name, "latest"] for name in ("show", "verify", "adopt", "delete", "pin", "unpin")]


@pytest.mark.parametrize(
    "command", [*NO_BACKUP_NEEDED, *ABOUT_ONE, ["restore", "latest"], ["export", "latest", "out"]]
)
def test_a_database_that_is_not_there_is_an_error(shell: Shell, command: list[str]) -> None:
    """Whoever mistypes a name never reads that all is well, nor that there are no backups."""
    said = shell.fails(errors.DatabaseFileNotFoundError, *command, "--url", "typo/app.db")
    assert f"Database file not found: {shell.folder / 'typo' / 'app.db'}." in said
    assert str(shell.folder / "typo" / "backups") in said
    assert "--url" in said


def test_a_database_that_is_not_there_among_others_is_an_error(shell: Shell) -> None:
    """Backups of other databases in the directory are none of the one that is missing."""
    shell.create(2)
    mistyped = ("--url", "typo.db", "--directory", "data/backups")
    said = shell.fails(errors.DatabaseFileNotFoundError, "list", *mistyped)
    assert "2 backup(s) there belong to other databases: " in said
    assert str(shell.database) in said


def test_status_of_a_database_that_is_not_there_is_critical(shell: Shell) -> None:
    """A monitor gets its line and its exit code for a wrong name, with what was looked for."""
    result = shell.run("status", "--url", "typo.db")
    assert result.returncode == 2
    assert f"Database file not found: {shell.folder / 'typo.db'}" in result.stdout.splitlines()[0]


@pytest.mark.parametrize("command", [["list"], ["show", "latest"], ["verify", "latest"]])
def test_the_backups_of_a_missing_database_are_shown(shell: Shell, command: list[str]) -> None:
    """Who has lost the database sees its backups, and that it is missing, with the way back."""
    shell.create()
    (info,) = shell.backups()
    shell.database.unlink()
    result = shell.run(*command)
    assert result.returncode == 0
    assert info.id[:8] in result.stdout or info.filename in result.stdout
    missing = f"Warning: The database is missing: {shell.database}."
    assert result.stderr.startswith(missing)
    assert result.stderr.endswith("soulsense-db restore latest\n")


def test_the_url_of_a_new_alembic_ini_is_none(shell: Shell) -> None:
    """What `alembic init` writes in the place of a URL is not taken for one."""
    stock = "[alembic]\nsqlalchemy.url = driver://user:pass@localhost/dbname\n"
    (shell.folder / "alembic.ini").write_text(stock)
    shell.ok("create")
    assert len(shell.ids()) == 1
    make_database(shell.folder / "app.db")
    (shell.folder / "pyproject.toml").write_text(
        '[tool.alembic]\n"sqlalchemy.url" = "sqlite:///app.db"\n'
    )
    shell.ok("create")
    assert (shell.folder / "backups").is_dir()


@pytest.mark.slow
def test_two_databases_share_a_directory(shell: Shell) -> None:
    """Each sees its own backups only, by whatever command."""
    make_database(shell.folder / "other.db")
    other = ("--url", "other.db", "--directory", "data/backups")
    shell.ok("create")
    shell.ok("create", *other)
    shell.ok("create", *other)
    assert len(shell.ok("list", "--quiet").split()) == 1
    assert len(shell.ok("list", "--quiet", *other).split()) == 2
    shell.ok("prune", "--keep-last", "1", "--yes", *other)
    assert len(shell.ok("list", "--quiet").split()) == 1
    assert len(os.listdir(shell.folder / "data" / "backups")) >= 4


def test_undo_past_a_later_column(shell: Shell) -> None:
    """That an undo takes a column away which was added since is said in words, with its table."""
    shell.create()
    shell.ok("restore", "latest", "--yes")
    execute(shell.database, "ALTER TABLE parent ADD COLUMN phone TEXT")
    undone = shell.ok("undo", "--yes")
    assert "Other columns then: parent. Columns that were added since are removed" in undone
