"""The moment from which an operation is done, whatever comes after it.

Before that moment every error is the operation's. After it none is: a connect event of the
application, a callback, a lock that cannot be given back. Those become warnings on what was done.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from soulsense_db.notices import reason_of, warn


class Completion:
    """A block in which something is done; after :meth:`reached` no error leaves it.

    An interrupt does, with a note that says what was done.
    """

    def __init__(self, done: str = "") -> None:
        self._done = done
        self._warnings: list[str] = []

    @property
    def warnings(self) -> tuple[str, ...]:
        """What went wrong after it was done, a sentence each."""
        return tuple(self._warnings)

    def reached(self, done: str) -> None:
        """From here on it is done; ``done``: a sentence that says so."""
        self._done = done

    def warn_of(self, what: str, error: BaseException | None = None) -> None:
        """Add a warning: ``what`` was not possible, because of ``error``."""
        self._warnings.append(f"{what} ({reason_of(error)})." if error else f"{what}.")

    @contextmanager
    def then(self, failed: str) -> Iterator[None]:
        """Do what follows; an error of the block becomes the warning that it ``failed``."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - code of the application may run in it
            self.warn_of(failed, error)
        except BaseException as error:
            error.add_note(self._done)
            raise

    def log(self) -> None:
        """Log each of them, for what returns no report."""
        for text in self._warnings:
            warn(f"{self._done} {text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is None or not self._done:
            return False
        if not isinstance(error, Exception):
            error.add_note(self._done)
            return False
        self.warn_of("Something failed afterwards", error)
        return True
