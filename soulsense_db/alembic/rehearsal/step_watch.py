"""What the child sees of the steps: when each begins and ends, what it locks, what it says.

How long writers would wait is measured on the connections that SQLAlchemy makes: from the beginning
of the first statement that writes to the end of the commit or rollback after it, or of that
statement where it is in no transaction.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from alembic.runtime.migration import MigrationContext
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.default import DefaultDialect

from soulsense_db.alembic.rehearsal.channel import Channel
from soulsense_db.alembic.rehearsal.places import Places
from soulsense_db.alembic.steps import may_have_steps
from soulsense_db.drivers import rehearsal_for

_MOST_STATEMENTS = 2000
_LONGEST_STATEMENT = 2000
_REMOVES = ("DELETE", "DROP", "REPLACE", "ALTER", "INSERT OR REPLACE", "UPDATE", "WITH", "TRUNCATE")
_OF_ROWS = ("DELETE", "UPDATE")
# A comment of SQL, or what is none, whatever it looks like: a text, or a name in quotation marks.
_COMMENT = re.compile(r"""--[^\n]*|/\*.*?(?:\*/|\Z)|('(?:[^']|'')*'?|"(?:[^"]|"")*"?)""", re.DOTALL)
_VALUES = re.compile(r"\s(?:SET|WHERE)\s", re.IGNORECASE)


@dataclass
class _Step:
    number: int
    database: str | None
    revision: str
    began: float
    ended: float | None = None


@dataclass
class WriteClock:
    """Measures for how long connections hold the lock of writers, and notes what they run.

    ``tell_idle`` is told of a statement that does nothing.
    """

    tell_idle: Callable[[str], object]
    spans: list[tuple[float, float]] = field(default_factory=list)
    removing: dict[str, None] = field(default_factory=dict)
    _began: dict[int, float] = field(default_factory=dict)
    _held: dict[int, float] = field(default_factory=dict)

    def install(self) -> None:
        """Watch all engines, for the rest of the process."""
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "after_cursor_execute", self._after)
        for name in ("do_commit", "do_rollback"):
            setattr(DefaultDialect, name, self._ending(getattr(DefaultDialect, name)))

    def longest(self, start: float, end: float) -> float:
        """Return the longest time of a lock between two moments."""
        now = time.monotonic()
        spans = [*self.spans, *((since, now) for since in self._held.values())]
        held = (min(end, to) - max(start, since) for since, to in spans)
        return max(0.0, max(held, default=0.0))

    def _before(self, connection: Any, *_: Any) -> None:
        self._began[id(connection.connection.dbapi_connection)] = time.monotonic()

    def _after(self, connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        support = rehearsal_for(connection.dialect.name)
        key = id(connection.connection.dbapi_connection)
        began = self._began.pop(key, time.monotonic())
        if support.writes(statement):
            self._held.setdefault(key, began)
            self._note(statement)
        if idle := support.without_effect(statement, connection):
            self.tell_idle(idle)
        if not support.is_in_transaction(connection.connection.driver_connection):
            self._release(key)

    def _note(self, statement: str) -> None:
        # Comments first: with the ends of lines, those of comments are gone.
        text = " ".join(_without_comments(statement[:_LONGEST_STATEMENT]).split())
        if text.upper().startswith(_OF_ROWS):  # thousands of them may differ in their values only
            text = _VALUES.split(text, maxsplit=1)[0]
        if text.upper().startswith(_REMOVES) and len(self.removing) < _MOST_STATEMENTS:
            self.removing[text] = None

    def _ending(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def end(dialect: Any, dbapi_connection: Any) -> Any:
            try:
                return original(dialect, dbapi_connection)
            finally:
                self._release(id(getattr(dbapi_connection, "dbapi_connection", dbapi_connection)))

        return end

    def _release(self, key: int) -> None:
        since = self._held.pop(key, None)
        if since is not None:
            self.spans.append((since, time.monotonic()))


def _without_comments(statement: str) -> str:
    return _COMMENT.sub(lambda found: found[1] or " ", statement)


class StepWatch:
    """Tells of the steps of all runs.

    ``current``: the revision that runs, empty between them; ``names_at_step``: of what was in its
    database when it began, None where that is not known.
    """

    def __init__(self, channel: Channel, places: Places) -> None:
        self.current = ""
        self.names_at_step: list[str] | None = None
        self.clock = WriteClock(lambda what: channel.tell("idle", revision=self.current, what=what))
        self._channel = channel
        self._places = places
        self._steps: list[_Step] = []
        self._runs = 0

    def install(self) -> None:
        """Watch all runs, for the rest of the process."""
        self.clock.install()
        run_migrations = MigrationContext.run_migrations
        watch = self

        @functools.wraps(run_migrations)
        def watched(self: MigrationContext, **kw: Any) -> None:
            is_watched = may_have_steps(self) and self.connection is not None
            with watch._watching(self) if is_watched else nullcontext():
                run_migrations(self, **kw)

        MigrationContext.run_migrations = watched  # type: ignore[method-assign]

    def tell_times(self) -> None:
        """Tell, at the end, how long writers would have waited."""
        now = time.monotonic()
        times = {
            step.number: self.clock.longest(step.began, step.ended or now) for step in self._steps
        }
        began = self._steps[0].began if self._steps else now
        self._channel.tell(
            "times",
            steps=times,
            longest=self.clock.longest(began, now) if self._steps else 0.0,
            removing=list(self.clock.removing),
        )

    @contextmanager
    def _watching(self, context: MigrationContext) -> Iterator[None]:
        """Watch one run; env.py may run the same context once more."""
        assert context.connection is not None
        support = rehearsal_for(context.connection.dialect.name)
        database = self._places.original_of(support.file_of(context.connection))
        schema = context.version_table_schema
        usual = context.connection.dialect.default_schema_name or ""
        run = self._runs
        self._runs += 1
        self._channel.tell(
            "run",
            run=run,
            database=database,
            version_table=context.version_table,
            is_attached=schema is not None and schema.lower() != usual.lower(),
        )
        own: list[_Step] = []
        find_steps: Any = context._migrations_fn

        def each(heads: Any, of: MigrationContext) -> Iterator[Any]:
            steps = find_steps(heads, of)
            self._channel.tell("heads", run=run, heads=list(heads or ()))
            for step in steps:
                if not step.info.is_stamp:
                    step.migration_fn = self._timed(step, of, database, step.migration_fn, own)
                yield step

        callbacks = context.on_version_apply_callbacks
        context._migrations_fn = each
        context.on_version_apply_callbacks = (
            *callbacks,
            lambda *, heads, **_: self._end(run, own, heads),
        )
        try:
            yield
        finally:
            context._migrations_fn = find_steps
            context.on_version_apply_callbacks = callbacks

    def _timed(
        self,
        step: Any,
        context: MigrationContext,
        database: str | None,
        function: Callable[..., Any],
        own: list[_Step],
    ) -> Callable[..., Any]:
        revision = step.revision

        @functools.wraps(function)
        def timed(*arguments: Any, **kw: Any) -> Any:
            number = len(self._steps)
            self.current = str(revision.revision)
            self._channel.tell(
                "begin",
                step=number,
                revision=self.current,
                message=str(revision.doc or "").partition("\n")[0].strip(),
                direction="upgrade" if step.is_upgrade else "downgrade",
                database=database,
            )
            if context.connection is not None:
                support = rehearsal_for(context.connection.dialect.name)
                names = support.names_in(context.connection)
                self.names_at_step = None if names is None else sorted(names)
                if names is not None and all(one.database != database for one in self._steps):
                    self._channel.tell("names", database=database, names=self.names_at_step)
            own.append(_Step(number, database, self.current, time.monotonic()))
            self._steps.append(own[-1])
            return function(*arguments, **kw)

        return timed

    def _end(self, run: int, own: list[_Step], heads: Iterable[Any]) -> None:
        """Tell where a run is now, and of its step, unless that was a stamp."""
        self._channel.tell("reached", run=run, heads=sorted(map(str, heads)))
        if not own or own[-1].ended is not None:
            return
        step = own[-1]
        step.ended = time.monotonic()
        # A step may run the migrations of another chain: it goes on now.
        running = (one.revision for one in reversed(self._steps) if one.ended is None)
        self.current = next(running, "")
        self._channel.tell("end", step=step.number, seconds=step.ended - step.began)
