"""The option that names the directory of the server's programs."""

from __future__ import annotations

from pathlib import Path

import pytest
from shell import Shell
from tools_option import folder_of

from postgresql.database import Database
from postgresql.newest import on_newest
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.drivers.postgresql import tools
from soulsense_db.errors import ServerToolError

pytestmark = on_newest


def test_the_directory_of_the_option_is_the_one(server: Server, tmp_path: Path) -> None:
    """From the manager, alembic.ini, the command line and the environment, in that order."""
    none = folder_of(tmp_path / "none")
    shell = Shell(tmp_path)
    with Database(server) as database:
        manager = BackupManager(database.engine, tmp_path / "backups", tools=server.bin)
        assert manager.create().row_counts == {}
        (shell.folder / "alembic.ini").write_text(
            f"[alembic]\nsqlalchemy.url = {database.url}\nsoulsense_tools = {none}\n"
        )
        assert "pg_dump cannot be run" in shell.fails(ServerToolError, "create")
        shell.env["SOULSENSE_TOOLS"] = str(server.bin)
        shell.ok("create", "by the environment")
        assert str(none) in shell.fails(ServerToolError, "create", "--tools", str(none))
        shell.env["SOULSENSE_TOOLS"] = str(none)
        shell.ok("create", "as typed", "--tools", str(server.bin))


@pytest.mark.parametrize(
    ("version", "words"),
    [(9, "of version 9, which is older"), (99, "of version 99, which is newer"), (None, "no such")],
)
def test_programs_that_do_not_fit_are_refused(
    server: Server, tmp_path: Path, version: int | None, words: str
) -> None:
    """Too old, too new, or one of two is missing: the message says which, and what to name."""
    said = {} if version is None else {"pg_restore": f"pg_restore (PostgreSQL) {version}.1"}
    folder = folder_of(tmp_path / "bin", pg_dump=f"pg_dump (PostgreSQL) {server.version}.1", **said)
    with Database(server) as database:
        manager = BackupManager(database.engine, tmp_path / "backups", tools=folder)
        with pytest.raises(ServerToolError, match=words) as caught:
            manager.create()
        assert str(folder / "pg_restore") in str(caught.value)
        assert f"the client programs of PostgreSQL {server.version}" in caught.value.hint
        assert manager.list() == []


def test_debian_s_directory_on_the_path_is_taken(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``which pg_dump`` tells there: it means the programs of the server's version."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "pg_wrapper").touch()
    for program in ("pg_dump", "pg_restore"):
        (folder / program).symlink_to("pg_wrapper")
    monkeypatch.setattr(tools, "_PACKAGED", (str(server.bin),))
    with Database(server) as database:
        manager = BackupManager(database.engine, tmp_path / "backups", tools=folder)
        manager.create()
