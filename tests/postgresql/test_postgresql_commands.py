"""What commands print of a database of PostgreSQL."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from age_keys import Key
from shell import Shell

from postgresql.database import Database
from postgresql.newest import on_newest
from postgresql.owned import with_notes
from postgresql.projects import project_on
from postgresql.server import Server
from soulsense_db import BackupManager, errors


@on_newest
def test_a_table_on_one_side_comes_or_goes(server: Server, tmp_path: Path) -> None:
    """A restore's preview says that the table itself does, not only its rows."""
    with Database(server) as database:
        database.execute("CREATE TABLE old (id int)", "INSERT INTO old VALUES (1)")
        shell = Shell(tmp_path)
        on = ("--url", database.url)
        shell.ok("create", *on)
        database.execute(
            "DROP TABLE old", "CREATE TABLE new (id int)", "INSERT INTO new VALUES (1)"
        )
        said = re.sub(" +", " ", shell.ok("restore", "latest", "--dry-run", *on))
        assert " new 0 -1 table is removed\n" in said
        assert " old +1 0 table is created\n" in said


@on_newest
def test_who_spells_the_address_in_another_way_is_told_the_known_one(
    server: Server, tmp_path: Path
) -> None:
    """Its backups are those of another database then: the list names that, and what may be."""
    with Database(server) as database:
        shell = Shell(tmp_path)
        at = ("--directory", "backups")
        shell.ok("create", "--url", database.url, *at)
        other = f"postgresql+psycopg://postgres@localhost:1/{database.name}"
        said = shell.ok("list", "--url", other, *at)
        assert f"belong to other databases: {server.socket}/{database.name}.\n" in said
        assert "is this database by another name of its server, name it by that address" in said


@on_newest
@pytest.mark.parametrize("what", ["down", "refused"])
def test_what_needs_no_server_names_the_way_round_env_py(
    server: Server, tmp_path: Path, what: str
) -> None:
    """Alembic's own env.py connects: the hint says so, and what it says makes the list work."""
    with Database(server) as database:
        url = database.url
        if what == "down":
            url = f"postgresql+psycopg://app@127.0.0.1:1/{database.name}"
        else:
            url = url.replace("postgres@", "nobody_of_that_name@")
        project = project_on(database, tmp_path / "project")
        lines = project.ini.read_text().splitlines()
        lines = ["# by env.py" if one.startswith("sqlalchemy.url") else one for one in lines]
        project.ini.write_text("\n".join(lines) + "\n")
        first = "config = context.config\n"
        project.edit_env(first, f'{first}config.set_main_option("sqlalchemy.url", "{url}")\n')
        shell = Shell(project.folder)
        said = shell.fails(errors.DatabaseUnreachableError, "list")
        assert re.search("named by [^ ]*env.py, which connects", said)
        assert "export SOULSENSE_DATABASE_URL=... or --url" in said
        shell.env["SOULSENSE_DATABASE_URL"] = url
        assert "No backups" in shell.ok("list")


@on_newest
def test_config_shows_what_it_knows_of_a_login_that_is_refused(
    server: Server, tmp_path: Path
) -> None:
    """Which database is meant, and where that is written, does not depend on the password."""
    with Database(server) as database:
        shell = Shell(tmp_path)
        url = sa.make_url(database.url).set(username="nobody_of_that_name")
        result = shell.run("config", "--url", url.render_as_string(hide_password=False))
        assert result.returncode == errors.DatabaseUnreachableError.exit_code
        assert f"{database.name} (not reached)" in result.stdout
        assert "refused the login" in result.stdout
        assert re.search(r"--url +used", result.stdout)


@on_newest
def test_the_page_finds_the_database_that_is_kept(server: Server, tmp_path: Path) -> None:
    """The query of the guide names that of one database alone, and who drops it can still undo."""
    page = Path(__file__).parents[2] / "docs" / "guide" / "postgresql.md"
    query = page.read_text().split('title="Which database is kept for shop"\n')[1].split("```")[0]
    with Database(server) as other, Database(server) as database:
        shell = Shell(tmp_path)
        for one in (other, database):
            one.execute("CREATE TABLE note (id int)")
            shell.ok("create", "--url", one.url)
            one.execute("INSERT INTO note VALUES (1)")
            shell.ok("restore", "latest", "--yes", "--url", one.url)
        asked = query.replace("shop", database.name).rstrip().rstrip(";").replace("%", "%%")
        assert database.scalar(asked) == database.kept()
        database.maintain(f"DROP DATABASE {database.kept()}")
        shell.ok("undo", "--yes", "--url", database.url)
        assert database.scalar("SELECT count(*) FROM note") == 1


@on_newest
def test_a_dry_run_is_refused_as_the_command_is(server: Server, tmp_path: Path) -> None:
    """A prepared transaction does not pass as a lock does: `restore` and `undo` both say so."""
    with Database(server) as database:
        shell = Shell(tmp_path)
        on = ("--url", database.url)
        database.execute("CREATE TABLE note (id int)")
        shell.ok("create", *on)
        database.execute("INSERT INTO note VALUES (1)")
        shell.ok("restore", "latest", "--yes", *on)
        assert "this was a dry run" in shell.ok("undo", "--dry-run", *on)
        database.engine.dispose()  # the restore has ended its sessions
        with database.engine.connect() as connection:
            connection.exec_driver_sql("INSERT INTO note VALUES (2)")
            connection.exec_driver_sql("PREPARE TRANSACTION 'held'")
        try:
            for command in (["restore", "latest"], ["undo"]):
                for option in ("--dry-run", "--yes"):
                    result = shell.run(*command, option, *on)
                    assert result.returncode == errors.UnsupportedDatabaseError.exit_code
                    assert "a prepared transaction belongs to it: held" in result.stderr
        finally:
            with database.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT")
                connection.exec_driver_sql("ROLLBACK PREPARED 'held'")


@on_newest
def test_a_missing_database_is_made(server: Server, tmp_path: Path) -> None:
    """A dry run lets it pass as the restore does, and both say that there is none yet."""
    shell = Shell(tmp_path)
    with Database(server) as database:
        database.execute("CREATE TABLE note (id int)")
        shell.ok("create", "--url", database.url)
        database.engine.dispose()
        database.maintain("DROP DATABASE {}")
        on = ("--url", database.url)
        dry = shell.ok("restore", "latest", "--dry-run", *on)
        assert "Database not found: " in dry
        assert "A restore makes it on the server." in dry
        assert dry.endswith("Nothing was changed: this was a dry run.\n")
        shell.ok("restore", "latest", "--yes", *on)
        assert database.scalar("SELECT count(*) FROM note") == 0


@on_newest
def test_a_plain_safety_backup_beside_encrypted_ones_is_said(
    server: Server, tmp_path: Path, key: Key
) -> None:
    """On a server it is in the backup directory, where a reader expects nothing plain."""
    with Database(server) as database:
        database.execute("CREATE TABLE note (id int PRIMARY KEY)")
        database.execute("INSERT INTO note VALUES (1)")
        manager = BackupManager(
            database.engine, tmp_path / "backups", recipients=key.recipients, identities=key.path
        )
        manager.create()
        report = manager.restore("latest")
        assert [one for one in report.warnings if "is not encrypted, as backups are" in one]
        assert not manager.restore_rows("latest", "note").warnings  # there is nothing to write
        database.execute("DELETE FROM note")
        rows = manager.restore_rows("latest", "note")
        assert [one for one in rows.warnings if "is not encrypted, as backups are" in one]
        holder = BackupManager(database.engine, tmp_path / "backups", identities=key.path)
        report = holder.restore("latest")  # it would make none that are encrypted
        assert [one for one in report.warnings if "is not encrypted, as backups are" in one]
        plain = BackupManager(database.engine, tmp_path / "plain")
        plain.create()
        assert not plain.restore("latest").warnings


@on_newest
def test_an_undo_says_how_it_is_made_as_a_restore_does(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who may make no databases is told before both that the schemas are replaced."""
    with with_notes(server, monkeypatch) as shop:
        shell = Shell(tmp_path)
        shell.env["PATH"] = os.environ["PATH"]
        on = ("--url", shop.url, "--yes")
        shell.ok("create", *on)
        for command in (("restore", "latest"), ("undo",)):
            done = shell.run(*command, *on)
            assert done.returncode == 0
            assert done.stderr.count("the schemas of the database are replaced instead") == 1
