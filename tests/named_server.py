"""A server that a URL names, of whoever runs the tests: each test makes databases of its own."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from filelock import FileLock


class NamedServer:
    """Gives URLs as the tests' own servers do; ``url`` is one of an administrator."""

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url)

    def url(self, database: str, *, dialect: str = "", driver: str = "") -> str:
        """Return the URL of a database.

        Dialect and library are those that the tests are written for where the URL names none.
        """
        given = self._url.drivername
        name = given if "+" in given or not driver else f"{dialect or given}+{driver}"
        return self._url.set(drivername=name, database=database).render_as_string(
            hide_password=False
        )

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Keep the other processes of the tests off: a restore notices what anybody commits."""
        name = hashlib.sha256(str(self._url).encode()).hexdigest()[:16]
        with FileLock(Path(tempfile.gettempdir()) / f"soulsense_tests_{name}.lock"):
            yield
