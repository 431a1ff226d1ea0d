"""Schemas that are made beside the live one, and who works with them.

A restore has three: one for its own notes, one for what comes, one for what goes. Each says which
database it is about: in its name by a checksum, and in its comment, which a server that is killed
in the middle of DROP DATABASE has removed first of all. As long as the process lives that works
with them, it holds a lock by their name; what nobody holds is what a kill has left, and is tidied
up by the next one, or what is kept for an undo (:mod:`.kept`).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.lost_sessions import releasing
from soulsense_db.drivers.mariadb import leases
from soulsense_db.drivers.mariadb.errors import code_of, live_errors
from soulsense_db.drivers.mariadb.leases import Lease
from soulsense_db.drivers.mariadb.login import Login, seconds
from soulsense_db.drivers.mariadb.statements import execute, literal, quoted, rows, scalar
from soulsense_db.drivers.server_errors import locked
from soulsense_db.notices import cleaning_up

_COMMENT = "soulsense_db: "
_DIGEST_LENGTH = 8
_RANDOM_BYTES = 4
_HELD_SECONDS = 1  # a process that was killed may not be gone yet
_LOOK_SECONDS = 0.01
_WAIT_SECONDS = 0.5
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

    ``kept``: the schema that what comes is in already, if any. ``lease``: on a cluster, the lock
    that the other nodes see. ``is_remnant``: nothing but their names says whose they are, as of
    what was made or dropped in part: no notes there are true.
    """

    name: str
    live: str
    keeper: Connection
    kept: str | None = None
    lease: Lease | None = None
    is_remnant: bool = False

    def require_lock(self) -> None:
        """Raise where another process may have taken all this for what a kill has left."""
        if self.lease is not None:
            self.lease.renew()

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
    return _beginning_of_work(live) + secrets.token_hex(_RANDOM_BYTES)


def _beginning_of_work(live: str) -> str:
    return beginning(live) + _digest(live)[:_DIGEST_LENGTH]


def like_ours(live: str) -> str:
    """Return the pattern, as a statement has it, of the names of all our schemas about ``live``."""
    return literal(_beginning_of_work(live).replace("_", "\\_") + "%")


def _digest(live: str) -> str:
    """Return a checksum of a name: one of all its spellings, which may be one database."""
    return hashlib.sha256(live.lower().encode()).hexdigest()


class Held(NamedTuple):
    """Whether a lock was got, and the row that says so to the other nodes of a cluster."""

    got: bool
    lease: Lease | None = None


@contextmanager
def held(
    login: Login, connection: Connection, schema: str, *, live: str, name: str
) -> Iterator[Held]:
    """Hold the lock by the name of a schema, if nobody else does: that is what the block is told.

    In a cluster it is one of all nodes.
    """
    with _held_here(connection, schema) as got:
        locks = _locks(live)
        if not (got and leases.needed(connection, locks)):
            yield Held(got)
            return
        with leases.held(login, locks, schema, name=name, timeout=0) as lease:
            yield Held(lease is not None, lease)


def _locks(live: str) -> str:
    """Return the name of the schema whose rows are locks of a cluster."""
    return f"{beginning(live)}locks"


@contextmanager
def _held_here(connection: Connection, name: str) -> Iterator[bool]:
    """Hold the lock of one server by a name, if nobody else does."""
    got = bool(scalar(connection, f"SELECT GET_LOCK({literal(name)}, {_HELD_SECONDS})"))
    try:
        yield got
    finally:
        if got:
            with releasing():
                scalar(connection, f"SELECT RELEASE_LOCK({literal(name)})")


@contextmanager
def new_schema(login: Login, schema: str, *, live: str, name: str) -> Iterator[Connection]:
    """Hold the lock by the name of a new schema, and make it; yields the connection that holds."""
    with (
        login.connected(name=name) as keeper,
        held(login, keeper, schema, live=live, name=name),
    ):
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
    with (
        login.connected(name=name) as keeper,
        held(login, keeper, schema, live=live, name=name) as found,
    ):
        work = Work(schema, live, keeper, lease=found.lease)
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
    login: Login,
    connection: Connection,
    *,
    name: str,
    without: Collection[str],
    is_awaited: Callable[[str], bool],
) -> Iterator[Work]:
    """Yield what nobody works with any more, each with its lock held; not those ``without``.

    In a cluster a process that was killed keeps its locks for a while: until then it is waited for
    what ``is_awaited``.
    """
    live = login.database
    found_here = _groups(connection, live)
    for schema in sorted(found_here):
        if schema in without:
            continue
        deadline = time.monotonic() + 2 * leases.SECONDS
        while True:
            with held(login, connection, schema, live=live, name=name) as found:
                if found.got:
                    _end_statements(connection, schema)
                    is_remnant = not found_here[schema]
                    yield Work(schema, live, connection, lease=found.lease, is_remnant=is_remnant)
                    break
            # Whether the lock is still held is not asked: it may have ended since.
            if time.monotonic() > deadline or not (
                leases.needed(connection, _locks(live)) and is_awaited(schema)
            ):
                break
            time.sleep(_WAIT_SECONDS)  # as in leases: nothing tells that it is free


def is_in_use(connection: Connection, schema: str, *, live: str) -> bool:
    """Whether a process works with it."""
    if not scalar(connection, f"SELECT IS_FREE_LOCK({literal(schema)})"):
        return True
    locks = _locks(live)
    return leases.needed(connection, locks) and leases.is_held(connection, locks, schema)


def ours(connection: Connection, live: str) -> list[str]:
    """Return the sorted names of the schemas of ours that are about ``live``, without endings."""
    return sorted(one for one, is_known in _groups(connection, live).items() if is_known)


def _groups(connection: Connection, live: str) -> dict[str, bool]:
    """Return the names of what is about ``live``, without endings, and whether a comment says so.

    A server that was killed as it made or dropped a schema leaves it without its comment. Another
    database may have the same checksum, as one whose name has other capitals: so the others of the
    three tell whose it is, and where none does, their notes are not believed.
    """
    begins = _beginning_of_work(live)
    found = rows(
        connection,
        "SELECT SCHEMA_NAME, SCHEMA_COMMENT, @@lower_case_table_names"
        " FROM information_schema.SCHEMATA"
        f" WHERE SCHEMA_NAME LIKE {like_ours(live)}",
    )
    named = re.compile(re.escape(begins) + f"[0-9a-f]{{{2 * _RANDOM_BYTES}}}")
    said: dict[str, dict[str, bool | None]] = {}
    for schema, comment, is_in_lower_case in found:
        if match := named.match(schema):
            is_about = _is_about(comment, live, is_in_lower_case=bool(is_in_lower_case))
            said.setdefault(match[0], {})[schema] = is_about if comment else None
    return {
        name: any(group.values()) for name, group in said.items() if False not in group.values()
    }


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


def _is_about(said: str, live: str, *, is_in_lower_case: bool) -> bool:
    if not said.startswith(_COMMENT):
        return False
    try:
        noted = msgspec.json.decode(said.removeprefix(_COMMENT), type=Mark).live
    except msgspec.MsgspecError:
        return False
    return noted == live or (is_in_lower_case and noted.lower() == live.lower())


@contextmanager
def only_swap(
    login: Login, connection: Connection, *, name: str, timeout: float
) -> Iterator[Lease | None]:
    """Keep other swaps of a database away, also those whose caller has not thought of it."""
    busy = "another restore is at its end"
    with _locked(login, connection, "swap", busy, name=name, timeout=timeout) as lease:
        yield lease


@contextmanager
def exclusive(login: Login, *, name: str, timeout: float) -> Iterator[Lease | None]:
    """Hold a lock that every machine sees that reaches the server, or another of its cluster."""
    busy = "a restore or migration is running, perhaps on another machine"
    with (
        login.connected(name=name) as connection,
        _locked(login, connection, "database", busy, name=name, timeout=timeout) as lease,
    ):
        yield lease


@contextmanager
def _locked(
    login: Login, connection: Connection, what: str, busy: str, *, name: str, timeout: float
) -> Iterator[Lease | None]:
    live = login.database
    lock = _lock_of(what, live)
    if not scalar(connection, f"SELECT GET_LOCK({literal(lock)}, {seconds(timeout)})"):
        raise locked(name, busy)
    try:
        locks = _locks(live)
        if not leases.needed(connection, locks):
            yield None
            return
        with leases.held(login, locks, lock, name=name, timeout=timeout) as lease:
            if lease is None:
                after = f"if it was killed, its lock ends within {leases.SECONDS:.0f} seconds"
                raise locked(name, f"{busy}; {after}")
            yield lease
    finally:
        with releasing():
            scalar(connection, f"SELECT RELEASE_LOCK({literal(lock)})")


def _lock_of(what: str, live: str) -> str:
    return f"soulsense_db {what} {_digest(live)[:32]}"
