"""Restore within the live database, for a user who may not make another one.

All of it is one transaction of ``psql``: the live schemas get other names, the backup is restored
beside them, and what was live is dropped, or kept (:mod:`.kept_schemas`). Others see what was there
until it commits, and a kill at any moment, of this process or of the server, leaves that. Writers
wait from :meth:`Ready.lock` on: where what was live is dropped, as long as the safety backup takes.

Readers have to wait at the end as well. Who has read a table in a transaction that is still open
would go on with the old one: its locks keep us from the old tables. (Measured: without locks on
them, a transaction could see both.)
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from soulsense_db.drivers.postgresql import (
    archive,
    inventory,
    kept_schemas,
    opening,
    schema_lock,
    schema_watch,
    snapshot,
)
from soulsense_db.drivers.postgresql.blockers import naming_blockers, saying_what_is_awaited
from soulsense_db.drivers.postgresql.errors import (
    CONCURRENTLY_UPDATED,
    LOCK_NOT_AVAILABLE,
    others_depend_on,
)
from soulsense_db.drivers.postgresql.holders import READING, WRITING, Use, naming_holders
from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.postgresql.outcome import has_committed
from soulsense_db.drivers.postgresql.psql import Psql, session
from soulsense_db.drivers.postgresql.restoring import require_version
from soulsense_db.drivers.postgresql.rights import to_swap_databases
from soulsense_db.drivers.postgresql.schema_rights import require_nothing_outside, statements
from soulsense_db.drivers.postgresql.statements import execute
from soulsense_db.drivers.postgresql.tool_errors import refused_by_server
from soulsense_db.drivers.postgresql.tools import Tools
from soulsense_db.drivers.results import ConcurrentCommitError, WriteLock
from soulsense_db.drivers.server_errors import damaged_backup, locked
from soulsense_db.drivers.server_programs import chunks_of
from soulsense_db.errors import BackupError
from soulsense_db.notices import log_ignored
from soulsense_db.progress import Progress

_RESTORE = ("--file=-", "--no-subscriptions")
_PATIENCE_SECONDS = 1.0
_LOOK_SECONDS = 0.05
_UNLOCKED = "SAVEPOINT unlocked"


class Ready:
    """A backup that was restored in a transaction, which nobody sees yet; also its write lock."""

    def __init__(
        self,
        psql: Psql,
        login: Login,
        *,
        name: str,
        sha256: str,
        version_table: str | None,
        lock_timeout: float,
    ) -> None:
        self._psql, self._login, self._name = psql, login, name
        self._sha256, self._lock_timeout = sha256, lock_timeout
        self._version_table = version_table
        self._begin = kept_schemas.new_name()
        self._old = kept_schemas.numbers_of(self._begin)
        self._own: dict[str, str] = {}  # the names of the live schemas, by those that they got
        self._restored: tuple[str, ...] = ()
        self._own_unlocked: dict[str, str] = {}
        self._made: str | None = None  # what tells the catalogs from others, once all is locked
        self._is_released = False
        self._drops, self._gives_way_until = False, 0.0
        self._transaction, self._process = "", 0

    def is_of(self, source: Path) -> bool:
        """Whether it was made of the backup file ``source``, whatever its name is now."""
        return archive.read(source).sha256 == self._sha256

    def make_room(self, schemas: tuple[str, ...]) -> None:
        """Begin, and rename the live schemas; make ``public`` where ``schemas`` has it."""
        asked = ("SELECT pg_current_xact_id()", "SELECT pg_backend_pid()")
        self._transaction, process = self._psql.execute(*opening.BEGIN, opening.ENCODING, *asked)
        self._process = int(process)
        self._set_aside()
        self._restored = schemas
        if opening.PUBLIC in schemas:
            with self.naming_blockers():
                self._psql.execute(*opening.MAKE_PUBLIC)

    def feed(self, chunks: Iterable[memoryview]) -> None:
        """Execute the script of the backup."""
        self._psql.feed(chunks)
        self._psql.execute(opening.ENCODING)

    def naming_blockers(self) -> AbstractContextManager[None]:
        """Wait for others no longer than the lock timeout, and name them."""
        return naming_blockers(
            self._psql,
            self._login,
            name=self._name,
            ours=self._process,
            lock_timeout=self._lock_timeout,
        )

    def _set_aside(self) -> None:
        """Rename all schemas but those that are restored: also what others have made since."""
        # It waits for who is changing the schema itself, as its rights, and has not committed.
        limited = f"SET LOCAL lock_timeout = '{self._lock_timeout} s'"
        deadline = time.monotonic() + self._lock_timeout
        with self.naming_blockers(), saying_what_is_awaited(self._psql, name=self._name):
            self._psql.execute(limited)
            while not self._has_renamed_all():
                if time.monotonic() > deadline:
                    raise self._is_changed()
            self._psql.execute("SET LOCAL lock_timeout = 0")

    def _has_renamed_all(self) -> bool:
        """Rename them; return False where somebody has changed one at the same time."""
        for schema, quoted in map(json.loads, self._psql.execute(opening.SCHEMAS)):
            if schema in self._restored:
                continue
            old = kept_schemas.name_of(self._begin, len(self._own))
            rename = f"ALTER SCHEMA {quoted} RENAME TO {old}"
            self._psql.execute("SAVEPOINT renaming")
            if not self._psql.attempt(rename, unless=CONCURRENTLY_UPDATED):
                self._psql.execute("ROLLBACK TO renaming")
                return False
            self._psql.execute("RELEASE renaming")
            self._own[old] = quoted
        return True

    def counted(self) -> dict[str, int]:
        """Return how many rows each restored table has, by the name that is shown."""
        columns = "schema, name, copied, kind, columns, key, condition, root"
        lines = self._psql.execute(
            f"SELECT jsonb_build_array({columns}) FROM ({inventory.TABLES}) AS one ({columns})"  # noqa: S608
        )
        found = inventory.tables_of(map(json.loads, lines))
        here = [one for one in found if one.has_rows and one.schema in self._restored]
        counted = {}
        for one in here:
            parts = [f"SELECT count(*) FROM {what}" for what in one.counted]  # noqa: S608
            numbers = map(int, self._psql.execute(*parts))
            counted[archive.shown_name(one.schema, one.name)] = sum(numbers)
        return counted

    def lock(self) -> None:
        """Keep writers out of the live tables; when it is done before, do nothing."""
        if self._made is not None:
            return
        deadline = time.monotonic() + self._lock_timeout
        # There must be time for more attempts, also with a new safety backup.
        self._gives_way_until = self._gives_way_until or time.monotonic() + self._lock_timeout / 4
        self._psql.execute(_UNLOCKED)
        self._own_unlocked = dict(self._own)
        seen = self._look()
        while self._made is None:
            self._set_aside()
            self._lock_all("EXCLUSIVE", schema_watch.LOCK_SEQUENCES.format(old=self._old))
            before, seen = seen, self._look()
            if seen == before:  # nobody has made a table meanwhile that is not locked
                self._made = seen
            elif time.monotonic() > deadline:
                raise self._is_changed()

    def _unlock(self) -> None:
        """Let everybody in again."""
        self._psql.execute(f"ROLLBACK TO {_UNLOCKED}", f"RELEASE {_UNLOCKED}")
        self._own, self._made = self._own_unlocked, None

    def _look(self) -> str:
        """Return what tells the catalogs from any other, as another session sees them."""
        with self._login.connected(name=self._name) as connection:
            would_do = statements(to_swap_databases(connection))
            require_nothing_outside(connection, name=self._name, otherwise=would_do)
            return str(execute(connection, schema_watch.CATALOGS).scalar_one())

    def _is_changed(self) -> BackupError:
        return locked(
            self._name, "somebody makes tables or functions in it, or changes what is there"
        )

    def commit(self, write_lock: WriteLock | None, *, keeps: str | None) -> None:
        """Let everybody see what was restored; drop what was live, or keep it for a purpose.

        ``write_lock``: this, or another that keeps writers out until now.
        """
        if write_lock is not None and write_lock is not self:
            write_lock.release()
        self.lock()
        if write_lock is not None and write_lock.has_concurrent_commit():
            raise ConcurrentCommitError
        self._drops = keeps is None
        with saying_what_is_awaited(self._psql, name=self._name):
            self._commit(keeps)

    def _commit(self, keeps: str | None) -> None:
        deadline = time.monotonic() + self._lock_timeout
        while True:
            ours = (
                self._dropped(deadline) if keeps is None else self._set_aside_for(keeps, deadline)
            )
            if ours is not None and self._is_committed(ours):
                return
            if time.monotonic() > deadline:
                with self._naming_holders(READING):
                    raise self._is_changed()
            # Everybody is let in for a moment: who has written something may be waiting for us.
            self._unlock()
            if keeps is None:  # what they commit is in no copy
                raise ConcurrentCommitError
            time.sleep(_LOOK_SECONDS)  # for them; nothing tells that they have ended
            self.lock()

    def _is_committed(self, ours: str) -> bool:
        """Commit if nobody is at work, and the catalogs are ``ours``; return whether it was so."""
        poll, self._psql.poll = self._psql.poll, lambda: None  # it cannot be taken back any more
        self._is_released = True
        commit = schema_watch.commit(ours, old=self._old, overlooks=self._overlooks())
        try:
            self._is_released = self._psql.attempt(commit, unless=LOCK_NOT_AVAILABLE)
        except BackupError as error:
            if not self._has_committed():
                raise
            log_ignored("The server has committed all the same", error)
        self._psql.poll = poll
        return self._is_released

    def _set_aside_for(self, purpose: str, deadline: float) -> str | None:
        """Keep readers out as well, and note what is kept; return the catalogs as we see them.

        None where somebody is in the way. What he commits is replaced, and in the copy.
        """
        patience = min(_PATIENCE_SECONDS, deadline - time.monotonic())
        if not self._is_waited_for() and self._readers_are_out(patience):
            self._require_nothing_made_of_it()
            self._note_kept(purpose)
            (ours,) = self._psql.execute(schema_watch.CATALOGS)
            if self._look() == self._made and not self._is_waited_for():
                return ours
        return None

    def _overlooks(self) -> bool:
        """Whether those are overlooked that wait, and may have written to temporary tables only.

        They may have made a function. So they are let in as long as there is time; but where such
        transactions come all the time, that has no end.
        """
        return time.monotonic() > self._gives_way_until

    def _is_waited_for(self) -> bool:
        return self._psql.execute(
            *schema_watch.waiting(self._old, overlooks=self._overlooks())
        ) == ["t"]

    def _readers_are_out(self, patience: float, drop: str = "") -> bool:
        """Lock all tables against readers as well, when nobody has written anything, and ``drop``.

        Who has made a table, and waits for us, is not waited for: that would be a deadlock of his.
        """
        no_writers = schema_watch.require_no_writers(self._old, overlooks=self._overlooks())
        then = no_writers
        if drop:
            nothing_made = schema_watch.REQUIRE_NOTHING_TEMPORARY.format(old=self._old)
            then = f"{no_writers} {nothing_made} {drop} {no_writers}"
        return self._lock_all("ACCESS EXCLUSIVE", then, patience=patience)

    def _require_nothing_made_of_it(self) -> None:
        """Raise for temporary tables; what else others have made, a look at the catalogs finds."""
        dependents = self._psql.execute(schema_watch.DEPENDENTS.format(old=self._old))
        if temporary := [one for one in dependents if one.startswith("pg_temp_")]:
            raise others_depend_on(self._name, temporary)

    def _dropped(self, deadline: float) -> str | None:
        """Keep readers out as well, and drop what was live; return the catalogs as we see them.

        None where somebody has written something, and waits for us.
        """
        self._require_nothing_made_of_it()
        drop = f"DROP SCHEMA {', '.join(self._own)} CASCADE;" if self._own else ""
        while not self._is_waited_for():
            if self._readers_are_out(min(_PATIENCE_SECONDS, deadline - time.monotonic()), drop):
                # As we see the catalogs ourselves, they are compared last: what is dropped is gone
                # for us, and nobody else can change it any more.
                (ours,) = self._psql.execute(schema_watch.CATALOGS)
                return ours if self._look() == self._made else None
            if time.monotonic() > deadline:
                break
        return None

    def _note_kept(self, purpose: str) -> None:
        """Note it, if they are such as when it was asked whether they may be kept."""
        (place,) = self._psql.execute(kept_schemas.PLACE)
        public = [now for now, own in self._own.items() if own == opening.PUBLIC]
        usual = self._psql.execute(*map(kept_schemas.is_usual, public))
        has_odd_name = any(own.startswith('"') for own in self._own.values())
        if not self._own or has_odd_name or usual != ["t"] * len(public):
            raise self._is_changed()
        noted = kept_schemas.keeping(
            self._begin,
            self._own,
            purpose=purpose,
            place=place,
            version_table=self._version_table,
        )
        self._psql.execute(*noted)

    def _lock_all(self, mode: str, then: str = "", *, patience: float | None = None) -> bool:
        """Lock all live tables, and do ``then`` (statements) so long as they are locked.

        Returns False when that is not possible for ``patience`` seconds; without, it raises when
        the lock timeout has passed.
        """
        seconds = self._lock_timeout if patience is None else max(0, patience)
        use = WRITING if mode == "EXCLUSIVE" else READING
        with (
            self._naming_holders(use),
            saying_what_is_awaited(self._psql, name=self._name),
        ):
            gave_up = self._psql.execute(
                *schema_lock.statements(
                    mode,
                    self._old,
                    then,
                    seconds=seconds,
                    raises=patience is None,
                    drops=self._drops,
                )
            )
        return gave_up == ["f"]

    def _naming_holders(self, use: Use) -> AbstractContextManager[None]:
        return naming_holders(self._login, use, name=self._name, ours=self._process)

    def _has_committed(self) -> bool:
        return has_committed(self._login, self._transaction, name=self._name)

    # As a lock against writers

    @property
    def is_released(self) -> bool:
        """Whether the transaction may have been committed."""
        return self._is_released

    def release(self) -> bool:
        """Do nothing: the end of the transaction releases it, and nobody gets in before."""
        return False

    def changed(self) -> bool:
        """Return whether the transaction was committed."""
        return self._is_released and self._has_committed()

    def has_concurrent_commit(self) -> bool:
        """Return False: writers are kept out until the commit."""
        return False


@contextmanager
def prepared(
    source: Path,
    *,
    login: Login,
    tools: Tools,
    name: str,
    version_table: str | None,
    lock_timeout: float,
    progress: Progress | None,
) -> Iterator[Ready]:
    """Restore ``source`` in a transaction that is taken back unless the block commits it.

    All of it has to be in schemas. ``version_table``: Alembic's, as the application finds it.
    """
    description = archive.read(source)
    size = max(1, description.size_bytes)

    def poll() -> None:
        if progress is not None:
            progress(0, size)

    archive.require_whole(source, poll=poll)
    require_version(source, description, tools)
    settings = inventory.TO_LOAD | (snapshot.MONEY if description.has_money else {})
    with session(tools, login.environment(settings=settings)) as psql:
        psql.poll = poll
        ready = Ready(
            psql,
            login,
            name=name,
            sha256=description.sha256,
            version_table=version_table,
            lock_timeout=lock_timeout,
        )
        ready.make_room(description.schemas)
        environment = login.environment()
        with (
            ready.naming_blockers(),
            refused_by_server(source.name),
            tools.reading("pg_restore", *_RESTORE, str(source), environment=environment) as output,
        ):
            ready.feed(chunks_of(output))
        if ready.counted() != dict(description.counts):
            raise damaged_backup(source.name, "other rows came back than were counted in it")
        yield ready
