"""A server at a port that takes nobody without TLS: the programs log in as the application does."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest
import sqlalchemy as sa
from certificates import Authority, free_port, new_folder
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from mariadb_driver.databases import Database, new_database
from mariadb_driver.server import Server, is_installed
from soulsense_db import BackupManager
from soulsense_db.drivers.mariadb.login import login_of
from soulsense_db.errors import DatabaseUnreachableError

NOBODY = 65534
_PASSWORD = "Zq'7 %s:@/;=#&x"  # noqa: S105 - of a test's own server

# PyMySQL does not close the socket of a connection that fails.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Secured:
    """A server at ``port``, its authority, and another one."""

    def __init__(self, folder: Path) -> None:
        self.authority, self.other = Authority(folder), Authority(folder, "other")
        owner = NOBODY if os.geteuid() == 0 else None
        own = self.authority.sign("server", hosts="DNS:localhost", owner=owner)
        self.client = self.authority.sign("certified")
        self.port = free_port()
        self.server = Server(
            *("--skip-networking=0", "--bind-address=127.0.0.1", f"--port={self.port}"),
            *("--require-secure-transport=ON", f"--ssl-ca={self.authority.certificate}"),
            *(f"--ssl-cert={own.certificate}", f"--ssl-key={own.key}"),
        )

    def url(
        self, driver: str, database: Database, *, user: str = "secured", host: str = "localhost"
    ) -> sa.URL:
        """Return the URL of a database at the port."""
        return sa.URL.create(f"mariadb+{driver}", user, _PASSWORD, host, self.port, database.name)


@pytest.fixture(scope="module")
def secured() -> Iterator[Secured]:
    """Return such a server."""
    if not is_installed():
        assert not os.environ.get("SOULSENSE_TESTS_NEED_ALL"), "no MariaDB is installed"
        pytest.skip("no MariaDB is installed")
    with new_folder() as folder:
        made = Secured(folder)
        yield made
        made.server.remove()


@pytest.fixture
def database(secured: Secured, tmp_path: Path) -> Iterator[Database]:
    """Return a database, and the users of the port."""
    with new_database(secured.server, tmp_path) as made:
        password = _PASSWORD.replace("'", "''")
        for user, needs in (("secured", "SSL"), ("certified", "X509")):
            made.run(
                f"CREATE OR REPLACE USER {user}@'127.0.0.1' IDENTIFIED BY '{password}'"
                f" REQUIRE {needs}; GRANT ALL ON *.* TO {user}@'127.0.0.1'"
            )
        made.run("CREATE TABLE t (v TEXT); INSERT INTO t VALUES ('old')")
        yield made


def there_and_back(manager: BackupManager, database: Database) -> None:
    """Create, change and restore."""
    database.run("UPDATE t SET v = 'old'")
    made = manager.create("with TLS")
    database.run("UPDATE t SET v = 'new'")
    assert manager.restore(made).verified
    assert database.run("SELECT v FROM t") == "old\n"


def options_of(engine: sa.Engine) -> str:
    """Return what stands in the programs' option file."""
    with login_of(engine, name="it").options_file() as path:
        return path.read_text()


@pytest.mark.parametrize(
    ("driver", "query"),
    [
        ("pymysql", {}),
        ("pymysql", {"ssl_ca": "ca"}),
        ("mysqlconnector", {"ssl_ca": "ca", "ssl_verify_cert": "true"}),
        ("pymysql", {"ssl_ca": "ca", "ssl_cert": "cert", "ssl_key": "key"}),
    ],
)
def test_the_programs_get_what_the_url_says(
    secured: Secured, database: Database, driver: str, query: dict[str, str]
) -> None:
    """At a port, with and without a certificate of a client."""
    files = {
        "ca": str(secured.authority.certificate),
        "cert": str(secured.client.certificate),
        "key": str(secured.client.key),
    }
    url = secured.url(driver, database, user="certified" if "ssl_cert" in query else "secured")
    url = url.update_query_dict({key: files.get(value, value) for key, value in query.items()})
    engine = sa.create_engine(url, poolclass=NullPool)
    assert ("ssl-verify-server-cert=1" in options_of(engine)) == ("ssl_ca" in query)
    there_and_back(BackupManager(engine, database.folder / "backups"), database)


@pytest.mark.parametrize("form", ["async", "a creator", "a name that is not checked"])
def test_a_context_of_python(secured: Secured, database: Database, form: str) -> None:
    """The authorities that it knows, and what it checks, are those of the programs."""
    context = ssl.create_default_context(cafile=str(secured.authority.certificate))
    arguments = {"ssl": context}
    if form == "async":
        engine = create_async_engine(
            secured.url("asyncmy", database), poolclass=NullPool, connect_args=arguments
        )
        assert "ssl-verify-server-cert=1" in options_of(engine.sync_engine)
        there_and_back(BackupManager(engine, database.folder / "backups"), database)
        return
    plain = sa.create_engine(
        secured.url("pymysql", database), poolclass=NullPool, connect_args=arguments
    )
    if form == "a creator":
        given = sa.make_url(plain.url).translate_connect_args(username="user")
        plain = sa.create_engine(
            plain.url, creator=lambda: pymysql.connect(**given, **arguments), poolclass=NullPool
        )
        assert "ssl-verify-server-cert=1" in options_of(plain)
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        assert "ssl-verify-server-cert=0" in options_of(plain)
    there_and_back(BackupManager(plain, database.folder / "backups"), database)


@pytest.mark.parametrize(
    ("driver", "query", "said"),
    [
        ("pymysql", {"ssl_disabled": "true"}, "require_secure_transport|refused the login"),
        ("pymysql", {"ssl_ca": "other"}, "CERTIFICATE_VERIFY_FAILED"),
        ("pymysql", {"ssl_ca": "/nowhere/ca.pem"}, "certificate, or its key: No such"),
        ("mysqlconnector", {"ssl_ca": "other", "ssl_verify_cert": "true"}, "(?i)certificate"),
        ("pymysql", {"ssl_ca": "ca", "user": "certified"}, "refused the login"),
        ("pymysql", {"ssl_ca": "ca", "host": "127.0.0.1"}, "CERTIFICATE_VERIFY_FAILED"),
    ],
    ids=["no TLS", "authority", "no file", "authority, connector", "no certificate", "name"],
)
def test_what_is_missing_is_said(
    secured: Secured, database: Database, driver: str, query: dict[str, str], said: str
) -> None:
    """In an error of the tree, without the password; nothing is made."""
    given = dict(query)
    url = secured.url(
        driver, database, user=given.pop("user", "secured"), host=given.pop("host", "localhost")
    )
    files = {"ca": secured.authority.certificate, "other": secured.other.certificate}
    url = url.update_query_dict({key: str(files.get(value, value)) for key, value in given.items()})
    manager = BackupManager(sa.create_engine(url, poolclass=NullPool), database.folder / "b")
    with pytest.raises(DatabaseUnreachableError, match=said) as caught:
        manager.create("x")
    assert _PASSWORD not in f"{caught.value} {caught.value.hint}"
    assert manager.list() == []


def test_the_programs_trust_whom_the_application_trusts(
    secured: Secured, database: Database
) -> None:
    """They look at the server's certificate themselves: somebody else may answer them."""
    url = secured.url("pymysql", database)
    other = url.update_query_dict({"ssl_ca": str(secured.other.certificate)})
    login = login_of(sa.create_engine(other), name="it")
    right = login_of(sa.create_engine(url), name="it")
    tools = database.driver.tools()  # type: ignore[attr-defined]
    with (
        pytest.raises(DatabaseUnreachableError, match=r"(?i)certificate"),
        tools.dumping(login, "--no-data", database.name) as output,
    ):
        output.read()
    with tools.dumping(right, "--no-data", database.name) as output:
        assert output.read()
