"""Run the application's own code, to learn which engine it uses, and nothing else.

While it runs, no database is made and none is changed: a connection to a database that is not there
is refused, and so is a statement that would write. It has nobody to ask, and what it prints or logs
is no output of this program.
"""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from soulsense_db.drivers import Driver, driver_for
from soulsense_db.errors import (
    BackupError,
    DatabaseFileNotFoundError,
    UnsupportedDatabaseError,
    presentable,
)
from soulsense_db.finding import errors
from soulsense_db.notices import log_ignored
from soulsense_db.shown_text import logger_of

# Also behind a comment, or a common table expression.
_WRITING = re.compile(
    r"(?:\s|/\*.*?\*/|--[^\n]*\n)*(?:"
    r"(?:create|alter|drop|insert|update|delete|replace|merge|truncate|rename|reindex|vacuum"
    r"|grant|revoke|comment|call|copy|load|lock|attach)\b"
    r"|with\b.*\b(?:insert\s+into|update|delete\s+from|replace\s+into)\b)",
    re.IGNORECASE | re.DOTALL,
)


class Stopped(BaseException):
    """Ends the code that runs: what it was about to do is refused."""


class Watch:
    """What the code has done so far, which counts even if it catches what was raised.

    ``refusal``: the error to raise; ``missing``: the engine of a database that it connects to and
    that is not there.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.refusal: BackupError | None = None
        self.missing: Engine | None = None

    def refuse(self, error: BackupError) -> Stopped:
        """Note the first reason to stop; returns what to raise."""
        self.refusal = self.refusal or error
        return Stopped(error.what)


@contextmanager
def running(what: str) -> Iterator[Watch]:
    """Run application code in the block; what goes wrong is an error of the tree.

    ``what``: what is being done, a clause such as "importing myapp.db". Raises
    :class:`ApplicationCodeError`. The current directory, and ``src`` in it, come first in
    ``sys.path`` within the block and last after it, so that no module of the application hides
    one that this program loads later.
    """
    watch = Watch(what)
    with _importable(), _silent(), _harmless(watch):
        try:
            yield watch
        except Stopped:
            pass
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BackupError:
            raise
        except SystemExit as error:
            raise watch.refusal or errors.exited(what, error.code) from None
        except EOFError as error:
            raise watch.refusal or errors.asked(what) from error
        except BaseException as error:
            raise watch.refusal or errors.failed(what, reason_of(error)) from error
    if watch.refusal is not None:
        raise watch.refusal


def reason_of(error: BaseException) -> str:
    """Return what ``error`` says, in one line: its kind, its first line, where it was raised."""
    first = next(iter(str(error).strip().splitlines()), "")
    text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    place = _place_of(error)
    return presentable(f"{text.rstrip('.')}{f', {place}' if place else ''}")


def _place_of(error: BaseException) -> str:
    """Return the file and line of the application where it was raised."""
    if isinstance(error, SyntaxError):  # which says it itself
        return ""
    found, frame = "", error.__traceback__
    while frame is not None:
        file = frame.tb_frame.f_code.co_filename
        if _is_of_application(file):
            found = f"{_short(file)} line {frame.tb_lineno}"
        frame = frame.tb_next
    return found


def _is_of_application(file: str) -> bool:
    path = Path(file)
    if not path.is_absolute() or "site-packages" in path.parts:
        return False
    own = Path(__file__).parent.parent
    return not path.is_relative_to(own) and not path.is_relative_to(Path(os.__file__).parent)


def _short(file: str) -> str:
    path = Path(file)
    folder = Path.cwd()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else file


@contextmanager
def _importable() -> Iterator[None]:
    """Let the modules of the current directory be found, as flask, uvicorn and gunicorn do."""
    folder = Path.cwd()
    source = folder / "src"
    ours = [str(folder)]
    if source.is_dir() and not (source / "__init__.py").exists():
        ours.append(str(source))
    added = [path for path in ours if path not in sys.path]
    sys.path[:0] = ours
    try:
        yield
    finally:
        for path in filter(sys.path.__contains__, ours):
            sys.path.remove(path)
        sys.path.extend(added)
        os.chdir(folder)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the code from asking, printing on our output, warning and logging.

    What it sets up for all loggers is taken back: it would log of our own work.
    """
    stdin, disabled = sys.stdin, logging.root.manager.disable
    level, handlers = logging.root.level, list(logging.root.handlers)
    sys.stdin = io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stdin = stdin
        logging.disable(disabled)
        logging.root.setLevel(level)
        logging.root.handlers[:] = handlers
        logger_of("soulsense_db")  # which a fileConfig of the application may have disabled


@contextmanager
def _harmless(watch: Watch) -> Iterator[None]:
    """Refuse what would make or change a database."""
    connect: Callable[[Engine], Any] = Engine.raw_connection
    engines: list[Engine] = []
    looking = threading.local()  # a driver connects to look, with an engine of its own

    def checked_connect(engine: Engine) -> Any:
        if getattr(looking, "is_on", False):
            return connect(engine)
        looking.is_on = True
        try:
            driver = _require_there(engine, watch)
        finally:
            looking.is_on = False
        connection = connect(engine)
        if driver is not None:  # the database refuses what a statement does not show
            engines.append(engine)
            driver.make_read_only(connection)
        return connection

    def check_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if _WRITING.match(statement):
            begin = presentable(" ".join(statement.split()[:3]))
            raise watch.refuse(errors.writing(watch.what, begin))

    # As a method, not as an event: where a pool has a connection already, none is made.
    Engine.raw_connection = checked_connect  # type: ignore[method-assign,assignment]
    sa.event.listen(Engine, "before_cursor_execute", check_statement)
    try:
        yield
    finally:
        sa.event.remove(Engine, "before_cursor_execute", check_statement)
        Engine.raw_connection = connect  # type: ignore[method-assign,assignment]
        for engine in engines:  # whose connections can only read
            engine.dispose()


def _require_there(engine: Engine, watch: Watch) -> Driver | None:
    """Let nothing connect to a database that is not there: that alone may make it.

    Returns its driver, None for a database without one.
    """
    try:
        driver = driver_for(engine, lock_timeout=1)
        driver.require_database()
    except DatabaseFileNotFoundError as error:
        watch.missing = watch.missing or engine
        raise watch.refuse(errors.connected(watch.what, str(error.path))) from None
    except UnsupportedDatabaseError as error:  # no database of ours: a cache, say
        log_ignored("A connection of the application is not looked at", error)
    except BackupError as error:
        raise watch.refuse(error) from error
    else:
        return driver
    return None
