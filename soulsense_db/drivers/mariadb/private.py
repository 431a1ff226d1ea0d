"""A database of the same name on a server of our own, which has nothing else.

Whatever statements name, with a database before it or in ``USE``: it is there, or nowhere.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from soulsense_db.drivers.mariadb import (
    archive,
    events,
    inventory,
    loading,
    private_accounts,
    private_settings,
    programs,
    schemas,
)
from soulsense_db.drivers.mariadb.driver import MariaDBDriver
from soulsense_db.drivers.mariadb.errors import live_errors, refused_by_server
from soulsense_db.drivers.mariadb.login import Login
from soulsense_db.drivers.mariadb.private_accounts import LiveUser
from soulsense_db.drivers.mariadb.private_errors import not_held, other_settings
from soulsense_db.drivers.mariadb.private_server import Account, PrivateMariaDB
from soulsense_db.drivers.mariadb.schema import Schema
from soulsense_db.drivers.mariadb.seen import shown_kind
from soulsense_db.drivers.mariadb.server_tools import ServerTools
from soulsense_db.drivers.mariadb.statements import execute, literal, quoted, rows, scalar
from soulsense_db.drivers.results import SnapshotInfo
from soulsense_db.errors import BackupError
from soulsense_db.notices import ignoring
from soulsense_db.progress import Progress

# Tables of these have their rows on other servers, or in files that others use.
_ELSEWHERE = ("FEDERATED", "CONNECT", "SPIDER", "S3", "SPHINX")
_SYSTEM_USERS = "('system user', 'event_scheduler')"


class PrivateDriver(MariaDBDriver):
    """The driver of a database on a server of our own, which has not been started yet."""

    keeps_replaced = False

    def __init__(self, live: MariaDBDriver, tools: ServerTools, source: Path) -> None:
        self._live, self._live_login = live, live._login()
        self._server_tools, programs = tools, live.tools()
        size = source.stat().st_size
        self._server = PrivateMariaDB(tools, place=place_for(source), size_bytes=size)
        admin = self._server.admin
        keywords = {
            "user": admin.user,
            "password": admin.password,
            "unix_socket": str(self._server.socket),
        }
        self._own = Login(keywords, self._live_login.database, self._live_login.python_driver)
        super().__init__(self._own.engine(self._name), lock_timeout=live.lock_timeout)
        self._tools = programs
        self._account: Account | None = None
        self._user: LiveUser | None = None

    @property
    def database(self) -> str:
        """What errors call it."""
        return f"{self._live.database} on a private server"

    @property
    def _name(self) -> str:
        return self._live_login.database

    def _login(self) -> Login:
        return self._own

    @property
    def reached(self) -> dict[str, str]:
        """How the application's connections get there."""
        assert self._account is not None
        return {
            "socket": str(self._server.socket),
            "user": self._account.user,
            "password": self._account.password,
            "pid_file": str(self._server.pid_file),
        }

    def rebuild(self, source: Path, *, facts: Mapping[str, str], stamp: str) -> tuple[Path, ...]:
        """Start the server, and make the database of ``source``, as the live one is."""
        del facts, stamp
        described = archive.require_whole(source)
        loading.require_version(source, described, self.tools())
        _require_here(described, self._live.database)
        with self._live_login.connected(name=self._live.database) as connection:
            settings = private_settings.read(connection)
            user = private_accounts.read(connection)
            like = rows(
                connection,
                "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM"
                f" information_schema.SCHEMATA WHERE SCHEMA_NAME = {literal(self._name)}",
            )
        self._user = user
        self._server.start(settings.options, settings.variables)
        with self._own.connected(name=self.database) as connection:
            private_settings.give(
                connection,
                settings,
                login=self._own,
                tools=self.tools(),
                server=self._server_tools,
                name=self._live.database,
            )
            charset = f" CHARACTER SET {like[0][0]} COLLATE {like[0][1]}" if like else ""
            execute(connection, f"CREATE DATABASE {quoted(self._name)}{charset}")
            self._account = private_accounts.make(connection, user, described, self._name)
        self._fill(source)
        with self._own.connected(name=self.database) as connection:
            private_accounts.give_rights(connection, user)
            self._require_all(described)
        self._require_user(user)
        return ()

    def _fill(self, source: Path) -> None:
        described = loading.fill(
            source,
            self._name,
            target=self._name,
            login=self._own,
            tools=self.tools(),
            name=self.database,
            has_definers=True,
        )
        if "events" in described.sections:  # nothing runs them here
            part = loading.statements_of(source, described, "events", self._name)
            kept = programs.default_kept(self._own, self._name, name=self.database)
            with refused_by_server(source.name), kept:
                self.tools().load(self._own, self._name, part)

    def _require_all(self, described: archive.Description) -> None:
        """Raise where it is not what the backup says: a table may have got another engine."""
        with self._own.connected(name=self.database) as private:
            found = inventory.take(private, self._name, name=self.database)
            there = events.without_past(private, described.items)
        wanted = Schema(described.schema, described.version, there)
        if not wanted.is_in(Schema(self._name, self.tools().version, found.items)):
            missing = wanted.items - found.items
            named = sorted({f"{shown_kind(item.kind)} {item.name}" for item in missing})
            raise not_held(self._live.database, named)

    def _require_user(self, user: LiveUser) -> None:
        """Raise where the application's account is another one: it becomes a definer."""
        assert self._account is not None
        given = {**self._own.keywords, "user": user.user, "password": self._account.password}
        login, found = replace(self._own, keywords=given), ""
        failed = "The application's user cannot log in"
        with ignoring(BackupError, what=failed), login.connected(name=self.database) as connection:
            found = str(scalar(connection, "SELECT CURRENT_USER()"))
        if found != f"{user.user}@{user.local_host}":
            raise other_settings(self._live.database, [f"the account of {user.user}"])

    def snapshot(self, target: Path, *, progress: Progress | None = None) -> SnapshotInfo:
        """Dump it, with the names that definers have on the live server."""
        assert self._user is not None
        with self._own.connected(name=self.database) as connection:
            private_accounts.name_real_definers(connection, self._user, self._name)
        return super().snapshot(target, progress=progress)

    def end_sessions(self) -> None:
        """End all that is connected to it but us; a killed program may have left a statement."""
        asked = (
            "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID()"
            f" AND USER NOT IN {_SYSTEM_USERS} AND USER <> {literal(self._server.admin.user)}"
        )
        with self._own.connected(name=self.database) as connection, live_errors(self.database):
            schemas.end_sessions(connection, asked)

    def discard(self) -> None:
        """End the server, and remove all that it had."""
        self._server.stop()


def place_for(source: Path) -> Path:
    """Return where the copy ``source`` is: below the system's directory for temporary files.

    Or in the directory that an option names for what is secret.
    """
    temporary = Path(tempfile.gettempdir())
    return temporary if source.parent.parent.parent == temporary else source.parent


def _require_here(described: archive.Description, name: str) -> None:
    """Raise for tables whose rows are elsewhere: what is written to them would be, too."""
    reaching = [
        f"table {item.name}"
        for item in described.items
        for engine in _ELSEWHERE
        if f" ENGINE={engine} " in f"{item.statement} ".upper()
    ]
    if reaching:
        raise not_held(name, reaching)
