"""A real Alembic project on a database of a MariaDB server."""

from __future__ import annotations

from pathlib import Path

from alembic_project import Project

from mariadb_driver.databases import Database


def project_on(
    database: Database, folder: Path, *, template: str = "generic", url: str = ""
) -> Project:
    """Return a project on ``database`` without any revision; nothing protects its migrations."""
    made = Project(folder, "none", template=template)
    url = (url or database.server.url(database.name)).replace("%", "%%")
    lines = made.ini.read_text().splitlines()
    lines = [
        f"sqlalchemy.url = {url}" if one.startswith("sqlalchemy.url") else one for one in lines
    ]
    made.ini.write_text("\n".join(lines) + "\n")
    return made
