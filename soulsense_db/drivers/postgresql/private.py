"""A database of the same name on a server of our own, where the user may make none beside it.

Whose objects are whose, what rights name and what a statement means is as on the live server.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.postgresql import (
    archive,
    private_roles,
    private_settings,
    properties,
    restoring,
)
from soulsense_db.drivers.postgresql.asking import first_rows
from soulsense_db.drivers.postgresql.driver import PostgreSQLDriver
from soulsense_db.drivers.postgresql.errors import live_errors, reason_of
from soulsense_db.drivers.postgresql.login import ON_A_SOCKET, Login
from soulsense_db.drivers.postgresql.private_errors import (
    lacks_extensions,
    lacks_locale,
    neither_right_nor_server,
)
from soulsense_db.drivers.postgresql.private_server import PrivatePostgreSQL
from soulsense_db.drivers.postgresql.rights import who_may_not_create
from soulsense_db.drivers.postgresql.scratch import TrialDriver
from soulsense_db.drivers.postgresql.server_tools import ServerTools, find_server
from soulsense_db.drivers.postgresql.statements import execute, quoted
from soulsense_db.drivers.server_errors import no_database
from soulsense_db.errors import BackupError
from soulsense_db.notices import log_ignored

_WITH_TRIGGERS_ON_LOGIN = 17
_WORK = re.compile(r"\..*\.work-[0-9a-f]+")
_OWNERS = sa.text("SELECT extname, pg_get_userbyid(extowner) FROM pg_extension")
_GIVE = sa.text(
    "UPDATE pg_extension SET extowner = r.oid FROM pg_roles r"
    " WHERE extname = :name AND r.rolname = :owner AND extowner <> r.oid"
)


class PrivateDriver(TrialDriver):
    """The driver of a database on a server of our own, which has not been started yet."""

    def __init__(
        self, live: PostgreSQLDriver, tools: ServerTools, path: Path, *, user: str
    ) -> None:
        self._live, self._live_login = live, live._login()
        self._server_tools, programs = tools, live.tools()
        self._server = PrivatePostgreSQL(tools, place=place_for(path))
        self._roles: private_roles.Roles | None = None
        self._is_made = False
        super().__init__(self._login_of(user).engine(), lock_timeout=live.lock_timeout)
        self._tools, self.jobs = programs, live.jobs

    @property
    def database(self) -> str:
        """What errors call it."""
        return f"{self._live.database} on a private server"

    @property
    def is_on_private_server(self) -> bool:
        """Whether it is on a server of our own: it is."""
        return True

    @property
    def _name(self) -> str:
        return self._live_login.database

    def _login_of(self, user: str, *, options: str | None = None) -> Login:
        given = self._live_login.parameters.get("options", "") if options is None else options
        parameters = {**ON_A_SOCKET, **self._server.reached(user), "options": given}
        return Login({**parameters, "dbname": self._name}, self._live_login.python_driver)

    def _login(self) -> Login:
        """Return that of the one who may do all: what the user may, the backup need not.

        From PostgreSQL 17 on, a trigger of the backup could write a row for each of these logins.
        """
        is_known = self.tools().version >= _WITH_TRIGGERS_ON_LOGIN
        options = "-c event_triggers=off" if is_known else ""
        return self._login_of(self._known_roles.first, options=options)

    @property
    def user_login(self) -> Login:
        """That of the application's user, who may do there what he may on the live server."""
        return self._login_of(self._known_roles.user)

    @property
    def reached(self) -> Mapping[str, str]:
        """How the application's connections get there, by libpq's names."""
        return self._server.reached(self._known_roles.user)

    @property
    def _known_roles(self) -> private_roles.Roles:
        if self._roles is None:
            raise no_database(self.database, "it has not been made")
        return self._roles

    @property
    def _keeper(self) -> Login:
        return self._login()

    def exclusive(self, *, timeout: float) -> AbstractContextManager[None]:
        """Do nothing: nobody else knows of it."""
        del timeout
        return nullcontext()

    def replaced_without_copy(self) -> None:
        """Return nothing: it replaces none."""
        return

    def require_database(self) -> None:
        """Raise as long as it has not been made."""
        if not self._is_made:
            raise no_database(self.database, "it has not been made")

    def rebuild(self, source: Path, *, facts: Mapping[str, str], stamp: str) -> tuple[Path, ...]:
        """Start the server, and make the database of ``source``, as the live one is."""
        del facts, stamp
        self.make(source)
        return ()

    def make(self, source: Path, poll: Callable[[], object] = lambda: None) -> None:
        """Do what :meth:`rebuild` does; ``poll`` is called now and then, and may raise."""
        described, name = archive.read(source), self._live.database
        restoring.require_version(source, described, self.tools())
        self._server.require_room(source.stat().st_size)
        plain = replace(self._live_login, parameters={**self._live_login.parameters, "options": ""})
        with plain.maintenance(name=name) as connection, live_errors(name):
            roles = private_roles.read(connection)
            settings = private_settings.read(connection)
            like = properties.properties(connection, self._name)
            belongings = properties.belongings(connection, self._name)
        poll()
        self._server.start(roles.first, settings)
        self._roles = roles
        poll()
        with self._login().maintenance(name=self.database) as connection:
            self._require_extensions(connection, source)
            private_roles.make(
                connection,
                roles,
                password=self._server.password,
                new_space=self._server.new_space,
            )
            words = properties.like(connection, like, described.locale)
            owner = "" if like is not None else f" OWNER {quoted(roles.user)}"
            execute(connection, f"DROP DATABASE IF EXISTS {quoted(self._name)}")  # postgres
            locale = described.locale if like is None else like.locale
            with self._as_locale_is_missing(locale):
                execute(connection, f"CREATE DATABASE {quoted(self._name)} {words}{owner}")
        self._is_made = True
        restoring.fill(
            source,
            self._name,
            login=self._login(),
            tools=self.tools(),
            name=self.database,
            poll=poll,
        )
        if like is not None:
            self._give_extensions()
        with self._login().maintenance(name=self.database) as connection:
            private_roles.give_settings(connection, roles)
            if belongings is not None:
                properties.give(connection, belongings, self._name)
        self._version_table = described.version_table

    def _require_extensions(self, connection: Connection, source: Path) -> None:
        items = self._live.schema_of(source).items
        wanted = {item.name for item in items if item.kind == "EXTENSION"}
        here = set(connection.scalars(sa.text("SELECT name FROM pg_available_extensions")))
        if wanted - here:
            raise lacks_extensions(self._server_tools.server, sorted(wanted - here))

    @contextmanager
    def _as_locale_is_missing(self, locale: archive.Locale) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise lacks_locale(
                self._server_tools.server,
                (locale.collate, locale.ctype, locale.locale),
                reason_of(error),
            ) from error

    def _give_extensions(self) -> None:
        """Let extensions belong to whom they belong on the live server: no statement can say it."""
        with self._live_login.connected(name=self._live.database) as connection:
            owners = connection.execute(_OWNERS).all()
        with self._connected() as connection:
            for name, owner in owners:
                connection.execute(_GIVE, {"name": name, "owner": owner})

    def query(self, statement: str) -> tuple[tuple[Any, ...], ...]:
        """Ask as the application's user, who may not do all."""
        path = self.search_path()
        with self.user_login.connected(name=self.database, autocommit=False) as connection:
            return first_rows(connection, statement, search_path=path)

    def discard(self) -> None:
        """End the server, and remove all that it had."""
        self._is_made = False
        self._server.stop()


def place_for(path: Path) -> Path:
    """Return where a private server's folder is made: in the directory of what is worked with.

    An option may name that, for what is secret; else it is the system's for temporary files.
    """
    for one in (path, path.parent):
        if _WORK.fullmatch(one.name):
            return one.parent
    return Path(tempfile.gettempdir())


def instead(live: PostgreSQLDriver, path: Path) -> PrivateDriver | None:
    """Return the driver of a private server where the user may make no databases beside the live.

    None where he may, or where that is not known. ``path``: as of :meth:`.Driver.scratch`. Raises
    :class:`~soulsense_db.errors.MissingRightError` where the server's programs are not there.
    """
    try:
        who = who_may_not_create(live._login(), name=live.database)
    except BackupError as error:  # what is done then says so
        log_ignored("Whether the user may create databases is not known", error)
        return None
    if who is None:
        return None
    role, user = who
    tools = live.tools()
    found, others = find_server(tools, is_named=live.tools_directory is not None)
    if found is None:
        raise neither_right_nor_server(live.database, role, tools.version, others)
    return PrivateDriver(live, found, path, user=user)
