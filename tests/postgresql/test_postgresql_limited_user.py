"""A user without the right to make databases: what works, as the page says, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic_project import DOORS, FIRST, Project

from postgresql.database import Database
from postgresql.newest import on_newest
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.alembic.errors import MigrationRefusedError
from soulsense_db.errors import MissingRightError

pytestmark = on_newest


def test_without_createdb_there_are_backups_and_no_way_back(server: Server, tmp_path: Path) -> None:
    """Backups are made and verified; a drill, a restore and a migration name the right."""
    with Database(server) as database:
        role = f"plain_{database.name}"
        database.maintain(f"CREATE ROLE {role} LOGIN")
        database.maintain(f"ALTER DATABASE {{}} OWNER TO {role}")
        database.execute(f"ALTER SCHEMA public OWNER TO {role}")
        url = server.url(database.name, user=role)
        engine = sa.create_engine(url)
        manager = BackupManager(engine, tmp_path / "backups", tools=server.bin)
        made = manager.create("by a plain user")
        for level in ("quick", "full"):
            manager.verify(made, level=level)
        with pytest.raises(MissingRightError, match="create database"):
            manager.verify(made, level="drill")
        with pytest.raises(MissingRightError, match="create database"):
            manager.restore(made)
        project = Project(tmp_path / "project", DOORS[-1])
        lines = project.ini.read_text().splitlines()
        lines = [f"sqlalchemy.url = {url}" if "sqlalchemy.url =" in one else one for one in lines]
        project.ini.write_text("\n".join(lines) + "\n")
        project.revision("first", None, FIRST)
        with pytest.raises(MigrationRefusedError, match=f"no pg_dump {server.version}"):
            project.upgrade("first")  # this user may not ask the server where its programs are
        project.set_option("soulsense_tools", str(server.bin))
        with pytest.raises(MigrationRefusedError, match="create databases"):
            project.upgrade("first")
        engine.dispose()
        database.maintain("ALTER DATABASE {} OWNER TO postgres")
        database.execute("ALTER SCHEMA public OWNER TO postgres", f"DROP OWNED BY {role}")
        database.maintain(f"DROP ROLE {role}")
