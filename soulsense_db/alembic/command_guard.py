"""The databases of one Alembic command, from before its first step to after its last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy.engine import Engine

from soulsense_db.alembic.autogenerate import hide_catalog
from soulsense_db.alembic.errors import MigrationFailedError, swallowed
from soulsense_db.alembic.first_rehearsal import FirstRehearsal
from soulsense_db.alembic.guarded_database import GuardedDatabase, awaiting_transaction
from soulsense_db.alembic.leading import have_commands_reach
from soulsense_db.alembic.protection import messages_of
from soulsense_db.alembic.signals import Signals
from soulsense_db.alembic.steps import may_have_steps
from soulsense_db.alembic.telling import last_word, log, say
from soulsense_db.errors import BackupError, Outcome, UnsupportedDatabaseError
from soulsense_db.manager import BackupManager
from soulsense_db.notices import ignoring, log_ignored
from soulsense_db.settings import Settings


class CommandGuard:
    """The databases of one command in one thread, in the order in which it came to them."""

    def __init__(self, settings: Settings, config: Config | None) -> None:
        self.settings = settings
        self._config = config
        self._rehearsal = FirstRehearsal(settings, config)
        self._contexts: list[MigrationContext] = []
        self._databases: dict[Path, GuardedDatabase] = {}
        self._signals = Signals()

    def protect(self, context: MigrationContext) -> None:
        """Back up the database of ``context`` if it has steps to run; once per context."""
        if context in self._contexts:  # both doors are open
            return
        self._contexts.append(context)
        hide_catalog(context, self.settings.catalog)
        connection = context.connection
        if connection is None:
            return
        if not may_have_steps(context):
            if context.opts.get("purge"):  # `stamp --purge` would hide what an alarm is about
                require_no_alarm(connection.engine, self.settings, self._config)
            return
        manager = BackupManager(
            connection.engine,
            self.settings.directory,
            catalog=self.settings.catalog,
            **self.settings.form_options(),
            **self.settings.mirror_options(),
        )
        place = manager.live.marker_place
        if place is None:
            log.info("The database is in memory and ends with the process: no backup was made.")
            return
        have_commands_reach(manager, connection.engine.url, self._config)
        known = self._databases.get(place) or awaiting_transaction(place, connection)
        database = known or GuardedDatabase(manager, place, self.settings)
        self._signals.arm()
        try:
            if database.begin(context, connection, before_backup=self._rehearsal.run):
                self._databases[place] = database
                # A program may leave while a thread of its own still migrates.
                last_word.is_of(place, database.cut_off())
        finally:
            if not self._databases:
                self._signals.disarm()

    def is_protecting(self, context: MigrationContext) -> bool:
        """Whether :meth:`protect` was called for ``context``."""
        return context in self._contexts

    @contextmanager
    def noting_attached(self) -> Iterator[None]:
        """Where the block fails, look what is attached before env.py closes its connections."""
        try:
            yield
        except BaseException:
            for database in self._databases.values():
                database.note_attached()
            raise

    def failed(self, error: BaseException) -> None:
        """Put back every database whose work is not committed, and say so."""
        states = self._put_back_after(error)
        notes = tuple(getattr(error, "__notes__", None) or ())
        for database, line in states:
            _make_last_word(database, line, notes)
        if states and isinstance(error, SystemExit) and _is_success(error.code):
            # A failed migration is no success, whatever a step says.
            raise SystemExit(1) from error

    def _put_back_after(self, error: BaseException) -> list[tuple[GuardedDatabase, str]]:
        unfinished = [database for database in self._databases.values() if not database.finished]
        states = []
        try:
            with self._signals.held(
                lambda: [line for one in unfinished for line in one.way_back()]
            ):
                for database in unfinished:
                    last_word.is_of(database.place, database.cut_off())
                for database in unfinished:  # first all of them: they may share locks
                    try:
                        database.end_transaction()
                    except Exception as failure:  # noqa: BLE001 - the way back says what it blocks
                        log.debug("A transaction could not be ended: %s", failure)
                for database in reversed(unfinished):
                    lines = messages_of(database.after_failure, database)
                    states += [(database, line) for line in lines[-1:]]
                    for line in lines:
                        say(line)
                        # An error may be one that takes no note.
                        with ignoring(Exception, what="The error takes no note"):
                            error.add_note(line)
        finally:
            self._signals.disarm()
        return states

    def succeeded(self) -> None:
        """End the protection of every database, as soon as its work is committed.

        Raises :class:`MigrationFailedError` when env.py has swallowed the failure of a step.
        """
        unfinished = [database for database in self._databases.values() if not database.finished]
        if any(database.has_steps_left for database in unfinished):
            raise self._swallowed("Not all steps of the migration were run")
        if any(database.was_given_up for database in unfinished):
            raise self._swallowed("The changes of the migration were not committed")
        try:
            for database in unfinished:
                last_word.withdraw(database.place)
                for line in messages_of(database.finish_when_committed, database):
                    say(line)
        finally:
            self._signals.disarm()

    def _swallowed(self, what: str) -> MigrationFailedError:
        error = MigrationFailedError(what)
        states = self._put_back_after(error)
        is_marked = any(_is_marked(one.manager) for one, _ in states)
        is_put_back = self.settings.restores and not is_marked
        outcome = Outcome.PUT_BACK if is_put_back else Outcome.HALF_RUN
        failure = swallowed(what, outcome, [line for _, line in states])
        for database, line in states:
            _make_last_word(database, line, (line,))
        return failure


def _is_marked(manager: BackupManager) -> bool:
    """Whether a marker says that the database may be half migrated, or nobody can tell."""
    try:
        return manager.alarm.marker() is not None
    except BackupError as error:
        log_ignored("Whether there is a marker cannot be seen", error)
        return True


def _make_last_word(database: GuardedDatabase, line: str, notes: tuple[str, ...]) -> None:
    """Say ``line`` at the end, unless somebody has written to the database by then."""
    write_stamp = database.manager.live.write_stamp
    last_word.is_of(database.place, line, notes=notes, write_stamp=write_stamp)


def require_no_alarm(engine: Engine, settings: Settings, config: Config | None) -> None:
    """Raise for a database that is half migrated: its version table is about to be rewritten."""
    try:
        # On a server, the marker is with the backups.
        manager = BackupManager(engine, settings.directory, catalog=False)
        have_commands_reach(manager, engine.url, config)
        error = manager.alarm.error()
    except UnsupportedDatabaseError as refused:  # which has no alarm
        log_ignored("Whether an alarm stands was not asked", refused)
        return
    if error is not None:
        raise error


def _is_success(code: object) -> bool:
    """Whether a process that leaves with ``code`` looks successful: the system keeps 8 bits."""
    return code is None or (isinstance(code, int) and code & 0xFF == 0)
