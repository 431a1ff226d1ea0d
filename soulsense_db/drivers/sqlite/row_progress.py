"""How far the reading of rows is, for a progress."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from contextlib import closing, contextmanager
from itertools import chain

from soulsense_db.drivers.sqlite.rows import Row, Side
from soulsense_db.progress import Progress

_ROWS_IN_ONE = 900  # between two calls of a progress: some milliseconds

Chunks = Generator[list[Row], None, None]


class RowProgress:
    """Tells ``progress``, if any, how many rows are read, of all in ``names`` on both sides."""

    def __init__(self, progress: Progress | None, names: Collection[str], *sides: Side) -> None:
        self._progress = progress
        self._done = self._told = self._total = 0
        if progress is not None:
            self._total = sum(side.count(name) for side in sides for name in names)

    @contextmanager
    def of(self, chunks: Chunks) -> Iterator[Iterator[Row]]:
        """Yield the rows of ``chunks`` one by one, and tell of them now and then."""
        # Closed here: one that an error leaves behind would outlive its connection.
        with closing(chunks), closing(self._counted(chunks)) as counted:
            yield chain.from_iterable(counted)

    @contextmanager
    def meanwhile(self, chunks: Chunks) -> Iterator[Iterator[Row]]:
        """Do so with rows that may have to be read again: asked is only whether to go on."""
        with closing(chunks), closing(self._asking(chunks)) as asking:
            yield chain.from_iterable(asking)

    def skip(self, rows: int) -> None:
        """Take ``rows`` as read that need not be, being counted."""
        self._done += rows
        self._tell()

    def end(self) -> None:
        """Tell that all is read."""
        self._done = max(self._done, self._total)
        self._tell()

    def _counted(self, chunks: Chunks) -> Chunks:
        for rows in chunks:
            self._done += len(rows)
            if self._done - self._told >= _ROWS_IN_ONE:
                self._tell()
            yield rows

    def _asking(self, chunks: Chunks) -> Chunks:
        rows_read = _ROWS_IN_ONE
        for rows in chunks:
            rows_read += len(rows)
            if rows_read >= _ROWS_IN_ONE:
                rows_read = 0
                self._tell()
            yield rows

    def _tell(self) -> None:
        self._told = self._done
        if self._progress is not None:
            # By a damaged index others are counted than there are.
            self._progress(self._done, max(self._done, self._total))


class Told:
    """A progress that keeps the last numbers, for who asks for them in another thread."""

    def __init__(self) -> None:
        self.numbers = (0, 0)

    def keep(self, done: int, total: int) -> None:
        """Keep the numbers: this is the progress."""
        self.numbers = (done, total)
