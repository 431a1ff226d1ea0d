"""Schemas that are made beside the live one, and who works with them.

A restore has three: one for its own notes, one for what comes, one for what goes. Each says in its
comment which database it is about. As long as the process lives that works with them, it holds a
lock by their name; what nobody holds is what a kill has left, and is tidied up by the next one, or
what is kept for an undo (:mod:`.kept`).
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb.errors import code_of, live_errors
from soulsense_db.drivers.mariadb.login import Login, seconds
from soulsense_db.drivers.mariadb.statements import execute, literal, quoted, rows, scalar
from soulsense_db.drivers.server_errors import locked
from soulsense_db.notices import cleaning_up

_COMMENT = "soulsense_db: "
_TOKEN_LENGTH = 16
_HELD_SECONDS = 1  # a process that was killed may not be gone yet
_LOOK_SECONDS = 0.01
_NO_SUCH_THREAD = 1094
NEW, OLD = "_new", "_old"


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What the comment of a schema of ours says: ``live`` is the database that it is about."""

    live: str

    def __str__(self) -> str:
        return _COMMENT + msgspec.json.encode(self).decode()


@dataclass(frozen=True, slots=True)
class Work:
    """The schemas of a restore: ``name`` has its notes; ``keeper`` holds the lock by its name.

    ``kept``: the schema that what comes is in already, if any.
    """

    name: str
    live: str
    keeper: Connection
    kept: str | None = None

    @property
    def new(self) -> str:
        """The schema that a backup is loaded into."""
        return self.name + NEW

    @property
    def coming(self) -> str:
        """The schema whose tables become the live ones."""
        return self.kept or self.new

    @property
    def old(self) -> str:
        """The schema that what was replaced goes to."""
        return self.name + OLD


def beginning(live: str) -> str:
    """Return how the names of our schemas begin, which the server sorts after that of ``live``.

    It takes the locks of a statement in this order: those of our own tables shall be the last.
    """
    usual = "~soulsense_"
    return usual if live.encode() < usual.encode() else "\uffee" + usual


def new_name(live: str) -> str:
    """Return a name that nothing has."""
    return beginning(live) + secrets.token_hex(_TOKEN_LENGTH // 2)


@contextmanager
def held(connection: Connection, name: str) -> Iterator[bool]:
    """Hold the lock by a name, if nobody else does: that is what the block is told."""
    got = bool(scalar(connection, f"SELECT GET_LOCK({literal(name)}, {_HELD_SECONDS})"))
    try:
        yield got
    finally:
        if got:
            with cleaning_up(f"The lock {name} could not be released"), live_errors(name):
                scalar(connection, f"SELECT RELEASE_LOCK({literal(name)})")


@contextmanager
def new_schema(login: Login, schema: str, *, live: str, name: str) -> Iterator[Connection]:
    """Hold the lock by the name of a new schema, and make it; yields the connection that holds."""
    with login.connected(name=name) as keeper, held(keeper, schema):
        create(keeper, schema, live=live)
        yield keeper


def create(connection: Connection, schema: str, *, live: str) -> None:
    """Make a schema of ours, with the character set of ``live``."""
    like = rows(
        connection,
        "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME"
        f" FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {literal(live)}",
    )
    charset = f" CHARACTER SET {like[0][0]} COLLATE {like[0][1]}" if like else ""
    comment = literal(str(Mark(live=live)))
    execute(connection, f"CREATE DATABASE {quoted(schema)}{charset} COMMENT {comment}")


@contextmanager
def new_work(login: Login, *, name: str) -> Iterator[Work]:
    """Make the schemas of a restore; whoever asks for them has to drop them."""
    live = login.database
    schema = new_name(live)
    with login.connected(name=name) as keeper, held(keeper, schema):
        work = Work(schema, live, keeper)
        try:
            for one in (work.name, work.new, work.old):
                create(keeper, one, live=live)
        except BaseException:
            drop_all(keeper, work, name)
            raise
        yield work


def drop_all(connection: Connection, work: Work, name: str) -> None:
    """Drop the schemas of a restore, that with the notes last."""
    for one in (work.new, work.old, work.name):
        with cleaning_up(f"The database {one} could not be dropped"), live_errors(name):
            drop(connection, one)


def drop(connection: Connection, schema: str) -> None:
    """Drop a schema of ours."""
    execute(connection, f"DROP DATABASE IF EXISTS {quoted(schema)}")


def left_by_a_kill(
    connection: Connection, live: str, *, without: Collection[str]
) -> Iterator[Work]:
    """Yield what nobody works with any more, each with its lock held; not those ``without``."""
    for schema in ours(connection, live):
        if schema in without:
            continue
        with held(connection, schema) as got:
            if got:
                _end_statements(connection, schema)
                yield Work(schema, live, connection)


def is_in_use(connection: Connection, schema: str) -> bool:
    """Whether a process works with it."""
    return not scalar(connection, f"SELECT IS_FREE_LOCK({literal(schema)})")


def ours(connection: Connection, live: str) -> list[str]:
    """Return the sorted names of the schemas of ours that are about ``live``, without endings."""
    pattern = literal(beginning(live).replace("_", "\\_") + "%")
    found = rows(
        connection,
        "SELECT SCHEMA_NAME, SCHEMA_COMMENT FROM information_schema.SCHEMATA"
        f" WHERE SCHEMA_NAME LIKE {pattern}",
    )
    length = len(beginning(live)) + _TOKEN_LENGTH
    return sorted({str(one)[:length] for one, said in found if _is_about(said, live)})


def _end_statements(connection: Connection, schema: str) -> None:
    """End what still waits in the server for a process that is gone: it might swap later on."""
    pattern = literal("%" + quoted(schema).replace("_", "\\_") + "%")
    asked = (
        "SELECT ID FROM information_schema.PROCESSLIST"
        f" WHERE INFO LIKE {pattern} AND ID <> CONNECTION_ID()"
    )
    end_sessions(connection, asked)


def end_sessions(connection: Connection, asked: str) -> None:
    """End the sessions whose numbers a query returns, until it returns none."""
    while found := rows(connection, asked):
        for (number,) in found:
            try:
                execute(connection, f"KILL {number}")
            except DBAPIError as error:
                if code_of(error) != _NO_SUCH_THREAD:
                    raise
        time.sleep(_LOOK_SECONDS)


def _is_about(said: str, live: str) -> bool:
    if not said.startswith(_COMMENT):
        return False
    try:
        return msgspec.json.decode(said.removeprefix(_COMMENT), type=Mark).live == live
    except msgspec.MsgspecError:
        return False


@contextmanager
def only_swap(connection: Connection, live: str, *, name: str, timeout: float) -> Iterator[None]:
    """Keep other swaps of a database away, also those whose caller has not thought of it."""
    lock = literal(_lock_of("swap", live))
    if not scalar(connection, f"SELECT GET_LOCK({lock}, {seconds(timeout)})"):
        raise locked(name, "another restore is at its end")
    try:
        yield
    finally:
        with cleaning_up("A lock could not be released"), live_errors(name):
            scalar(connection, f"SELECT RELEASE_LOCK({lock})")


def _lock_of(what: str, live: str) -> str:
    return f"soulsense_db {what} {hashlib.sha256(live.encode()).hexdigest()[:32]}"


@contextmanager
def exclusive(login: Login, *, name: str, timeout: float) -> Iterator[None]:
    """Hold a lock that every machine sees that reaches the server."""
    lock = literal(_lock_of("database", login.database))
    with login.connected(name=name) as connection:
        if not scalar(connection, f"SELECT GET_LOCK({lock}, {seconds(timeout)})"):
            raise locked(name, "a restore or migration is running, perhaps on another machine")
        yield
        scalar(connection, f"SELECT RELEASE_LOCK({lock})")
