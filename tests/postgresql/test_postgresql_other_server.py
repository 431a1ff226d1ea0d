"""Another server at an address that was another one's: nothing there is taken for what it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from shell import Shell
from sqlalchemy.pool import NullPool

from postgresql import content
from postgresql.conftest import VERSIONS, Servers
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.errors import WrongDatabaseError
from soulsense_db.mirrors import mirror_for

_OLD = "CREATE TABLE note (body text); INSERT INTO note VALUES ('old')"
_OTHER = "CREATE TABLE production (id integer); INSERT INTO production VALUES (1), (2)"


class Address:
    """A path that leads to the socket of a server."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"postgresql+psycopg://postgres@/shop?host={path}"

    def lead_to(self, server: Server) -> None:
        """Have it lead there from now on."""
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(server.socket)


@pytest.fixture
def first(servers: Servers) -> Iterator[Server]:
    """Return the newest server, with a database ``shop``."""
    server = servers.of(VERSIONS[-1])
    with content.database(server, "shop", content=_OLD):
        yield server
    content.drop_kept(server, of="shop")


@pytest.fixture
def second() -> Iterator[Server]:
    """Return another server, whose database of the same name is another one."""
    server = Server(VERSIONS[-1])
    with content.database(server, "shop", content=_OTHER):
        yield server
    server.remove()


@pytest.fixture
def address(first: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Address:
    """Return an address that leads to the first server."""
    monkeypatch.setenv("PATH", str(first.bin), prepend=":")
    made = Address(tmp_path / "address")
    made.lead_to(first)
    return made


@pytest.fixture
def manager(address: Address, tmp_path: Path) -> BackupManager:
    """Return a manager of the database at the address."""
    engine = sa.create_engine(address.url, poolclass=NullPool)
    return BackupManager(engine, tmp_path / "backups")


def test_an_undo_changes_no_other_server(
    first: Server, second: Server, address: Address, manager: BackupManager, shell: Shell
) -> None:
    """An undo is of the server that was restored, not of one that has its address now."""
    info = manager.create("before")
    content.psql(first, "shop", "UPDATE note SET body = 'new'")
    manager.restore(info)
    address.lead_to(second)
    with pytest.raises(WrongDatabaseError, match="another server"):
        manager.undo_restore()
    options = ("--url", address.url, "--directory", str(manager.directory))
    assert "another server" in shell.fails(WrongDatabaseError, "undo", "--yes", *options)
    assert content.psql(second, "shop", "SELECT count(*) FROM production") == "2\n"
    address.lead_to(first)
    assert manager.undo_restore().verified
    assert content.psql(first, "shop", "SELECT body FROM note") == "new\n"


def test_a_restore_on_another_server_says_so(
    second: Server, address: Address, manager: BackupManager, shell: Shell
) -> None:
    """A lost server gets its data back on a new one: a warning, in the check as in the command."""
    manager.create("before")
    assert not manager.can_restore("latest").warnings
    address.lead_to(second)
    (warning,) = manager.can_restore("latest").warnings
    assert "was made on another server than the one that answers" in warning
    options = ("--yes", "--url", address.url, "--directory", str(manager.directory))
    assert warning in shell.run("restore", "latest", *options).stderr
    assert content.psql(second, "shop", "SELECT body FROM note") == "old\n"
    shell.ok("undo", *options)
    assert content.psql(second, "shop", "SELECT count(*) FROM production") == "2\n"


def test_a_backup_of_a_database_with_another_name_is_not_brought_silently(
    first: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be the wrong one: its name is said. The same name at another place is usual."""
    (tmp_path / "mirror").mkdir()
    place = (tmp_path / "mirror").as_uri()
    with mirror_for(place) as mirror:
        mirror.prepare()
    manager = BackupManager(content.engine_on(first, "shop"), tmp_path / "one", mirrors=place)
    manager.create()
    manager.mirrors.sync()
    caplog.clear()
    same = BackupManager(content.engine_on(first, "shop"), tmp_path / "two", catalog=False)
    same.mirrors.fetch("latest", place)
    assert not caplog.records
    other = BackupManager(content.engine_on(first, "other"), tmp_path / "three", catalog=False)
    other.mirrors.fetch("latest", place)
    (said,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert f"is a backup of {manager.live.name}. It becomes one of {other.live.name}." in said
