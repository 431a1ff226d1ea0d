"""A server that takes nobody without TLS: the programs log in as the application does."""

from __future__ import annotations

import os
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from certificates import Authority, Signed, free_port, new_folder
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from postgresql import content
from postgresql.conftest import VERSIONS
from postgresql.server import NOBODY, SETTINGS, Server
from soulsense_db import BackupManager
from soulsense_db.errors import DatabaseUnreachableError

TABLE = "CREATE TABLE t (id integer PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'old')"


def _version_with_tls() -> int:
    """Return a version that was built with it: those of the wheel are not."""
    for version in reversed(VERSIONS):
        program = Path(f"/usr/lib/postgresql/{version}/bin/pg_config")
        if program.exists():
            said = subprocess.run([program, "--configure"], check=True, capture_output=True)
            if b"openssl" in said.stdout:
                return version
    assert not os.environ.get("SOULSENSE_TESTS_NEED_ALL"), "no PostgreSQL with TLS is installed"
    pytest.skip("no PostgreSQL with TLS is installed")


class Secured(Server):
    """A server of Debian's, at a port as well, where it takes nobody without TLS."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.authority = Authority(folder)
        self.other_authority = Authority(folder, "other")
        owner = NOBODY if os.geteuid() == 0 else None
        self._own = self.authority.sign("server", hosts="DNS:localhost", owner=owner)
        self.client = self.authority.sign("certified")
        self.port = free_port()
        super().__init__(_version_with_tls())

    def start(self) -> None:
        """Start it with its certificate."""
        (self.data / "pg_hba.conf").write_text(
            "local all all trust\n"
            "hostssl all certified 127.0.0.1/32 cert\n"
            "hostssl all postgres 127.0.0.1/32 trust\n"
        )
        settings = {
            "ssl": "on",
            "ssl_ca_file": self.authority.certificate,
            "ssl_cert_file": self._own.certificate,
            "ssl_key_file": self._own.key,
        }
        given = " ".join(f"-c {name}={value}" for name, value in settings.items())
        # The socket is looked for by the usual port: a client of it names none.
        options = f"-h 127.0.0.1 -p {self.port} -k {self.socket} {SETTINGS} {given}"
        log = f"{self.data}/log"
        self.run("pg_ctl", "-w", "-D", str(self.data), "-l", log, "-o", options, "start")
        linked = self.socket / ".s.PGSQL.5432"
        linked.unlink(missing_ok=True)
        linked.symlink_to(f".s.PGSQL.{self.port}")

    def at_port(self, library: str, *, host: str = "localhost", user: str = "postgres") -> sa.URL:
        """Return the URL of the database at the port."""
        return sa.URL.create(
            f"postgresql+{library}", user, host=host, port=self.port, database="app"
        )


@pytest.fixture(scope="module")
def server() -> Iterator[Secured]:
    """Return such a server, with one database."""
    with new_folder() as folder:
        made = Secured(folder)
        try:
            content.psql(made, "postgres", "CREATE ROLE certified SUPERUSER LOGIN")
            content.psql(made, "postgres", "CREATE DATABASE app")
            content.psql(made, "app", TABLE)
            yield made
        finally:
            made.remove()


@pytest.fixture(autouse=True)
def _programs(server: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(server.bin), prepend=":")


def there_and_back(manager: BackupManager, server: Server) -> None:
    """Create, change and restore."""
    content.psql(server, "app", "UPDATE t SET v = 'old'")
    made = manager.create("with TLS")
    content.psql(server, "app", "UPDATE t SET v = 'new'")
    assert manager.restore(made).verified
    assert content.psql(server, "app", "SELECT v FROM t") == "old\n"


def with_client(signed: Signed) -> dict[str, str]:
    """Return what libpq calls the certificate of a client."""
    return {"sslcert": str(signed.certificate), "sslkey": str(signed.key)}


@pytest.mark.parametrize(
    ("library", "mode"),
    [("psycopg", "require"), ("psycopg2", "verify-full"), ("psycopg", "with a certificate")],
)
def test_a_library_of_libpq(server: Secured, library: str, mode: str, tmp_path: Path) -> None:
    """What its URL says of TLS, the programs get."""
    known = {"sslmode": "verify-full", "sslrootcert": str(server.authority.certificate)}
    url = server.at_port(library).update_query_dict({"sslmode": "require"})
    if mode != "require":
        url = url.update_query_dict(known)
    if mode.startswith("with"):
        url = url.set(username="certified").update_query_dict(with_client(server.client))
    there_and_back(BackupManager(sa.create_engine(url, poolclass=NullPool), tmp_path), server)


def test_a_context_of_asyncpg(server: Secured, tmp_path: Path) -> None:
    """The authorities that it knows, and what it checks, are those of the programs."""
    context = ssl.create_default_context(cafile=str(server.authority.certificate))
    engine = create_async_engine(
        server.at_port("asyncpg"), poolclass=NullPool, connect_args={"ssl": context}
    )
    there_and_back(BackupManager(engine, tmp_path), server)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    there_and_back(BackupManager(engine, tmp_path), server)


@pytest.mark.parametrize("checks", ["another authority", "another name"])
def test_a_context_of_asyncpg_is_as_strict(server: Secured, checks: str, tmp_path: Path) -> None:
    """A server that the application would not trust, soulsense_db does not trust either."""
    known = server.other_authority if checks == "another authority" else server.authority
    context = ssl.create_default_context(cafile=str(known.certificate))
    host = "localhost" if checks == "another authority" else "127.0.0.1"
    engine = create_async_engine(
        server.at_port("asyncpg", host=host), poolclass=NullPool, connect_args={"ssl": context}
    )
    with pytest.raises(DatabaseUnreachableError, match="certificate"):
        BackupManager(engine, tmp_path).create("x")


@pytest.mark.parametrize("library", ["psycopg", "psycopg2"])
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"sslmode": "disable"}, "no encryption"),
        ({"sslmode": "verify-full", "sslrootcert": "other"}, "certificate verify failed"),
        ({"sslmode": "verify-full", "sslrootcert": "/nowhere/ca.pem"}, "does not exist"),
        ({"user": "certified", "sslmode": "require"}, "client certificate"),
    ],
    ids=["no TLS", "wrong authority", "no file", "no certificate of a client"],
)
def test_what_is_missing_is_said(
    server: Secured, library: str, query: dict[str, str], said: str, tmp_path: Path
) -> None:
    """In an error of the tree; nothing is made."""
    url = server.at_port(library, user=query.get("user", "postgres"))
    given = {key: value for key, value in query.items() if key != "user"}
    if given.get("sslrootcert") == "other":
        given["sslrootcert"] = str(server.other_authority.certificate)
    engine = sa.create_engine(url.update_query_dict(given), poolclass=NullPool)
    manager = BackupManager(engine, tmp_path)
    with pytest.raises(DatabaseUnreachableError, match=said):
        manager.create("x")
    assert manager.list() == []
