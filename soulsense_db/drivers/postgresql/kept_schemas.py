"""What a restore within the database replaced: schemas of other names, until there is a copy.

So writers wait for the moment in which names change, and not for the safety backup, which is
written of these schemas once the live ones are in use again. The comment of one more schema, which
is empty, says what the copy will be for, and how they were called: it is there from the commit of
the restore on, and goes with them.

Whoever waited for that moment may have found his table by then, through a view for one, and goes on
in the replaced one. So nobody writes there from before the copy's moment until it is dropped, in
the same transaction: what he commits is in the copy, or he gets an error.

The backup must be what it would be of the live schemas. So only those are kept of which ``pg_dump``
writes the same under both names, but for the name (:func:`may_be_kept`): for others, writers wait.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import Self

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from soulsense_db.drivers.postgresql import inventory, schema_watch, snapshot
from soulsense_db.drivers.postgresql.errors import (
    kept_for_another,
    kept_in_part,
    live_errors,
    made_meanwhile,
    others_depend_on,
)
from soulsense_db.drivers.postgresql.holders import READING, SHARING, Use, naming_holders
from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.postgresql.renaming import Names, Renamed
from soulsense_db.drivers.postgresql.statements import KEPT, OF_USERS, execute
from soulsense_db.drivers.postgresql.tools import Tools
from soulsense_db.drivers.results import SnapshotInfo
from soulsense_db.drivers.server_errors import locked
from soulsense_db.errors import DatabaseFileNotFoundError

_TOKEN_BYTES = 8
_LOOK_SECONDS = 0.02
_MOST = 10_000  # by the digits of their names
_NOTE = re.compile(rf"{KEPT}[0-9a-f]{{{2 * _TOKEN_BYTES}}}")
_PLAIN = re.compile("[a-z_][a-z0-9_]*")
PLACE = (
    "SELECT system_identifier || ' ' || d.oid FROM pg_catalog.pg_control_system(), pg_database d"
    " WHERE d.datname = current_database()"
)
"""The query for what tells the database from all others: a copy of it has a copy of the note."""
# What is usual of ``public`` pg_dump does not write: a schema of another name has it as any other.
# Its comment it writes also where there is none. (``getNamespaces`` in PostgreSQL's pg_dump.c.)
_IS_USUAL = """(obj_description(n.oid, 'pg_namespace') IS NOT NULL
    AND (SELECT count(*) = 3 AND bool_and(a.grantor = n.nspowner AND NOT a.is_grantable AND (
        (a.grantee = n.nspowner AND a.privilege_type IN ('CREATE', 'USAGE'))
        OR (a.grantee = 0 AND a.privilege_type = 'USAGE')))
        FROM aclexplode(n.nspacl) AS a))"""
# To drop a schema takes a lock for each object: by what a server has by its settings, and may not
# have more of, in the very end it must not fail.
_LOCKS = " + ".join(
    f"(SELECT count(*) FROM pg_catalog.{catalog} WHERE oid >= 16384)"  # noqa: S608 - ours
    for catalog in (
        *("pg_class", "pg_type", "pg_constraint", "pg_attrdef", "pg_proc", "pg_trigger"),
        *("pg_rewrite", "pg_policy", "pg_operator", "pg_statistic_ext"),
    )
)
_HAS_LOCKS = f"""{_LOCKS} <= current_setting('max_locks_per_transaction')::bigint * (
    current_setting('max_connections')::bigint
    + current_setting('max_prepared_transactions')::bigint)"""
# What the user may not read can be in no copy: it would be replaced all the same.
_MAY_BE_KEPT = sa.text(f"""
    SELECT count(*) BETWEEN 1 AND {_MOST} AND {_HAS_LOCKS}
        AND has_function_privilege('pg_control_system()', 'EXECUTE')
        AND bool_and(quote_ident(n.nspname) = n.nspname
        AND (n.nspname <> 'public' OR {_IS_USUAL})
        AND NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid
            AND (c.relkind IN ('r', 'p', 'm') AND (NOT has_table_privilege(c.oid, 'SELECT')
                    OR c.relrowsecurity AND row_security_active(c.oid))
                OR c.relkind = 'S' AND NOT has_sequence_privilege(c.oid, 'SELECT'))))
    FROM pg_namespace n WHERE {OF_USERS}
""")  # noqa: S608 - a constant
# Of somebody else it is not believed: whoever may make a schema could say so.
_NOTES = sa.text(
    "SELECT n.nspname, obj_description(n.oid, 'pg_namespace') FROM pg_namespace n"  # noqa: S608 - ours
    f" JOIN pg_roles r ON r.oid = n.nspowner WHERE starts_with(n.nspname, '{KEPT}')"
    " AND r.rolname = current_user ORDER BY n.oid"
)
_TABLES = sa.text(
    "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = ANY(:schemas) AND c.relkind IN ('r', 'p') ORDER BY c.oid"
)
# To ask for more than how the note begins would take a function that may be forbidden.
_OF_OTHERS = sa.text(
    "SELECT quote_ident(r.rolname), n.nspname FROM pg_namespace n"  # noqa: S608 - ours
    f" JOIN pg_roles r ON r.oid = n.nspowner WHERE starts_with(n.nspname, '{KEPT}')"
    " AND obj_description(n.oid, 'pg_namespace') LIKE '{\"purpose\": %'"
    " AND r.rolname <> current_user"
)


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    """What the comment says; ``own``: the names that the schemas had, by those that they have.

    ``version_table`` is Alembic's, as the application's statements found it; ``purpose``: what the
    copy will be for; ``place``: as of :data:`PLACE`.
    """

    purpose: str
    place: str
    version_table: str | None
    own: dict[str, str]

    def is_of(self, name: str) -> bool:
        """Whether it can be that of the schema ``name``: what it says is put into statements."""
        own = self.own.items()
        return bool(own) and all(
            re.fullmatch(rf"{name}_\d{{4}}", now) and _PLAIN.fullmatch(was) for now, was in own
        )


def may_be_kept(connection: Connection) -> bool:
    """Whether the live schemas are such that they may be kept; they are not where there is none."""
    return bool(connection.scalar(_MAY_BE_KEPT))


def is_usual(schema: str) -> str:
    """Return the query that tells whether ``schema`` has what is usual of ``public``."""
    return f"SELECT {_IS_USUAL} FROM pg_namespace n WHERE n.nspname = '{schema}'"  # noqa: S608 - ours


class _Kept(snapshot.Live):
    """The schemas that were kept, of which ``own`` has the names that they had."""

    may_have_jobs = False

    def __init__(self, own: Mapping[str, str], *, name: str) -> None:
        self._own = own
        self._names = Names(own)
        self._renamed = Renamed(self._names, name=name)
        self.switches = tuple(f"--schema={one}" for one in own)

    def tables(self, connection: Connection) -> list[inventory.Found]:
        return inventory.tables_in(connection, self._own)

    def schemas(self, connection: Connection) -> tuple[str, ...]:
        del connection
        return tuple(sorted(self._own.values()))

    def chunks(self, output: BufferedReader) -> Iterator[bytes]:
        return self._renamed.chunks(output)

    def require_whole(self) -> None:
        self._renamed.require_whole()

    def own(self, name: str) -> str:
        return self._names.in_text(name)

    def now(self, name: str | None) -> str | None:
        schema, dot, table = (name or "").partition(".")
        now = next((one for one, own in self._own.items() if own == schema), None)
        return None if now is None else f"{now}{dot}{table}"


def new_name() -> str:
    """Return how the names begin that the schemas get in one restore."""
    return f"{KEPT}{secrets.token_hex(_TOKEN_BYTES)}"


def numbers_of(beginning: str) -> str:
    """Return the query for the numbers of those whose names begin so."""
    return f"SELECT oid FROM pg_namespace WHERE starts_with(nspname, '{beginning}_')"  # noqa: S608 - a name of ours


def name_of(beginning: str, number: int) -> str:
    """Return the name of one of them: all are equally long, and none begins as another one does."""
    return f"{beginning}_{number:04}"


def keeping(
    beginning: str,
    own: Mapping[str, str],
    *,
    purpose: str,
    place: str,
    version_table: str | None,
) -> tuple[str, str]:
    """Return the statements that note what is kept; ``own``: the names that they had."""
    note = _Note(purpose=purpose, place=place, version_table=version_table, own=dict(own))
    # The database may have an encoding in which a path cannot be written; nothing in dollars ends
    # a text, whatever the session's settings are.
    text = json.dumps(msgspec.to_builtins(note))
    return (
        f"CREATE SCHEMA {beginning}",
        f"COMMENT ON SCHEMA {beginning} IS ${beginning}${text}${beginning}$",
    )


def _noted(connection: Connection) -> tuple[str, _Note] | None:
    for name, said in connection.execute(_NOTES).all():
        if said is None or not _NOTE.fullmatch(name):
            continue
        try:
            note = msgspec.json.decode(said, type=_Note)
        except msgspec.MsgspecError:
            continue  # no note of ours
        # Not before there is one: it may be a function that the user may not call.
        if note.is_of(name) and note.place == str(execute(connection, PLACE).scalar_one()):
            return str(name), note
    return None


def require_none_of_others(connection: Connection, *, name: str) -> None:
    """Raise where a restore by somebody else has left what it replaced.

    No backup has it, and with the database it would go.
    """
    for owner, schema in connection.execute(_OF_OTHERS):
        raise kept_for_another(name, owner, schema)


@dataclass(frozen=True, slots=True)
class KeptSchemas:
    """Schemas of the live database ``live`` that are kept, and of which there is no file yet.

    ``connection`` keeps writers out of them, where they are :meth:`held`.
    """

    login: Login
    live: str
    beginning: str
    note: _Note
    connection: Connection | None = None
    lock_timeout: float = 0

    @property
    def purpose(self) -> str:
        """What the copy will be for."""
        return self.note.purpose

    @contextmanager
    def held(self, *, lock_timeout: float) -> Iterator[Self]:
        """Keep writers out of them for the block, and until they are dropped.

        Raises :class:`~soulsense_db.errors.DatabaseLockedError` where somebody goes on writing.
        """
        live = self.live
        deadline = time.monotonic() + lock_timeout
        with self.login.connected(name=live, autocommit=False) as connection, live_errors(live):
            held = replace(self, connection=connection, lock_timeout=lock_timeout)
            held._require_all()
            before = set(held._asked(schema_watch.WRITING))
            while True:
                with self._naming_holders(SHARING):
                    held._lock("SHARE", deadline - time.monotonic())
                # Who makes a table there, since before the commit, may be waiting for that lock;
                # and who has written by now may have made a function.
                makers, now = held._asked(schema_watch.MAKERS), held._asked(schema_watch.WRITING)
                if not makers and before.isdisjoint(now):
                    break
                connection.rollback()  # sessions that it has seen are forgotten as well
                if time.monotonic() > deadline:
                    raise locked(live, "a transaction of before the restore has not ended")
                time.sleep(_LOOK_SECONDS)  # nothing tells that it has ended
            if made := held._asked(schema_watch.LEADING_OUT):
                raise made_meanwhile(live, made)
            yield held

    def _require_all(self) -> None:
        """Raise where somebody has dropped some of them: what is left is no backup."""
        there = set(self._asked("SELECT nspname FROM pg_namespace WHERE oid IN ({old})"))
        if gone := [own for now, own in self.note.own.items() if now not in there]:
            raise kept_in_part(self.live, gone, sorted({*there, self.beginning}))

    def _lock(self, mode: str, seconds: float) -> None:
        """Lock all tables, when nobody has a lock that is in the way."""
        assert self.connection is not None  # it is held
        connection = self.connection
        execute(connection, f"SET LOCAL lock_timeout = {max(1, int(1000 * seconds))}")
        tables = connection.scalars(_TABLES, {"schemas": list(self.note.own)}).all()
        if tables:
            listed = ", ".join(f"ONLY {one}" for one in tables)
            execute(connection, f"LOCK TABLE {listed} IN {mode} MODE")

    def _asked(self, query: str) -> list[str]:
        """Return what ``query`` finds, of one column, in their schemas."""
        assert self.connection is not None  # it is held
        found = execute(self.connection, query.format(old=numbers_of(self.beginning)))
        return [str(one) for one in found.scalars()]

    @contextmanager
    def _naming_holders(self, use: Use) -> Iterator[None]:
        with (
            naming_holders(self.login, use, name=self.live, schemas=self.beginning),
            live_errors(self.live),
        ):
            yield

    def write_copy(self, tools: Tools, target: Path, *, lock_timeout: float) -> SnapshotInfo:
        """Write them to the existing empty file ``target``."""
        with live_errors(self.live):
            return snapshot.write(
                self.login,
                tools,
                target,
                name=self.live,
                lock_timeout=lock_timeout,
                version_table=self.note.version_table,
                part=_Kept(self.note.own, name=self.live),
                progress=None,
            )

    def keep(self, copy: Path | None) -> None:
        """Drop them: there is a copy.

        Where somebody reads them for longer than the lock timeout, as a program may that dumps all
        that it finds, they stay, and are copied anew: they may be written to from now on.
        """
        del copy
        assert self.connection is not None  # it is held
        schemas = ", ".join((*self.note.own, self.beginning))
        with self._naming_holders(READING):
            self._lock("ACCESS EXCLUSIVE", self.lock_timeout)
        with live_errors(self.live):
            # Nobody is reading there any more, who would make something of it.
            if dependents := self._asked(schema_watch.DEPENDENTS):
                raise others_depend_on(self.live, dependents)
            execute(self.connection, f"DROP SCHEMA {schemas} CASCADE")
            self.connection.commit()


def without_copy(login: Login, *, name: str) -> KeptSchemas | None:
    """Return the kept schemas, of the live database ``name``, of which there is no file yet."""
    try:
        with login.connected(name=name) as connection:
            found = _noted(connection)
    except DatabaseFileNotFoundError:
        return None
    return None if found is None else KeptSchemas(login, name, *found)
