"""Which database the command line means, and where its options come from."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import make_database
from shell import Shell

from soulsense_db import errors

pytestmark = pytest.mark.slow

DB = """
import sqlalchemy as sa
print("loading settings")
engine = sa.create_engine("sqlite:///{}", echo=True)
"""


def project_file(shell: Shell, text: str) -> None:
    """Write pyproject.toml."""
    (shell.folder / "pyproject.toml").write_text(text)


def used(shell: Shell, *arguments: str) -> tuple[str, str]:
    """Return where the database is named, and its file, as ``config`` says."""
    result = shell.json("config", *arguments)
    (place,) = [one for one in result["looked_at"] if one["used"]]
    assert place["place"] == result["named_by"]
    assert place["why_not"] == ""
    return result["named_by"], Path(result["database"]).name


def test_each_place_comes_before_the_next(shell: Shell) -> None:
    """Command line, environment, pyproject.toml, Alembic's files, SoulSense's: the first counts."""
    for name in ("typed", "engine", "env", "table", "ini", "migrations"):
        make_database(shell.folder / f"{name}.db")
    (shell.folder / "settings_db.py").write_text(DB.format("engine.db"))
    assert used(shell) == ("data/soulsense.db", "soulsense.db")
    (shell.folder / "migrations").mkdir()
    (shell.folder / "migrations" / "alembic.ini").write_text(
        "[alembic]\nsqlalchemy.url = sqlite:///migrations.db\n"
    )
    assert used(shell) == ("migrations/alembic.ini", "migrations.db")
    (shell.folder / "alembic.ini").write_text("[alembic]\nsqlalchemy.url = sqlite:///ini.db\n")
    assert used(shell) == ("alembic.ini", "ini.db")
    project_file(shell, '[tool.soulsense-db]\nurl = "sqlite:///table.db"\n')
    assert used(shell) == ("[tool.soulsense-db] of pyproject.toml", "table.db")
    shell.env["SOULSENSE_ENGINE"] = "settings_db:engine"
    assert used(shell) == ("SOULSENSE_ENGINE", "engine.db")
    shell.env["SOULSENSE_DATABASE_URL"] = "env.db"
    assert used(shell) == ("SOULSENSE_DATABASE_URL", "env.db")
    assert used(shell, "--url", "typed.db") == ("--url", "typed.db")
    assert used(shell, "--engine", "settings_db:engine") == ("--engine", "engine.db")
    assert shell.run("config", "--url", "typed.db", "--app", "x").returncode == 2


def test_an_engine_is_used_by_every_command(shell: Shell) -> None:
    """What the application prints, its SQL included, is no part of the answer; hints repeat it."""
    (shell.folder / "settings_db.py").write_text(DB.format("data/soulsense.db"))
    option = ("--engine", "settings_db:engine")
    assert shell.ok("create", "One", *option).startswith("Created ")
    assert len(shell.json("list", *option)["backups"]) == 1
    restored = shell.ok("restore", "latest", "--yes", *option)
    assert "soulsense-db undo --engine settings_db:engine" in restored
    told = shell.fails(errors.ApplicationCodeError, "list", "--engine", "settings_db:engin")
    assert "It has: settings_db:engine" in told


def test_a_database_that_no_place_names_is_an_error(shell: Shell) -> None:
    """It lists what was looked at and shows the line to write; no command says 'No backups'."""
    shell.database.unlink()
    shell.database.parent.rmdir()
    for command in ("list", "create", "config", "undo"):
        told = shell.fails(errors.DatabaseNotNamedError, command)
        for word in ("--url", "SOULSENSE_ENGINE", "pyproject.toml", "alembic.ini", "FLASK_APP"):
            assert word in told
        assert 'url = "sqlite:///app.db"' in told


def test_config_says_that_a_database_is_not_there(shell: Shell) -> None:
    """With the exit code of every other command."""
    result = shell.run("config", "--url", "nowhere.db")
    assert result.returncode == errors.DatabaseFileNotFoundError.exit_code
    assert "nowhere.db (not there)" in result.stdout


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql+psycopg://me:secret@127.0.0.1:1/name", "127.0.0.1:1/name"),
        ("postgresql+psycopg://me:secret@/name?host=/nowhere", "/nowhere"),
        ("mariadb+pymysql://me:secret@127.0.0.1:1/name", "127.0.0.1:1/name"),
        ("mariadb+pymysql://me:secret@localhost/name?unix_socket=/nowhere", "/nowhere"),
    ],
)
def test_config_shows_what_it_knows_without_the_server(shell: Shell, url: str, told: str) -> None:
    """That is when somebody asks which database is meant; a missing socket is named."""
    shell.env["SOULSENSE_DATABASE_URL"] = url
    result = shell.run("config")
    assert result.returncode == errors.DatabaseUnreachableError.exit_code
    assert "name (not reached)" in result.stdout
    assert "does not answer" in result.stdout
    assert told in result.stdout.partition("named by")[0]
    assert "SOULSENSE_DATABASE_URL  used" in re.sub(" +", "  ", result.stdout)
    assert "secret" not in result.stdout + result.stderr
    result = shell.run("config", "--json")
    answer = json.loads(result.stdout)["result"]
    assert answer["exists"] is None
    assert told in answer["problem"]


def test_config_shows_what_disagrees_and_no_password(shell: Shell) -> None:
    """The place and the option that won, those that lost, and no password of any of them."""
    project_file(
        shell,
        '[tool.soulsense-db]\nurl = "postgresql://me:secret@host/name"\n'
        "[tool.soulsense-db.prune]\nkeep-daily = 7\n"
        "[tool.alembic]\nsoulsense_keep_last = 3\n",
    )
    (shell.folder / "alembic.ini").write_text(
        "[alembic]\nsqlalchemy.url = mysql://me:secret@host/x\nsoulsense_keep_last = 4\n"
    )
    shell.env["SOULSENSE_DATABASE_URL"] = "data/soulsense.db"
    shell.env["SOULSENSE_QUIET"] = "0"
    shown = shell.ok("config")
    assert "secret" not in shown + shell.ok("config", "--json")
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "SOULSENSE_DATABASE_URL used data/soulsense.db" in lines
    assert (
        "[tool.soulsense-db] of pyproject.toml not used comes after SOULSENSE_DATABASE_URL: "
        "postgresql://me:***@host/name"
    ) in lines
    assert "soulsense_keep_last 4 alembic.ini, not 3 in pyproject.toml" in lines
    assert "prune --keep-daily 7 [tool.soulsense-db.prune] of pyproject.toml" in lines
    assert "SOULSENSE_QUIET 0 the environment" in lines


def test_every_option_has_a_key_and_a_variable(shell: Shell) -> None:
    """By one rule; what is said of one command wins over what is said of all of them."""
    shell.create(3)
    project_file(
        shell,
        '[tool.soulsense-db]\ncatalog-table = "none"\n'
        '[tool.soulsense-db.list]\nkind = ["automatic", "imported"]\n'
        "[tool.soulsense-db.prune]\nkeep-last = 2\ndry-run = true\n",
    )
    assert "No backups that match" in shell.ok("list")
    assert "Would remove 1, keep 2." in shell.ok("prune")
    shell.env["SOULSENSE_KEEP_LAST"] = "1"
    assert "Would remove 2, keep 1." in shell.ok("prune")
    shell.env["SOULSENSE_PRUNE_KEEP_LAST"] = "3"
    assert "Nothing to remove" in shell.ok("prune")
    assert "Would remove 1, keep 2." in shell.ok("prune", "--keep-last", "2")
    shell.env["SOULSENSE_LIST_KIND"] = "manual automatic"
    assert len(shell.ok("list").splitlines()) == 4


def test_a_table_names_the_configuration_of_alembic(shell: Shell) -> None:
    """``config`` is both an option and a command: its key is the option."""
    make_database(shell.folder / "other.db")
    (shell.folder / "deploy.ini").write_text("[alembic]\nsqlalchemy.url = sqlite:///other.db\n")
    project_file(shell, '[tool.soulsense-db]\nconfig = "deploy.ini"\n')
    assert used(shell) == ("deploy.ini", "other.db")
    project_file(shell, '[tool.soulsense-db.config]\nurl = "other.db"\n')
    assert used(shell) == ("[tool.soulsense-db] of pyproject.toml", "other.db")


def test_json_can_be_asked_for_by_a_file(shell: Shell) -> None:
    """Errors are objects then as well."""
    project_file(shell, "[tool.soulsense-db]\njson = true\n")
    assert json.loads(shell.ok("list"))["result"]["backups"] == []
    failed = shell.run("show", "nosuch")
    assert json.loads(failed.stdout)["error"]["type"] == "BackupNotFoundError"


@pytest.mark.parametrize("url", ["postgres://h/d", "postgresql+nope://h/d", "sqlite://h/d"])
def test_a_url_that_means_nothing_says_where_it_is_written(shell: Shell, url: str) -> None:
    """Who set it once, in a variable, has to be told which one it is."""
    shell.env["SOULSENSE_DATABASE_URL"] = url
    said = shell.fails(errors.UnsupportedDatabaseError, "list")
    assert "The database is named by SOULSENSE_DATABASE_URL." in said


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[tool.soulsense-db]\nulr = "x"\n', "There is no option 'ulr'"),
        ("[tool.soulsense-db.prone]\n", "is for no command"),
        ("[tool.soulsense-db.list]\nkeep-last = 1\n", "no option 'keep-last' for [tool.soulsense"),
        ('[tool.soulsense-db]\nyes = "perhaps"\n', "'yes' of [tool.soulsense-db] is no switch"),
        ("[tool.soulsense-db]\nurl = true\n", "neither a text nor a number"),
        ("[tool.soulsense-db\n", "pyproject.toml cannot be read"),
        ("[tool]\nsoulsense-db = 1\n", "'soulsense-db' is not a table"),
    ],
)
def test_a_key_that_means_nothing_is_an_error(shell: Shell, text: str, told: str) -> None:
    """A misspelt one would go unnoticed: it names the file or table, and what there is."""
    project_file(shell, text)
    assert told in shell.fails(errors.OptionError, "list")


def test_rules_of_a_folder_remove_nothing_of_another_database(shell: Shell) -> None:
    """What a table says counts for a database that the command line names only with --config."""
    shell.create(2)
    project_file(shell, "[tool.soulsense-db.prune]\nkeep-last = 1\n")
    named = ("--url", "data/soulsense.db")
    result = shell.run("prune", "--yes", *named)
    assert result.returncode == errors.OptionError.exit_code
    assert result.stderr.count("retention policy in the current directory") == 1
    assert len(shell.ids()) == 2
    shell.ok("prune", "--yes", "--config", "pyproject.toml", *named)
    assert len(shell.ids()) == 1


def test_a_url_needs_neither_alembic_nor_flask(shell: Shell) -> None:
    """Where the database is named, nothing is imported that only finds it."""
    code = (
        "import sys\nfrom soulsense_db.cli import main\n"
        "sys.argv = ['soulsense-db', 'list', '--quiet', '--url', 'data/soulsense.db']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'alembic', 'flask', 'flask_sqlalchemy'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=shell.folder,
        env=shell.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout == "[]\n"


def test_where_monitors_and_people_are_told_is_not_shown(shell: Shell) -> None:
    """Whoever knows such a URL can use it: config says only that it is set, and where."""
    shell.env["SOULSENSE_AUTO_PING"] = "https://monitor.example/a-secret-id"
    project_file(shell, '[tool.soulsense-db.auto]\nnotify = ["tgram://a-secret-token/5"]\n')
    for arguments in (("config",), ("config", "--json")):
        printed = shell.ok(*arguments)
        assert "secret" not in printed
        assert "SOULSENSE_AUTO_PING" in printed
        assert "--notify" in printed
