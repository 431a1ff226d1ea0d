"""Where the user may make no databases, migrations are rehearsed on a private server."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic_project import Project
from rehearsals import TABLES, kinds, one

from postgresql.newest import on_newest
from postgresql.owned import Owned, dumped
from postgresql.server import Server
from postgresql.test_postgresql_private import folder_of_servers
from postgresql.test_postgresql_rehearse import REFUSED, by_hand
from soulsense_db import BackupManager
from soulsense_db.alembic import RehearsalReport, rehearse, restore_and_upgrade, upgrade_to
from soulsense_db.drivers import Led
from soulsense_db.drivers.postgresql.leading import _Leading
from soulsense_db.errors import DataLossError, MissingRightError, UnsupportedDatabaseError

__all__ = ["folder_of_servers"]


@pytest.fixture
def shop(server: Server) -> Iterator[Owned]:
    """Return a database of a user who may make no others."""
    with Owned(server) as made:
        yield made


@pytest.fixture
def project(shop: Owned, tmp_path: Path) -> Project:
    """Return a project on it, as its user, at revision ``first``."""
    made = Project(tmp_path / "project", "none")
    lines = made.ini.read_text().splitlines()
    lines = [
        f"sqlalchemy.url = {shop.url}" if one.startswith("sqlalchemy.url") else one for one in lines
    ]
    made.ini.write_text("\n".join(lines) + "\n")
    made.set_option("soulsense_backup_directory", str(tmp_path / "backups"))
    made.revision("first", None, TABLES, 'op.drop_table("entry"); op.drop_table("person")')
    made.upgrade("first")
    return made


def rehearsed(project: Project, shop: Owned, **options: Any) -> RehearsalReport:
    """Rehearse; the live database is the same, and its server has no other."""
    before, names = dumped(shop), shop.names()
    manager = BackupManager(shop.engine, project.folder.parent / "backups")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(project.folder)
            return rehearse(project.config(), manager=manager, **options)
    finally:
        assert (dumped(shop), shop.names()) == (before, names)


def test_migrations_are_rehearsed(project: Project, shop: Owned) -> None:
    """What they do is told, and each connection, of whatever user, is led to the copy."""
    step = 'op.execute("DELETE FROM entry WHERE id = 3")\n' + by_hand(shop)
    project.revision("second", "first", step)
    report = rehearsed(project, shop)
    assert report.failure is None, report.failure.traceback
    assert ("notice", "bypass") in kinds(report)
    assert "It was led to the copy." in one(report, "bypass").sentence
    found = {each.kind: each.sentence for each in report.findings}
    assert found["values_changed"] == "1 value of entry.text changed."
    assert "Table entry loses 1 row of 3." in found.values()


@on_newest
def test_connections_of_engines_are_no_bypass(project: Project, shop: Owned) -> None:
    """They are told from those that no engine makes, also where they are async."""
    url = shop.url.replace("+psycopg", "+asyncpg")
    project.revision(
        "second",
        "first",
        "import asyncio\nfrom sqlalchemy.ext.asyncio import create_async_engine\n"
        "async def later():\n"
        f"    engine = create_async_engine({url!r})\n"
        "    async with engine.connect() as connection:\n"
        '        await connection.exec_driver_sql("SELECT * FROM entry")\n'
        "    await engine.dispose()\n"
        "asyncio.run(later())\n",
    )
    report = rehearsed(project, shop)
    assert (report.error, report.findings) == ("", ())


@on_newest
def test_what_migrations_see_is_as_on_the_live_server(project: Project, shop: Owned) -> None:
    """Names, user, search path, settings: of the database, of the role, and of both."""
    shop.administer(
        "CREATE SCHEMA more",
        f"ALTER ROLE {shop.user} SET timezone = 'Asia/Tokyo'",
        f"ALTER DATABASE {shop.name} SET datestyle = 'SQL, DMY'",
        f"ALTER ROLE {shop.user} IN DATABASE {shop.name} SET search_path = public, more",
        f"ALTER DATABASE {shop.name} SET my.own = 'it''s'",
        f"ALTER ROLE {shop.user} SET your.own = 'x'",
    )
    project.revision(
        "second",
        "first",
        "found = op.get_bind().exec_driver_sql(\"SELECT concat_ws('|', current_database(),"
        " session_user, current_setting('search_path'), current_setting('timezone'),"
        " current_setting('datestyle'), current_setting('my.own'),"
        " current_setting('your.own'))\").scalar()\n"
        "raise ValueError(found)",
    )
    report = rehearsed(project, shop)
    seen = f"{shop.name}|{shop.user}|public, more|Asia/Tokyo|SQL, DMY|it's|x"
    assert seen in report.error


@on_newest
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_led_is_refused(project: Project, shop: Owned, name: str) -> None:
    """What is of another database, or of the whole server, is not done, even if nobody minds."""
    step, said = REFUSED[name]
    step = step.format(host=str(shop.server.socket), name=shop.name).replace("\n", "\n    ")
    project.revision("second", "first", f"try:\n    {step}\nexcept Exception:\n    pass")
    with pytest.raises(UnsupportedDatabaseError, match="Step second") as caught:
        rehearsed(project, shop)
    assert said in caught.value.what


@on_newest
def test_a_connection_to_the_live_server_is_closed(shop: Owned) -> None:
    """It has the name of the copy: whatever has made it, a pool asks where it has come to."""
    server = {"host": "/elsewhere", "port": "5432", "user": shop.user, "password": "x"}
    led = Led(live=shop.name, scratch=shop.name, copy="copy", server=server)
    leading = _Leading(led, passed_by=lambda: None, refuse=PermissionError)
    with psycopg.connect(shop.url.replace("+psycopg", "")) as connection:
        with pytest.raises(PermissionError, match="in a way that cannot be led"):
            leading.check_connection(connection, None)
        assert connection.closed


@on_newest
def test_what_is_of_the_live_server_is_not_taken_along(shop: Owned) -> None:
    """Its address, its login and how it is trusted; what a session is to have stays."""
    server = {"host": "/there", "port": "5432", "user": "app", "password": "x"}
    led = Led(live="app", scratch="app", copy="copy", server=server)
    passed: list[str] = []
    leading = _Leading(led, passed_by=lambda: passed.append("by"), refuse=PermissionError)
    given = {
        "dbname": "app",
        "host": "db.example.org",
        "hostaddr": "192.0.2.1",
        "require_auth": "gss",
        "requirepeer": "postgres",
        "gssencmode": "require",
        "target_session_attrs": "read-only",
        "options": "-c search_path=x",
    }
    found = leading._there(given)
    assert {key: found[key] for key in server} == server
    assert "require_auth" not in found
    assert (found["hostaddr"], found["requirepeer"], found["gssencmode"]) == ("", "", "disable")
    assert (found["target_session_attrs"], found["options"]) == ("any", given["options"])
    assert passed == ["by"]
    assert leading._there(found) == found
    assert passed == ["by"]


@on_newest
def test_an_old_backup_is_migrated_and_restored(project: Project, shop: Owned) -> None:
    """What the migrations make belongs to whom it would on the live server, and comes there."""
    manager = BackupManager(shop.engine, project.folder.parent / "backups")
    manager.create()
    project.revision("second", "first", 'op.execute("CREATE TABLE more AS SELECT 7 AS n")')
    project.upgrade("second")
    made = dumped(shop)
    shop.execute("DELETE FROM entry")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        report = restore_and_upgrade(project.config(), "latest", manager=manager)
    assert report.upgrade is not None
    assert report.upgrade.steps == ("second",)
    assert dumped(shop) == made


@on_newest
def test_a_drill_migrates_and_checks(project: Project, shop: Owned) -> None:
    """Checks of a drill with migrations see the migrated data."""
    manager = BackupManager(shop.engine, project.folder.parent / "backups")
    manager.create()
    project.revision("second", "first", 'op.execute("CREATE TABLE more AS SELECT 7 AS n")')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        report = manager.verify(
            "latest",
            level="drill",
            upgrade=upgrade_to(project.config()),
            checks=["SELECT n = 7 FROM more"],
        )
    assert report.drill is not None
    assert report.drill.upgrade is not None
    assert report.drill.upgrade.alembic_heads == ("second",)


@on_newest
def test_an_upgrade_is_rehearsed_first(project: Project, shop: Owned) -> None:
    """With soulsense_rehearse, an upgrade that loses data is refused, and accepted if told so."""
    project.set_option("soulsense_backup", "true")
    project.set_option("soulsense_rehearse", "true")
    project.revision("second", "first", 'op.execute("DELETE FROM entry WHERE id = 1")')
    with pytest.raises(DataLossError, match="Table entry loses 1 row of 3"):
        project.upgrade("second")
    assert shop.scalar("SELECT count(*) FROM entry") == 3
    config = project.config()
    config.cmd_opts = Namespace(x=["soulsense_accept_loss=1"])
    project.upgrade("second", config)
    assert shop.scalar("SELECT count(*) FROM entry") == 2


@on_newest
def test_without_the_servers_programs_it_is_refused(
    project: Project, shop: Owned, tmp_path: Path
) -> None:
    """The error says which right is missing, or what to install."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for program in ("pg_dump", "pg_restore", "psql"):
        (folder / program).write_text(f'#!/bin/sh\nexec "{shop.server.bin / program}" "$@"\n')
        (folder / program).chmod(0o755)
    manager = BackupManager(shop.engine, tmp_path / "backups", tools=folder)
    project.revision("second", "first", "pass")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        with pytest.raises(MissingRightError, match="no initdb and postgres"):
            rehearse(project.config(), manager=manager)
