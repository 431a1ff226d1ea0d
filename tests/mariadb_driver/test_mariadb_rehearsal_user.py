"""The application's user on a copy is who it is on the live server, and may do the same."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from alembic_project import Project
from certificates import free_port

from mariadb_driver.databases import Database, drop_kept, new_database
from mariadb_driver.projects import project_on
from mariadb_driver.server import Server, is_installed
from mariadb_driver.test_mariadb_rehearsal import TABLES
from soulsense_db import BackupManager
from soulsense_db.alembic import rehearse, restore_and_upgrade
from soulsense_db.drivers.mariadb import private_settings
from soulsense_db.errors import UnsupportedDatabaseError

_OPTIONS = ("--skip-networking=0", "--bind-address=127.0.0.1", "--default-time-zone=SYSTEM")


@pytest.fixture(scope="module")
def port() -> int:
    """Return the port of the server."""
    return free_port()


@pytest.fixture(scope="module")
def server(port: int) -> Iterator[Server]:
    """Return a server that is reached by TCP, in a zone of its own."""
    if not is_installed():
        pytest.skip("no MariaDB is installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        made = Server(*_OPTIONS, f"--port={port}")
    yield made
    made.remove()


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a database of a user who is known by an address alone, with rights on it alone."""
    with new_database(server, tmp_path, "app_of_one") as made:
        made.run("""
            CREATE USER app@127.0.0.1 IDENTIFIED BY 'secret';
            GRANT ALL ON app_of_one.* TO app@127.0.0.1;
            GRANT ALL ON `~soulsense\\_%`.* TO app@127.0.0.1;
            GRANT SELECT ON mysql.proc TO app@127.0.0.1;
            CREATE DATABASE beside;
            CREATE TABLE beside.t (id INT);
            GRANT SELECT ON beside.t TO app@127.0.0.1;
            CREATE ROLE readers;
            CREATE DEFINER = readers PROCEDURE nothing() SELECT 1;
            GRANT SET USER ON *.* TO app@127.0.0.1;
        """)
        yield made
        made.run("DROP DATABASE beside; DROP USER app@127.0.0.1; DROP ROLE readers")
        drop_kept(made, made.name)


@pytest.fixture
def project(database: Database, port: int, tmp_path: Path) -> Project:
    """Return a project on it, as that user, by TCP."""
    url = f"mariadb+pymysql://app:secret@127.0.0.1:{port}/{database.name}"
    made = project_on(database, tmp_path / "project", url=url)
    made.ini.with_name("url").write_text(url)
    made.set_option("soulsense_backup_directory", str(tmp_path / "backups"))
    made.revision("first", None, TABLES)
    made.upgrade("first")
    return made


PROGRAMS = """
op.execute("CREATE VIEW names AS SELECT name FROM person")
op.execute("CREATE TRIGGER louder BEFORE INSERT ON entry"
    " FOR EACH ROW SET NEW.text = UPPER(NEW.text)")
op.execute("CREATE FUNCTION two() RETURNS INT RETURN 2")
op.execute("CREATE EVENT later ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO SET @a = 1")
op.execute("INSERT INTO entry VALUES (9, 2, 'last')")
op.execute("ALTER TABLE entry ADD at DATETIME")
op.execute("UPDATE entry SET at = FROM_UNIXTIME(1700000000 + id * 15000000)")
"""
DEFINERS = """
    SELECT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA = 'app_of_one' UNION ALL
    SELECT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'app_of_one' UNION ALL
    SELECT DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = 'app_of_one' UNION ALL
    SELECT DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA = 'app_of_one'
"""


def test_what_is_made_is_the_users_own(
    project: Project, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Views, triggers, routines and events, and times: as if the live server had made them."""
    monkeypatch.chdir(project.folder)
    manager = BackupManager.from_url(
        (project.folder / "url").read_text(), project.folder.parent / "backups"
    )
    manager.create("first")
    project.revision("second", "first", PROGRAMS)
    project.upgrade("second")
    made = database.dump("--ignore-table", f"{database.name}.backups")
    report = restore_and_upgrade(project.config(), "latest", manager=manager)
    assert report.upgrade is not None
    assert report.upgrade.steps == ("second",)
    found = database.dump("--ignore-table", f"{database.name}.backups")
    assert found == made
    assert sorted(database.run(DEFINERS).split()) == ["app@127.0.0.1"] * 4 + ["readers"]


def test_a_zone_is_known_by_what_it_was_at_each_moment() -> None:
    """A zone that never changes is an offset; another is looked for among those of this machine."""
    moments = len(private_settings._MOMENTS)

    def settings(*offsets: int, zone: str = "SYSTEM") -> private_settings.Settings:
        every = offsets * (moments // len(offsets))
        return private_settings.Settings({}, {"sql_mode": ""}, zone, every, has_zones=False)

    assert settings(-12600).options == {"default-time-zone": "-03:30"}
    assert settings(0).options == {"default-time-zone": "+00:00"}
    assert settings(3600, zone="+01:00").options == {}
    berlin = private_settings._offsets_of("Europe/Berlin")
    assert settings(*berlin).variables["TZ"].startswith(("Arctic/", "Europe/"))
    assert settings(3600, zone="+01:00").variables == settings(1, 2).variables == {}
    known = replace(settings(0), has_zones=True)
    assert private_settings._differing(known, settings(60)) == [
        "time_zone",
        "its table of time zones",
    ]


def test_what_the_user_must_not_do_fails(
    project: Project, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the real run, by the zones of the server; which database it is, env.py says."""
    monkeypatch.chdir(project.folder)
    project.revision("second", "first", "pass")
    database.run("CREATE USER app@localhost; CREATE DEFINER = app@localhost VIEW one AS SELECT 1")
    with pytest.raises(UnsupportedDatabaseError, match=r"differs from .* the accounts of app"):
        rehearse(project.config())
    database.run("DROP VIEW one; DROP USER app@localhost")
    zones = ["mariadb-tzinfo-to-sql", "/usr/share/zoneinfo"]
    made = subprocess.run(zones, capture_output=True, text=True, check=True).stdout
    database.run(made, database="mysql")
    database.run("SET GLOBAL time_zone = 'Europe/Berlin'")
    project.revision("second", "first", 'op.execute("SET GLOBAL sql_mode = 0")')
    report = rehearse(project.config())
    assert "Access denied; you need" in report.error
