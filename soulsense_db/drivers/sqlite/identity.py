"""Which file the live database is.

What a connection really leads to is looked at on that connection: a link may have been switched,
the current directory changed or the file replaced since the manager was made.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from soulsense_db import fs
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.refusals import (
    impossible_path,
    leads_elsewhere,
    no_file_told,
    replaced_file,
)


class FileIdentity:
    """The file of a manager's database: ``path`` by its URL, until a connection tells for sure.

    ``path``: absolute and without links, None in memory; ``is_settled``: whether one has told.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.is_settled = False
        self._status: os.stat_result | None = None

    def settle(self, file: str, *, must_be_known: bool) -> None:
        """Take ``file``, as SQLite names it, for the one that the manager is made for.

        ``must_be_known``: the URL alone tells of a file, so that this has to be it.
        """
        path = Path(file).resolve() if file else None
        if self.path and must_be_known:
            if path is None:  # taken for one in memory, it would share the directory of all those
                raise no_file_told(self.path)
            self._require_same(path)  # there was no file, or a locked one, when it was made
        status = None
        if path:
            with fs.storage_errors("look at", path):
                status = path.stat()
        self.path = path
        self._status = status
        self.is_settled = True

    def forget(self) -> None:
        """Have the next connection tell again: the file is replaced."""
        self._status = None
        self.is_settled = False

    def require_same_file(self) -> None:
        """Raise :class:`DatabaseChangedError` when the file was replaced since it was settled."""
        if self.path is not None and self.is_settled:
            self._require_same(self.path)

    def require_same_path(self, path: Path | None) -> None:
        """Raise :class:`DatabaseChangedError` when ``path`` is not that of the file."""
        if self.path is not None and path is not None and path != self.path:
            raise leads_elsewhere(path, self.path)

    def require_leads_there(self, raw: sqlite3.Connection) -> None:
        """Raise :class:`DatabaseChangedError` unless ``raw`` leads to the file."""
        file = pragmas.main_file(raw)
        if self.is_settled and file:
            self._require_same(Path(file).resolve())

    def _require_same(self, path: Path) -> None:
        if path != self.path:
            raise leads_elsewhere(path, self.path)
        with fs.storage_errors("look at", path):
            status = path.stat()
        if self._status is not None and not os.path.samestat(status, self._status):
            raise replaced_file(path, status.st_ino, self._status.st_ino)


def path_of(file: str) -> Path | None:
    """Return where the file of a URL is, None in memory."""
    try:
        return Path(file).resolve() if file else None
    except (OSError, RuntimeError, ValueError) as error:  # no current directory, a loop of links
        raise impossible_path(str(error)) from error
