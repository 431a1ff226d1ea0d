"""Databases that are made beside the live one, and how one of them takes its place.

A restore is made in a new database, whoever uses the live one meanwhile. Then both are renamed in
one transaction: a window of milliseconds, whatever their size, and never a mixture. A database can
only be renamed when nobody is connected: its sessions are ended, and new ones refused for that
moment.

Each database of ours says in its comment what it is. As long as the process lives that works with
it, it holds an advisory lock; what nobody holds is what a kill has left, and is tidied up by the
next one.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from soulsense_db.drivers.postgresql.errors import live_errors, locked
from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.notices import cleaning_up

_PREFIX = "soulsense_db: "
_POLL_SECONDS = 0.005
_LOOK_SECONDS = 0.05
Role = Literal["scratch", "swapping", "replaced"]


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What the comment of a database of ours says: ``live`` is the database that it is about."""

    role: Role
    live: str
    token: str

    def __str__(self) -> str:
        return _PREFIX + msgspec.json.encode(self).decode()

    @property
    def lock(self) -> int:
        """The number of its advisory lock, as PostgreSQL takes it: 64 bits with a sign."""
        return int(self.token, 16) - (1 << 63)


@dataclass(frozen=True, slots=True)
class NewDatabase:
    """A database that was made by us; ``maintenance`` holds its lock."""

    name: str
    mark: Mark
    maintenance: Connection


_PROPERTIES = """
    SELECT d.oid, pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,
        to_jsonb(d)->>'datlocprovider',
        coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale'),
        to_jsonb(d)->>'daticurules',
        pg_get_userbyid(d.datdba), t.spcname, d.datconnlimit, d.datallowconn
    FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace
    WHERE d.datname = :name
"""


@dataclass(frozen=True, slots=True)
class Properties:
    """What is of a database itself, and of nothing in it."""

    oid: int
    encoding: str
    collate: str
    ctype: str
    provider: str | None
    locale: str | None
    rules: str | None
    owner: str
    tablespace: str
    limit: int
    is_allowed: bool


def properties(connection: Connection, name: str) -> Properties | None:
    """Return those of a database, None where there is none of that name."""
    row = connection.execute(sa.text(_PROPERTIES), {"name": name}).one_or_none()
    return None if row is None else Properties(*row)


def new_token() -> str:
    """Return what a database of ours is named after."""
    return secrets.token_hex(8)


def name_of(token: str) -> str:
    """Return the name of a database of ours."""
    return f"soulsense_{token}"


@contextmanager
def new_database(
    login: Login, *, live: str, name: str, token: str | None = None
) -> Iterator[NewDatabase]:
    """Make an empty database like ``live``; it is dropped when the block ends, if it has its name.

    ``name`` is what errors call the live one; ``token``: that of its name, by default a new one.
    """
    with login.maintenance(name=name) as maintenance:
        tidy_up(maintenance, live)
        mark = Mark(role="scratch", live=live, token=token or new_token())
        maintenance.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": mark.lock})
        made = name_of(mark.token)
        like = properties(maintenance, live)
        execute(
            maintenance, f"CREATE DATABASE {quoted(maintenance, made)} {_like(maintenance, like)}"
        )
        try:
            comment(maintenance, made, str(mark))
            yield NewDatabase(made, mark, maintenance)
        finally:
            with cleaning_up(f"The database {made} could not be dropped"), live_errors(name):
                drop(maintenance, made)
            with cleaning_up("An advisory lock could not be released"), live_errors(name):
                maintenance.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": mark.lock})


def _like(connection: Connection, like: Properties | None) -> str:
    """Return how a database is made that has the encoding, locale, owner and place of another."""
    if like is None:
        return "TEMPLATE template0"
    words = [
        "TEMPLATE template0",
        f"ENCODING {literal(connection, like.encoding)}",
        f"LC_COLLATE {literal(connection, like.collate)}",
        f"LC_CTYPE {literal(connection, like.ctype)}",
        f"OWNER {quoted(connection, like.owner)}",
        f"TABLESPACE {quoted(connection, like.tablespace)}",
    ]
    if like.provider == "i":
        words += ["LOCALE_PROVIDER icu", f"ICU_LOCALE {literal(connection, like.locale or '')}"]
        if like.rules:
            words.append(f"ICU_RULES {literal(connection, like.rules)}")
    elif like.provider == "b":  # from 17 on
        words += [
            "LOCALE_PROVIDER builtin",
            f"BUILTIN_LOCALE {literal(connection, like.locale or '')}",
        ]
    return " ".join(words)


def copy_properties(maintenance: Connection, source: str, target: str) -> None:
    """Give ``target`` all that ``source`` has and no dump of its content has.

    Rights, limit, comment, and settings, of the database and of a role in it.
    """
    old = properties(maintenance, source)
    if old is None:
        return
    named = quoted(maintenance, target)
    execute(maintenance, f"ALTER DATABASE {named} WITH CONNECTION LIMIT {old.limit}")
    _copy_rights(maintenance, old, named)
    _copy_settings(maintenance, old, named)


def _copy_rights(maintenance: Connection, old: Properties, named: str) -> None:
    rights = maintenance.execute(
        sa.text(
            "SELECT coalesce(quote_ident(r.rolname), 'PUBLIC'), a.privilege_type, a.is_grantable"
            " FROM pg_database d, aclexplode(d.datacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee"
            " WHERE d.oid = :oid"
        ),
        {"oid": old.oid},
    ).all()
    has_acl = maintenance.scalar(
        sa.text("SELECT datacl IS NOT NULL FROM pg_database WHERE oid = :oid"), {"oid": old.oid}
    )
    if not has_acl:
        return
    owner = quoted(maintenance, old.owner)
    execute(maintenance, f"REVOKE ALL ON DATABASE {named} FROM PUBLIC, {owner}")
    for grantee, privilege, is_grantable in rights:
        option = " WITH GRANT OPTION" if is_grantable else ""
        execute(maintenance, f"GRANT {privilege} ON DATABASE {named} TO {grantee}{option}")


def _copy_settings(maintenance: Connection, old: Properties, named: str) -> None:
    found = maintenance.execute(
        sa.text(
            "SELECT quote_ident(r.rolname), split_part(c, '=', 1),"
            " substr(c, strpos(c, '=') + 1)"
            " FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) AS c"
            " LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = :oid"
        ),
        {"oid": old.oid},
    ).all()
    for role, setting, value in found:
        # Written as a value it would be quoted once more where it is a list.
        maintenance.execute(
            sa.text("SELECT set_config(:setting, :value, false)"),
            {"setting": setting, "value": value},
        )
        whose = f"ROLE {role} IN DATABASE {named}" if role else f"DATABASE {named}"
        name = ".".join(quoted(maintenance, part) for part in setting.split("."))
        execute(maintenance, f"ALTER {whose} SET {name} FROM CURRENT")
        execute(maintenance, f"RESET {name}")


class Swap:
    """Gives ``new`` the name of the live database: all before :meth:`commit` can be taken back."""

    def __init__(
        self, new: NewDatabase, *, live: str, name: str, lock_timeout: float, spared: int | None
    ) -> None:
        self._new, self._live, self._name = new, live, name
        self._maintenance = new.maintenance
        self._deadline = time.monotonic() + lock_timeout
        self._spared = spared

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Refuse new connections to the live database, and end all there are but the one spared."""
        live = quoted(self._maintenance, self._live)
        # First: who tidies up after a kill has to know that it was not somebody else.
        swapping = Mark(role="swapping", live=self._live, token=self._new.mark.token)
        comment(self._maintenance, self._new.name, str(swapping))
        execute(self._maintenance, f"ALTER DATABASE {live} WITH ALLOW_CONNECTIONS false")
        try:
            self._end_sessions(self._spared)
            yield
        except BaseException:
            with cleaning_up(f"{self._name} admits no connections"), live_errors(self._name):
                execute(self._maintenance, f"ALTER DATABASE {live} WITH ALLOW_CONNECTIONS true")
            raise

    def commit(self) -> str:
        """Rename both, once nobody is connected any more; return the old one's new name."""
        self._end_sessions(None)
        old, mark = name_of(new_token()), self._new.mark
        replaced = Mark(role="replaced", live=mark.live, token=mark.token)
        connection = self._maintenance
        names = [quoted(connection, one) for one in (self._live, old, self._new.name)]
        said = connection.scalar(
            sa.text(
                "SELECT shobj_description(oid, 'pg_database') FROM pg_database"
                " WHERE datname = :name"
            ),
            {"name": self._live},
        )
        live, kept, made = names
        statements = (
            "BEGIN",
            f"ALTER DATABASE {live} RENAME TO {kept}",
            f"ALTER DATABASE {made} RENAME TO {live}",
            f"COMMENT ON DATABASE {live} IS {literal(connection, said) if said else 'NULL'}",
            f"COMMENT ON DATABASE {kept} IS {literal(connection, str(replaced))}",
            "COMMIT",
        )
        try:
            for statement in statements:
                execute(connection, statement)
        except BaseException:
            with cleaning_up("A transaction could not be taken back"), live_errors(self._name):
                execute(connection, "ROLLBACK")
            raise
        return old

    def _end_sessions(self, spared: int | None) -> None:
        ended = sa.text(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = :name AND pid IS DISTINCT FROM :spared"
        )
        while self._maintenance.scalar(ended, {"name": self._live, "spared": spared}):
            if time.monotonic() > self._deadline:
                raise locked(self._name, "a session does not end")
            time.sleep(_POLL_SECONDS)


def give_name(made: NewDatabase, name: str) -> None:
    """Give a new database the name of one that is missing, and take our comment off."""
    named = quoted(made.maintenance, name)
    execute(
        made.maintenance, f"ALTER DATABASE {quoted(made.maintenance, made.name)} RENAME TO {named}"
    )
    execute(made.maintenance, f"COMMENT ON DATABASE {named} IS NULL")


@contextmanager
def exclusive(login: Login, *, name: str, timeout: float) -> Iterator[None]:
    """Hold the lock of the live database that other machines see, until the block ends.

    It is one of a transaction: behind a pooler that lends connections to transactions, one of a
    session would stay with somebody else's.
    """
    key = hashlib.blake2b(f"soulsense_db {login.database}".encode(), digest_size=8).digest()
    number = {"key": int.from_bytes(key, "big", signed=True)}
    deadline = time.monotonic() + timeout
    with login.maintenance(name=name, autocommit=False) as connection:
        while not connection.scalar(sa.text("SELECT pg_try_advisory_xact_lock(:key)"), number):
            connection.rollback()
            if time.monotonic() > deadline:
                raise locked(name, "a restore or migration is running, perhaps on another machine")
            time.sleep(_LOOK_SECONDS)
        yield
        connection.rollback()


def tidy_up(maintenance: Connection, live: str) -> None:
    """Drop what processes that were killed have left, and admit connections again."""
    found = maintenance.execute(
        sa.text(
            "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database"
            " WHERE shobj_description(oid, 'pg_database') LIKE :prefix"
        ),
        {"prefix": f"{_PREFIX}%"},
    ).all()
    for database, said in found:
        mark = read_mark(said)
        if mark is None or mark.live != live:
            continue
        key = {"key": mark.lock}
        if not maintenance.scalar(sa.text("SELECT pg_try_advisory_lock(:key)"), key):
            continue  # somebody is working with it
        try:
            if mark.role == "swapping" and properties(maintenance, live) is not None:
                named = quoted(maintenance, live)
                execute(maintenance, f"ALTER DATABASE {named} WITH ALLOW_CONNECTIONS true")
            drop(maintenance, database)
        finally:
            maintenance.execute(sa.text("SELECT pg_advisory_unlock(:key)"), key)


def read_mark(said: str | None) -> Mark | None:
    """Return what the comment of a database of ours says, None for another's."""
    if said is None or not said.startswith(_PREFIX):
        return None
    try:
        return msgspec.json.decode(said.removeprefix(_PREFIX), type=Mark)
    except msgspec.MsgspecError:
        return None


def drop(maintenance: Connection, name: str) -> None:
    """Drop a database of ours, with the sessions that are connected to it."""
    execute(maintenance, f"DROP DATABASE IF EXISTS {quoted(maintenance, name)} WITH (FORCE)")


def comment(connection: Connection, name: str, text: str) -> None:
    """Set the comment of a database."""
    named = quoted(connection, name)
    execute(connection, f"COMMENT ON DATABASE {named} IS {literal(connection, text)}")


def execute(connection: Connection, statement: str) -> None:
    """Execute a statement as it is."""
    connection.execute(sa.text(statement.replace(":", r"\:")))


def quoted(connection: Connection, name: str) -> str:
    """Return a name as it is written in a statement."""
    return connection.dialect.identifier_preparer.quote_identifier(name)


def literal(connection: Connection, text: str) -> str:
    """Return a text as it is written in a statement, where no parameter is allowed."""
    return str(connection.scalar(sa.text("SELECT quote_literal(:text)"), {"text": text}))
