"""The process in which migrations are rehearsed; :mod:`.child_process` starts it.

It runs the application's own env.py and migrations, as the ``alembic`` command does: with the same
configuration, arguments, directory and module path. Every connection is led to a copy.

Standard input is the request, a JSON object on one line, and is the null device from then on.
Standard output is for events (:mod:`.channel`); what the application prints goes to standard error.
"""

from __future__ import annotations

import os
import re
import select
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import alembic
import sqlalchemy
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, StatementError

from soulsense_db.alembic.rehearsal.channel import Channel
from soulsense_db.alembic.rehearsal.configuration import configured
from soulsense_db.alembic.rehearsal.differences import sentences_of
from soulsense_db.alembic.rehearsal.errors import cannot_run_on_a_copy
from soulsense_db.alembic.rehearsal.file_guard import guard_files, watch_programs
from soulsense_db.alembic.rehearsal.flask_context import application_of
from soulsense_db.alembic.rehearsal.places import Places
from soulsense_db.alembic.rehearsal.step_watch import StepWatch
from soulsense_db.drivers import Led, RehearsalSupport, rehearsal_for
from soulsense_db.errors import BackupError, without_passwords

_LONGEST_STATEMENT = 500
_POOL = "sqlalchemy.pool"
# What modules of Python start by themselves, to find a library or to know the machine.
_HARMLESS = {"ldconfig", "gcc", "cc", "ld", "objdump", "uname", "file", "lsb_release"}


def main(request: dict[str, Any]) -> None:
    """Do what the request says, and tell of it."""
    channel = Channel(_take_over_streams())
    child = _Child(request, channel)
    try:
        child.run()
    except BaseException as error:  # noqa: BLE001 - also what ends a process
        steps = child.steps
        channel.tell(
            "failed", revision=steps.current, names=steps.names_at_step, **_described(error)
        )
    child.is_over = True
    child.steps.tell_times()
    channel.tell("ended")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


class _Child:
    def __init__(self, request: dict[str, Any], channel: Channel) -> None:
        self._request = request
        self._channel = channel
        self._places = Places(
            request["places"],
            scratch=request["scratch"],
            channel=channel,
            lock_timeout=request["lock_timeout"],
            empty=request["task"] == "find",
        )
        self._supports: dict[str, RehearsalSupport] = {}
        self._left_alone: set[str] = set()
        self.is_over = False
        self.steps = StepWatch(channel, self._places)

    def run(self) -> None:
        """Run the task."""
        request = self._request
        self._guard()
        words = (request["task"], request["revision"])
        if request["task"] == "find":
            words = ("current", "")
        sys.argv = ["alembic", *filter(None, words)]
        config = configured(request["config"], *filter(None, words))
        with application_of(config, request["config"]["flask"]):
            if request["task"] == "find":
                self._find(config)
                return
            from alembic import command

            self.steps.install()
            getattr(command, request["task"])(config, request["revision"])
            self._channel.tell("migrated")
            if request["compares_models"]:
                self._compare_models(configured(request["config"], "check"))

    def _find(self, config: Any) -> None:
        """Tell of the databases that env.py configures; nothing but empty files is opened."""
        from soulsense_db.alembic.configured import configured_databases

        def migrates() -> BaseException:
            return RuntimeError("env.py runs migrations by itself")

        for found in configured_databases(config, migrates=migrates):
            if isinstance(found, str):
                self._channel.tell("found", url=found)
                continue
            support = self._support(found.dialect.name)
            if not support.is_file:
                self._channel.tell("found", url=found.url.render_as_string(hide_password=False))
                continue
            with found.connect() as connection:
                file = self._places.original_of(support.file_of(connection))
            self._channel.tell("found", file=file)

    def _compare_models(self, config: Any) -> None:
        """Tell what ``alembic check`` would; where env.py knows no models, nothing."""
        from alembic import command
        from alembic.util import CommandError

        try:
            with _silenced():
                command.check(config)
        except CommandError as error:
            if type(error).__name__ == "AutogenerateDiffsDetected":
                self._channel.tell("models", differences=sentences_of(error))
        except Exception as error:  # noqa: BLE001 - the migrations themselves are done
            self._channel.tell("models", failed=_one_line(error))

    # What is kept from the live files

    def _guard(self) -> None:
        support = self._support(self._request["dialect"])
        if self._request["led"]:
            support.lead(
                Led(**self._request["led"]),
                passed_by=lambda: self._tell_of_bypass(
                    Path(self._places.originals()[0]), "open", blocked=False
                ),
                refuse=self._cannot,
            )
        else:
            event.listen(Engine, "do_connect", self._redirect)
            event.listen(Engine, "engine_connect", self._take_from_server)
        support.watch(
            lambda path: self._by_itself(path, support),
            is_copy=lambda path: self._places.is_copy(path) or self._is_left_alone(path),
            refuse=self._refuse,
        )
        guard_files(self._places.originals, self._request["endings"], self._refuse)
        watch_programs(self._see_program)

    def _see_program(self, name: str) -> None:
        """Tell of it; refuse it in a step on a server's data, which it could reach by itself."""
        self._channel.tell("program", name=name, revision=self.steps.current)
        if self._request["led"] and self.steps.current and name not in _HARMLESS:
            raise self._cannot(f"starts a program, {name}, which could reach the live database")

    def _redirect(self, dialect: Any, _record: Any, arguments: Any, keywords: Any) -> None:
        support = self._support(dialect.name)
        if not support.is_file and self._request["task"] != "find":
            raise self._cannot(f"opens a database of another dialect, {dialect.name}")
        support.redirect(arguments, keywords, lambda path: self._places.of(path, support))

    def _take_from_server(self, connection: Connection) -> None:
        """Let env.py only read, where it is asked which database of a server it uses."""
        support = self._support(connection.dialect.name)
        if support.is_file:
            return
        if self._request["task"] != "find":  # of a creator of the application's
            raise self._cannot(f"opens a database of another dialect, {connection.dialect.name}")
        support.make_read_only(connection)

    def _cannot(self, what: str) -> BackupError:
        """Tell of what cannot be led to a copy; return what is raised in its place."""
        self._channel.tell("refused", revision=self.steps.current, what=what)
        return cannot_run_on_a_copy(self.steps.current, what)

    def _by_itself(self, path: Path, support: RehearsalSupport) -> Path:
        """Lead a connection that no engine makes to the copy as well, and say so."""
        if _is_made_by_an_engine():
            return self._places.of(path, support)
        if self._is_left_alone(path):
            return path
        copy = self._places.of(path, support)
        if copy != path:
            self._tell_of_bypass(path, "open", blocked=False)
        return copy

    def _is_left_alone(self, path: Path) -> bool:
        """Whether it is a tool's own file, such as the data of coverage.py, and nobody's data.

        That is one which the tool makes now, or opens after all migrations have run.
        """
        real = os.path.realpath(path)
        if self._places.original_like(real) is None and (self.is_over or _is_empty(real)):
            self._left_alone.add(real)
        return real in self._left_alone

    def _refuse(self, path: Path, what: str) -> None:
        self._tell_of_bypass(path, what, blocked=True)
        raise PermissionError(
            13, f"Migrations that run on a copy may not {what} this file", str(path)
        )

    def _tell_of_bypass(self, path: Path, what: str, *, blocked: bool) -> None:
        facts = {"file": str(path), "what": what, "blocked": blocked}
        self._channel.tell("bypass", revision=self.steps.current, **facts)

    def _support(self, dialect: str) -> RehearsalSupport:
        # One for each: it knows which threads are its own.
        if dialect not in self._supports:
            self._supports[dialect] = rehearsal_for(dialect)
        return self._supports[dialect]


def _is_empty(file: str) -> bool:
    try:
        return os.stat(file).st_size == 0
    except FileNotFoundError:
        return True


def _take_over_streams() -> int:
    """Keep standard output for the events; return its descriptor. Nothing can be typed.

    The pipe of standard input stays open: when its other end closes, because the parent is gone,
    the system ends this process and its children.
    """
    events, request = os.dup(1), os.dup(0)
    sys.stdout.flush()
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - stays open
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    _end_with_parent(request)
    return events


@contextmanager
def _silenced() -> Iterator[None]:
    """Print nothing in the block: what is told of the migrations is what they print."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(null, number)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number in (1, 2):
            os.dup2(kept, number)
        os.close(null)
        os.close(kept)


def _end_with_parent(request: int) -> None:
    try:
        import fcntl

        fcntl.fcntl(request, fcntl.F_SETOWN, -os.getpgrp())
        flags = fcntl.fcntl(request, fcntl.F_GETFL)
        fcntl.fcntl(request, fcntl.F_SETFL, flags | os.O_ASYNC)  # type: ignore[attr-defined,unused-ignore]
        # It may have gone before that, while this process imported what it needs.
        gone = select.poll()
        gone.register(request, 0)
        if any(event & select.POLLHUP for _, event in gone.poll(0)):
            os._exit(1)
    except (ImportError, AttributeError, OSError):  # a system without it: the timeout is left
        return


def _is_made_by_an_engine() -> bool:
    """Whether the call comes from a pool: from the ``creator`` of an engine."""
    frame = sys._getframe(1)
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith(_POOL):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _described(error: BaseException) -> dict[str, Any]:
    """Return what is told of an exception; no values that were given to a statement."""
    facts: dict[str, Any] = {
        "exception": type(error).__name__,
        "message": without_passwords(_one_line(error)),
        "statement": "",
        "traceback": without_passwords(_traceback_of(error)),
        "where": _where(error),
        "asks": any(isinstance(one, EOFError) for one in _chain(error)),
        "of_alembic": type(error).__module__.startswith("alembic."),
    }
    if isinstance(error, StatementError) and error.statement:
        facts["statement"] = without_passwords(" ".join(error.statement.split()))[
            :_LONGEST_STATEMENT
        ]
    if isinstance(error, BackupError):
        facts["hint"] = error.hint
    return facts


# What servers say of rows that clash: MariaDB their values, PostgreSQL, in lines of its own, both.
_CLASHING = re.compile(r"Duplicate entry '.*' for key", re.DOTALL)
_KEY = re.compile(r"^DETAIL:\s+Key \((.*?)\)=\(", re.MULTILINE)


def _one_line(error: BaseException) -> str:
    """Return what it says itself, without the values that SQLAlchemy shows."""
    said: object = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        said = error.orig
    elif isinstance(error, StatementError):
        said = error.orig or error.args[0]
    elif isinstance(error, BackupError):
        said = error.what
    try:
        text = str(said)
    except Exception:  # noqa: BLE001 - of the application
        return "it cannot say what happened"
    # A rehearsal may run where its log is public: of rows that clash, only the columns are shown.
    text = _CLASHING.sub("Duplicate entry '…' for key", text)
    lines = text.strip().splitlines()
    line = " ".join(lines[0].split()) if lines else ""
    key = _KEY.search(text) if isinstance(error, DBAPIError) else None
    return f"{line} (key: {key[1]})" if key else line


def _where(error: BaseException) -> str:
    """Return the file and line of the application's own code that it came from, if any."""
    installed = (str(Path(file).parent) for file in (alembic.__file__, sqlalchemy.__file__))
    ours = str(Path(__file__).parents[2])
    theirs = (*sysconfig.get_paths().values(), *installed, ours, "<")
    for one in _chain(error):
        if isinstance(one, SyntaxError) and one.filename:
            return f"{Path(one.filename).name}, line {one.lineno}"
        frames = [
            frame
            for frame in traceback.extract_tb(one.__traceback__)
            if not frame.filename.startswith(theirs)
            and not frame.filename.endswith(".pyx")  # of a library in C, wherever it was built
        ]
        if frames:
            return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}"
    return ""


def _traceback_of(error: BaseException) -> str:
    """Return Python's account; the last line of SQLAlchemy's errors would show values."""
    frames = [
        "".join(traceback.format_tb(one.__traceback__))
        + f"{type(one).__name__}: {_one_line(one)}\n"
        for one in _chain(error)
    ]
    return "\n".join(reversed(frames))


def _chain(error: BaseException) -> list[BaseException]:
    """Return the error, and what it came of."""
    found: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in found:
        found.append(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return found
