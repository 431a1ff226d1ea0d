"""The command line, as a shell runs it: what it prints, where, and its exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from helpers import digest, make_database, scalar, write_marker
from shell import Shell

from soulsense_db import errors
from soulsense_db.cli import app, old_alembic
from soulsense_db.cli.grammar import COMMON_PANELS, commands_of
from soulsense_db.sidecars.migration_marker import marker_path


@pytest.mark.slow
def test_a_day_with_it(shell: Shell) -> None:
    """Create, list, verify, restore, undo and delete in one go, each with the rows it promises."""
    before = digest(shell.database)
    created = shell.ok("create", "Weekly backup")
    name = created.split()[1]
    assert name.endswith("_Weekly_backup.db")
    assert str(shell.folder / "data" / "backups") in created

    listed = shell.ok("list").splitlines()
    assert listed[0].split() == ["ID", "AGE", "SIZE", "KIND", "VERIFIED", "DESCRIPTION"]
    assert len(listed) == 2
    assert "manual" in listed[1]
    assert "Weekly backup" in listed[1]
    identifier = listed[1].split()[0]

    assert f"OK {name}\nfull check, checksum matches\n" == shell.ok("verify", identifier)
    assert "quick check" in shell.ok("verify", "--quick", "latest")

    _clear(shell)
    assert name in shell.ok("restore", name, "--yes")
    assert digest(shell.database) == before
    assert "Restored" in shell.ok("undo", "--yes")
    assert scalar(shell.database, "SELECT count(*) FROM child") == 0

    assert shell.ok("delete", identifier, "--yes") == f"Deleted {name}\n"
    assert "No backups in" in shell.ok("list")


def _clear(shell: Shell) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(shell.database)) as connection:
        connection.execute("DELETE FROM child")
        connection.commit()


@pytest.mark.slow
def test_each_error_has_its_exit_code(shell: Shell, tmp_path: Path) -> None:
    """An error is a line and a hint on stderr, with its own exit code; nothing is on stdout."""
    shell.create()
    assert "Backup file not found" in shell.fails(errors.BackupNotFoundError, "restore", "nosuch")
    assert "import it first" in shell.fails(
        errors.OutsideDirectoryError, "restore", str(shell.database)
    )
    assert "Database file not found" in shell.fails(
        errors.DatabaseFileNotFoundError, "create", "--url", "sqlite:///nowhere.db"
    )
    assert "Supported: mariadb, mysql, postgresql, sqlite" in shell.fails(
        errors.UnsupportedDatabaseError, "list", "--url", "oracle://host/name"
    )
    (backup,) = (shell.folder / "data" / "backups").glob("*.db")
    data = bytearray(backup.read_bytes())
    data[-1] ^= 1
    backup.write_bytes(data)
    assert "Invalid backup file" in shell.fails(errors.ChecksumMismatchError, "verify", "latest")


def test_no_password_is_repeated(shell: Shell) -> None:
    """A URL with a password is never printed, whatever is wrong with it."""
    for url in ("oracle://user:secret@host/name", "nonsense://user:secret@host/x", "://secret"):
        result = shell.run("list", "--url", url)
        assert result.returncode == errors.UnsupportedDatabaseError.exit_code
        assert "secret" not in result.stdout + result.stderr


@pytest.mark.slow
def test_alembic_ini_is_obeyed(shell: Shell) -> None:
    """Without --url and variable its URL names the database; its other options always hold."""
    make_database(shell.folder / "from ini.db")
    (shell.folder / "alembic.ini").write_text(
        "[alembic]\nsqlalchemy.url = sqlite:///%(here)s/from ini.db\n"
        "soulsense_backup_directory = %(here)s/kept\n"
    )
    assert str(shell.folder / "kept") in shell.ok("create")
    make_database(shell.folder / "from env.db")
    shell.env["SOULSENSE_DATABASE_URL"] = "sqlite:///from env.db"
    # The option still holds: the hook of Alembic puts its backups there as well.
    assert str(shell.folder / "kept") in shell.ok("create")
    assert len(shell.ok("list", "--quiet").splitlines()) == 1
    make_database(shell.folder / "named.db")
    created = shell.ok("create", "--url", "named.db", "--directory", "there")
    assert str(shell.folder / "there") in created


def test_a_broken_alembic_ini_is_an_error(shell: Shell) -> None:
    """An alembic.ini that is no ini file is one line on stderr, not a traceback."""
    (shell.folder / "alembic.ini").write_text("this is no ini file")
    assert "alembic.ini cannot be read" in shell.fails(errors.OptionError, "list")


@pytest.mark.slow
def test_a_table_of_the_application_can_be_avoided(shell: Shell) -> None:
    """--catalog-table gives our table another name where `backups` is the application's."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(shell.database)) as connection:
        connection.execute("CREATE TABLE backups (what TEXT)")
        connection.commit()
    assert "--catalog-table" in shell.fails(errors.CatalogError, "create")
    shell.ok("create", "--catalog-table", "ours")
    assert scalar(shell.database, "SELECT count(*) FROM ours") == 1
    shell.ok("create", "--catalog-table", "none")


@pytest.mark.slow
def test_a_half_run_migration_can_be_left(shell: Shell) -> None:
    """`restore --accept` clears the marker; so does `restore` of the backup that it names."""
    database = shell.database
    assert "nothing to accept" in shell.ok("restore", "--accept", "--yes")
    shell.create()
    latest = str(next(database.parent.glob("backups/*.db")))
    for leave in (("restore", "--accept", "-y"), ("restore", "latest", "-y")):
        write_marker(database, backup=latest, alembic_heads=(), target_revision="b")
        shell.ok(*leave)
        assert not marker_path(database).exists()


def test_a_backup_of_a_half_migrated_database_is_told_as_such(shell: Shell) -> None:
    """`create` backs it up all the same, and says that `latest` does not mean that backup."""
    shell.create()
    before = str(next(shell.database.parent.glob("backups/*.db")))
    write_marker(shell.database, backup=before, alembic_heads=(), target_revision="b")
    result = shell.run("create")
    assert result.returncode == 0
    assert result.stdout.startswith("Created ")
    assert result.stderr.startswith("Warning: 'latest' does not mean this backup. A migration of ")
    assert before in result.stderr


def test_a_database_in_memory_is_refused(shell: Shell) -> None:
    """What another program has in memory cannot be reached: no command pretends that it was."""
    for url in ("sqlite://", "sqlite+aiosqlite://", "sqlite:///file:shared?mode=memory&uri=true"):
        assert "in memory" in shell.fails(errors.UnsupportedDatabaseError, "create", "--url", url)
    assert not list(shell.folder.rglob("backups"))


def test_restore_wants_one_of_both(shell: Shell) -> None:
    """`restore` with neither REF nor --accept, or both, is a usage error and changes nothing."""
    assert shell.run("restore").returncode == 2
    assert shell.run("restore", "latest", "--accept").returncode == 2


def test_a_description_cannot_act_on_the_terminal(shell: Shell) -> None:
    """Escape sequences, newlines and direction marks of a description are not printed."""
    shell.ok("create", "a\x1b[31mred\nline\u202eb [bold]x[/bold]")
    listed = shell.ok("list")
    assert "\x1b" not in listed
    assert "\u202e" not in listed
    assert "[bold]x[/bold]" in listed
    assert len(listed.splitlines()) == 2


@pytest.mark.slow
def test_a_damaged_meta_file_shows_in_the_list(shell: Shell) -> None:
    """A backup whose meta file is damaged is listed with what is wrong, and not restored."""
    shell.create()
    (meta,) = (shell.folder / "data" / "backups").glob("*.meta")
    meta.write_text(meta.read_text()[:-10])
    assert "damaged" in shell.ok("list")
    assert "adopt" in shell.fails(errors.MetaFileError, "restore", "latest")
    shell.fails(errors.MetaFileError, "delete", "latest", "--yes")  # it may be another database's
    shell.ok("delete", meta.name.removesuffix(".meta"), "--yes")


def test_broken_references_are_a_warning(shell: Shell) -> None:
    """Rows that refer to nothing are told by verify, and are no reason to refuse the backup."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(shell.database)) as connection:
        connection.execute("DELETE FROM parent WHERE id = 3")
        connection.commit()
    shell.ok("create")
    assert "Note: 30 row(s) of table child" in shell.ok("verify", "latest")


@pytest.mark.parametrize(
    ("protects", "environment", "told"),
    [
        (True, "", True),
        (True, "0", False),
        (True, "1", True),
        (False, "", False),
        (False, "off", False),
        (False, "on", True),
    ],
)
def test_an_old_alembic_is_told_of_where_protection_is_on(
    monkeypatch: pytest.MonkeyPatch, protects: bool, environment: str, told: bool
) -> None:
    """The environment goes before the configuration: who switched it off there is not warned."""
    monkeypatch.setattr(old_alembic, "_installed", lambda: "1.16.0")
    monkeypatch.setenv("SOULSENSE_BACKUP", environment)
    warning = old_alembic.warning(protects=protects, script_location=lambda: None)
    assert ("NOT protected" in (warning or "")) == told


@pytest.mark.slow
def test_help_and_version(shell: Shell) -> None:
    """Help lists every command; --version prints one line; no command at all shows the help."""
    shown = shell.ok("--help")
    for name in ("create", "list", "verify", "restore", "undo", "delete"):
        assert name in shown
    assert shell.ok("--version").startswith("soulsense-db ")
    assert "Usage" in "".join(shell.run().stdout + shell.run().stderr)


def test_common_options_stand_on_either_side(shell: Shell) -> None:
    """Before the command, behind it, and in every form; what stands behind it wins."""
    shell.create()
    (newest,) = shell.ids()
    url = str(shell.database)
    for arguments in (
        ["--url", url, "list", "-q"],
        [f"--url={url}", "-q", "list"],
        ["-q", "--url", url, "list"],
        ["--url", "nowhere.db", "-q", "list", "--url", url],
    ):
        assert shell.ok(*arguments) == f"{newest}\n"
    assert json.loads(shell.ok("--json", "list"))["command"] == "list"
    assert shell.run("--quiet").returncode == 2
    assert shell.run("--url").returncode == 2


def test_help_is_in_groups_with_an_example_each(shell: Shell) -> None:
    """The commands stand in groups; each has an example, and no help names a type of Python."""
    shown = shell.ok("--help")
    groups = ["Everyday", "Keeping backups", "Unattended", "Somewhere else", "Window"]
    groups += ["Common options"]
    assert all(group in shown for group in groups)
    for command in commands_of(typer.main.get_command(app)).values():
        assert (command.epilog or "").startswith("Example: ")
        assert command.rich_help_panel
    for panel in COMMON_PANELS:
        assert panel in shell.ok("create", "--help")
    assert "Let --mirror-max-total-size remove" in shell.ok("create", "--help")
    for text in (shown, shell.ok("restore", "--help"), shell.ok("status", "-h")):
        assert not re.search(r"<\w+>|BOOLEAN|INTEGER|TEXT", text)


@pytest.mark.parametrize("command", ["restore", "show", "verify", "delete"])
def test_without_a_terminal_there_is_nothing_to_choose(shell: Shell, command: str) -> None:
    """A script that names no backup gets a usage error at once."""
    shell.create()
    result = shell.run(command)
    assert result.returncode == 2
    assert "REF" in result.stderr


def test_what_is_misspelt_is_named(shell: Shell) -> None:
    """A misspelt id or file name is answered with what may be meant; an empty one with itself."""
    shell.create()
    (info,) = shell.backups()
    for misspelt in (f"{info.id[:-1]}x", info.filename.replace("backup", "bakcup")):
        said = shell.fails(errors.BackupNotFoundError, "show", misspelt)
        assert f"Did you mean {info.id}" in said
    for misspelt in ("lastest", "newest", "latets~1"):
        said = shell.fails(errors.BackupNotFoundError, "show", misspelt)
        assert f"not found: {misspelt}." in said
        assert "Did you mean latest?" in said
    assert "is empty" in shell.fails(errors.BackupNotFoundError, "restore", "")
    (shell.folder / "my.ini").write_text("[alembic]\n", encoding="utf-8")
    said = shell.fails(errors.OptionError, "list", "--url", "my.ini")
    assert "--config my.ini" in said


def test_backups_of_a_server_are_none_of_a_file_that_was_lost(shell: Shell) -> None:
    """Where only these are, no database is named; with backups of the file, that is missing."""
    backups = shell.folder / "data" / "backups"
    backups.mkdir(parents=True)
    shell.database.unlink()
    (backups / "soulsense_backup_20260101_120000.pgdump").touch()
    shell.fails(errors.DatabaseNotNamedError, "list")
    (backups / "soulsense_backup_20260101_120000.db").touch()
    shell.fails(errors.DatabaseFileNotFoundError, "create")


_WITHOUT_COMPARE = """
from soulsense_db import BackupManager
BackupManager.compare = None
from soulsense_db.__main__ import main
main()
"""


def test_nothing_is_compared_for_nobody(shell: Shell) -> None:
    """Where no preview is shown, a restore does not wait for one."""
    shell.create()
    for command in ("restore", "undo"):
        reference = ["latest"] if command == "restore" else []
        done = subprocess.run(
            [sys.executable, "-c", _WITHOUT_COMPARE, command, *reference, "--yes", "--quiet"],
            cwd=shell.folder,
            env=shell.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
