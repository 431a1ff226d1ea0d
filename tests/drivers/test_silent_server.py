"""A server that takes connections and then says nothing: it is stuck, or behind a firewall."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from soulsense_db import BackupManager
from soulsense_db.drivers.mariadb import login as mariadb_login
from soulsense_db.drivers.postgresql import login, reading
from soulsense_db.errors import DatabaseUnreachableError
from soulsense_db.health import State, check_health


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Return what takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def address(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return where it listens; the program is less patient than usual."""
    for module in (login, reading, mariadb_login):
        monkeypatch.setattr(module, "CONNECT_SECONDS", 1)
    return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    "library",
    ["postgresql+psycopg", "postgresql+psycopg2", "mysql+pymysql", "mysql+mysqlconnector"],
)
def test_it_is_given_up(address: str, tmp_path: Path, library: str) -> None:
    """An operation ends in an error, and `status` in what a monitor understands."""
    manager = BackupManager.from_url(f"{library}://app:pw@{address}/shop", tmp_path)
    with pytest.raises(DatabaseUnreachableError, match=f"{address}/shop does not answer"):
        manager.create()
    report = check_health(manager)
    assert report.state is State.CRITICAL
    assert report.checks[0].message.count("does not answer") == 1
    assert list(tmp_path.glob("*.meta")) == []


@pytest.mark.parametrize("library", ["postgresql+psycopg", "mysql+pymysql"])
def test_status_asks_it_no_more_than_it_must(
    listener: socket.socket, address: str, tmp_path: Path, library: str
) -> None:
    """Each look takes its time: for the size, and for the note of a migration."""
    check_health(BackupManager.from_url(f"{library}://app@{address}/shop", tmp_path))
    listener.setblocking(False)
    looks = 0
    with pytest.raises(BlockingIOError):
        while True:
            listener.accept()[0].close()
            looks += 1
    assert looks == 2


@pytest.mark.parametrize(
    ("library", "option"),
    [
        ("postgresql+psycopg2", "connect_timeout"),
        ("mysql+pymysql", "connect_timeout"),
        ("mysql+mysqlconnector", "connect_timeout"),
        ("mysql+mysqlconnector", "connection_timeout"),
    ],
)
def test_a_limit_of_the_url_is_obeyed(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, option: str
) -> None:
    """It takes the place of the program's own."""
    for module in (login, reading, mariadb_login):
        monkeypatch.setattr(module, "CONNECT_SECONDS", 600)
    url = f"{library}://app@{address}/shop?{option}=2"
    with pytest.raises(DatabaseUnreachableError):
        BackupManager.from_url(url, tmp_path).create()
