"""Databases that are made beside the live one.

Each database of ours says in its comment what it is. As long as the process lives that works with
it, it holds an advisory lock; what nobody holds is what a kill has left, and is tidied up by the
next one. What is kept for an undo (:mod:`.kept`) stays.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.lost_sessions import releasing
from soulsense_db.drivers.postgresql.archive import Locale
from soulsense_db.drivers.postgresql.errors import NO_RIGHT, code_of, live_errors
from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.postgresql.properties import like, properties
from soulsense_db.drivers.postgresql.statements import execute, literal, quoted
from soulsense_db.drivers.server_errors import locked
from soulsense_db.errors import BackupError
from soulsense_db.notices import Wait, cleaning_up, log_ignored

_PREFIX = "soulsense_db: "
_HALF_BYTES = 4
_LOOK_SECONDS = 0.05
_OURS = re.compile(r"soulsense_([0-9a-f]{16})")
# For as long as the lock is held, the transaction does nothing; what it sets ends with it.
_KEPT = (
    "SELECT pg_catalog.set_config(name, '0', true) FROM pg_catalog.pg_settings WHERE name IN"
    " ('idle_in_transaction_session_timeout', 'statement_timeout', 'transaction_timeout')"
)
_END = sa.text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = :name AND usesysid IS NOT NULL"
)
_MOST_LOOKS = 100
_MOST_DROPS = 5
_CHECKPOINT = "checkpoint request failed"
# From PostgreSQL 17 on, one may write a row for each login: for ours, to a database that is being
# filled, too. Who may not switch them off may not restore any either.
_MAY_SWITCH_OFF = sa.text(
    "SELECT EXISTS (SELECT FROM pg_settings WHERE name = 'event_triggers')"
    " AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
)
Role = Literal["scratch", "replaced", "kept"]


class Mark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the comment of a database of ours says: ``live`` is the database that it is about.

    Of a kept one, ``purpose`` is what its copy will be for, ``version_table`` is Alembic's, as the
    application's statements found it, and ``copy`` the checksum of the file, once there is one.
    """

    role: Role
    live: str
    token: str
    purpose: str = ""
    version_table: str | None = None
    copy: str | None = None

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


def new_token(live: str) -> str:
    """Return what a database of ours is named after: its first half says of which live one."""
    return _half(live) + secrets.token_hex(_HALF_BYTES)


def _half(live: str) -> str:
    return hashlib.blake2b(live.encode(), digest_size=_HALF_BYTES).hexdigest()


def name_of(token: str) -> str:
    """Return the name of a database of ours."""
    return f"soulsense_{token}"


@contextmanager
def new_database(
    login: Login, *, live: str, name: str, locale: Locale, token: str | None = None
) -> Iterator[NewDatabase]:
    """Make an empty database like ``live``; it is dropped when the block ends, if it has its name.

    ``name`` is what errors call the live one, ``locale`` what was recorded of it; ``token``: that
    of the new one's name.
    """
    with login.maintenance(name=name) as maintenance:
        tidy_up(maintenance, live)
        mark = Mark(role="scratch", live=live, token=token or new_token(live))
        maintenance.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": mark.lock})
        made = name_of(mark.token)
        words = like(maintenance, properties(maintenance, live), locale)
        execute(maintenance, f"CREATE DATABASE {quoted(made)} {words}")
        try:
            execute(maintenance, set_comment(maintenance, made, str(mark)))
            if maintenance.scalar(_MAY_SWITCH_OFF):
                execute(maintenance, f"ALTER DATABASE {quoted(made)} SET event_triggers = off")
            yield NewDatabase(made, mark, maintenance)
        finally:
            with cleaning_up(f"The database {made} could not be dropped"), live_errors(name):
                drop(maintenance, made)
            with releasing():
                maintenance.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": mark.lock})


def give_name(made: NewDatabase, name: str) -> None:
    """Give a new database the name of one that is missing, and take our comment off."""
    in_transaction(
        made.maintenance,
        f"ALTER DATABASE {quoted(made.name)} RESET ALL",
        f"ALTER DATABASE {quoted(made.name)} RENAME TO {quoted(name)}",
        set_comment(made.maintenance, name, None),
        name=name,
    )


def in_transaction(connection: Connection, *statements: str, name: str) -> None:
    """Execute statements, all or none; ``name`` is what errors call the live database."""
    try:
        for statement in ("BEGIN", *statements, "COMMIT"):
            execute(connection, statement)
    except BaseException:
        with cleaning_up("A transaction could not be taken back"), live_errors(name):
            execute(connection, "ROLLBACK")
        raise


@contextmanager
def exclusive(login: Login, *, name: str, timeout: float) -> Iterator[None]:
    """Hold the lock of the live database that other machines see, until the block ends.

    It is one of a transaction: behind a pooler that lends connections to transactions, one of a
    session would stay with somebody else's.
    """
    key = hashlib.blake2b(f"soulsense_db {login.database}".encode(), digest_size=8).digest()
    number = {"key": int.from_bytes(key, "big", signed=True)}
    deadline = time.monotonic() + timeout
    with login.maintenance(name=name, autocommit=False, own_session=False) as connection:
        execute(connection, _KEPT)
        wait = Wait(f"another restore or migration of {name} to end")
        while not connection.scalar(sa.text("SELECT pg_try_advisory_xact_lock(:key)"), number):
            connection.rollback()
            if time.monotonic() > deadline:
                raise locked(name, "a restore or migration is running, perhaps on another machine")
            wait.goes_on()
            time.sleep(_LOOK_SECONDS)
            execute(connection, _KEPT)
        yield
        connection.rollback()


def recover(login: Login, *, name: str) -> None:
    """Do :func:`tidy_up`, as far as the user may: what is left goes with the next restore."""
    with (
        suppress(BackupError),
        login.maintenance(name=name) as maintenance,
        live_errors(name),
    ):
        tidy_up(maintenance, login.database)


def tidy_up(maintenance: Connection, live: str) -> None:
    """Drop what processes that were killed have left."""
    broken = broken_databases(maintenance)
    for database, mark in marked(maintenance, live):
        if mark.role == "kept" and database not in broken:
            continue
        key = {"key": mark.lock}
        if not maintenance.scalar(sa.text("SELECT pg_try_advisory_lock(:key)"), key):
            continue  # somebody is working with it
        try:
            drop(maintenance, database)
        except DBAPIError as error:
            if maintenance.invalidated:
                raise
            # As with a full disk: what is there keeps nobody from going on, and goes another time.
            log_ignored(f"The database {database} could not be dropped", error)
        finally:
            maintenance.execute(sa.text("SELECT pg_advisory_unlock(:key)"), key)


def broken_databases(maintenance: Connection) -> set[str]:
    """Return the names of databases that cannot be used: to drop them is all that can be done.

    A ``DROP DATABASE`` that was cut off leaves one.
    """
    found = maintenance.scalars(sa.text("SELECT datname FROM pg_database WHERE datconnlimit = -2"))
    return set(found)


def marked(maintenance: Connection, live: str) -> list[tuple[str, Mark]]:
    """Return the names of the databases of ours that are about ``live``, with what they say."""
    asked = maintenance.execute(
        sa.text(
            "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database"
            " WHERE datname LIKE :ours OR shobj_description(oid, 'pg_database') LIKE :prefix"
        ),
        {"prefix": f"{_PREFIX}%", "ours": "soulsense\\_%"},
    ).all()
    found = []
    for database, said in asked:
        # By its name as well: who gives one another name wants to keep it.
        named = _OURS.fullmatch(database)
        mark = read_mark(said) if said else _mark_of_name(database, live)
        if named is not None and mark is not None and mark.live == live:
            found.append((database, mark))
    return found


def _mark_of_name(name: str, live: str) -> Mark | None:
    """Return that of a database without a comment: its maker was killed before it wrote one."""
    match = _OURS.fullmatch(name)
    if match is None or not match[1].startswith(_half(live)):
        return None
    return Mark(role="scratch", live=live, token=match[1])


def read_mark(said: str | None) -> Mark | None:
    """Return what the comment of a database of ours says, None for another's."""
    if said is None or not said.startswith(_PREFIX):
        return None
    try:
        return msgspec.json.decode(said.removeprefix(_PREFIX), type=Mark)
    except msgspec.MsgspecError:
        return None


_IS_TEMPLATE = sa.text("SELECT datistemplate FROM pg_database WHERE datname = :name")


def drop(maintenance: Connection, name: str) -> None:
    """Drop a database of ours, with the sessions that are connected to it.

    Autovacuum may only be ended by superusers; without force the server ends it for anybody.
    """
    statement = f"DROP DATABASE IF EXISTS {quoted(name)}"
    if maintenance.scalar(_IS_TEMPLATE, {"name": name}):  # as the live one was that it replaced
        execute(maintenance, f"ALTER DATABASE {quoted(name)} IS_TEMPLATE false")
    try:
        execute(maintenance, f"{statement} WITH (FORCE)")
    except DBAPIError as error:
        if code_of(error) != NO_RIGHT and _CHECKPOINT not in str(error):
            raise
    else:
        return
    for left in reversed(range(_MOST_DROPS)):
        try:
            execute(maintenance, statement)
        except DBAPIError as error:
            # With a full disk, what is not written yet of it may fail the checkpoint that the
            # first one waits for, and one that had begun before that the second.
            if _CHECKPOINT not in str(error) or not left:
                raise
        else:
            return


def exists(connection: Connection, name: str) -> bool:
    """Whether the server has a database of this name."""
    asked = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = :name)"
    return bool(connection.scalar(sa.text(asked), {"name": name}))


def end_sessions(maintenance: Connection, name: str) -> None:
    """End the sessions of a database of ours, which a pooler keeps for whoever comes next."""
    for _ in range(_MOST_LOOKS):
        if not maintenance.scalar(_END, {"name": name}):
            return
        time.sleep(_LOOK_SECONDS)


def set_comment(connection: Connection, name: str, text: str | None) -> str:
    """Return the statement that sets the comment of a database, or takes it off."""
    return f"COMMENT ON DATABASE {quoted(name)} IS {literal(connection, text) if text else 'NULL'}"
