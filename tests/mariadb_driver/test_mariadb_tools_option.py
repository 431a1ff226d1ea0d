"""The option that names the directory of the server's programs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from shell import Shell
from tools_option import folder_of

from mariadb_driver.databases import new_database
from mariadb_driver.server import Server
from soulsense_db import BackupManager
from soulsense_db.errors import ServerToolError


def test_the_directory_of_the_option_is_the_one(server: Server, tmp_path: Path) -> None:
    """From the manager, alembic.ini, the command line and the environment."""
    found = Path(str(shutil.which("mariadb-dump"))).parent
    none = folder_of(tmp_path / "none")
    shell = Shell(tmp_path)
    with new_database(server, tmp_path) as database:
        manager = BackupManager(database.engine, tmp_path / "backups", tools=found)
        assert manager.create().row_counts == {}
        (tmp_path / "alembic.ini").write_text(
            f"[alembic]\nsqlalchemy.url = {database.server.url(database.name)}\n"
            f"soulsense_tools = {none}\n"
        )
        assert "mariadb-dump cannot be run" in shell.fails(ServerToolError, "create")
        shell.env["SOULSENSE_TOOLS"] = str(found)
        shell.ok("create", "by the environment")
        assert str(none) in shell.fails(ServerToolError, "create", "--tools", str(none))


@pytest.mark.parametrize(
    ("series", "words"),
    [("9.5", "of version 9.5, which is older"), ("99.5", "which is newer"), (None, "no such")],
)
def test_programs_that_do_not_fit_are_refused(
    server: Server, tmp_path: Path, series: str | None, words: str
) -> None:
    """Too old, too new, or one of two is missing: the message says which, and what to name."""
    with new_database(server, tmp_path) as database:
        version = database.run("SELECT VERSION()").partition("-")[0]
        said = {"mariadb-dump": f"Ver 10.19 Distrib {version}-MariaDB"}
        if series is not None:
            said["mariadb"] = f"Ver 15.1 Distrib {series}.1-MariaDB"
        folder = folder_of(tmp_path / "bin", **said)
        manager = BackupManager(database.engine, tmp_path / "backups", tools=folder)
        with pytest.raises(ServerToolError, match=words) as caught:
            manager.create()
        assert str(folder / "mariadb") in str(caught.value)
        assert f"the client programs of MariaDB {version}" in caught.value.hint
        assert manager.list() == []
