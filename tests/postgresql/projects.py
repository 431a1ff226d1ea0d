"""A real Alembic project on a database of a PostgreSQL server."""

from __future__ import annotations

from pathlib import Path

from alembic_project import Project

from postgresql.database import Database


def project_on(
    database: Database, folder: Path, *, template: str = "generic", driver: str = "psycopg"
) -> Project:
    """Return a project on ``database`` without any revision; nothing protects its migrations."""
    made = Project(folder, "none", template=template)
    url = database.server.url(database.name, driver=driver).replace("%", "%%")
    lines = made.ini.read_text().splitlines()
    lines = [
        f"sqlalchemy.url = {url}" if one.startswith("sqlalchemy.url") else one for one in lines
    ]
    made.ini.write_text("\n".join(lines) + "\n")
    return made
