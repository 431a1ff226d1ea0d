"""The copies of the databases that the child opens, each made when it is first asked for."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from soulsense_db import fs
from soulsense_db.alembic.rehearsal.channel import Channel
from soulsense_db.drivers import DatabaseSurvey, RehearsalSupport

_VERSION_TABLE = "alembic_version"


def stamp_of(file: Path, endings: Sequence[str]) -> object:
    """Return what is another value once somebody has changed ``file``, or its logs."""
    found = []
    for ending in ("", *endings):
        with suppress(OSError):  # absent: that too is what it was
            status = Path(f"{file}{ending}").stat()
            found.append([ending, status.st_size, status.st_mtime_ns, status.st_ino])
    return found


class Places:
    """Knows which copy stands for which file.

    ``known``: copies that exist already, by the file's resolved name; ``scratch``: what the names
    of new ones begin with. ``empty``: new ones have nothing in them.
    """

    def __init__(
        self,
        known: Mapping[str, str],
        *,
        scratch: str,
        channel: Channel,
        lock_timeout: float,
        empty: bool = False,
    ) -> None:
        self._copies = dict(known)
        self._scratch = scratch
        self._channel = channel
        self._lock_timeout = lock_timeout
        self._empty = empty
        self._lock = threading.RLock()

    def of(self, file: Path, support: RehearsalSupport) -> Path:
        """Return the copy for ``file``, and ``file`` itself if it is one of ours."""
        real = os.path.realpath(file)
        if self.is_copy(file):
            return file
        with self._lock:
            known = self.original_like(real)
            if known is None:
                known = real
                self._copies[real] = str(self._make(Path(real), support))
            return Path(self._copies[known])

    def original_of(self, copy: Path | None) -> str | None:
        """Return the file that a copy stands for; that of any other file is itself."""
        if copy is None:
            return None
        real = os.path.realpath(copy)
        for original, other in self._copies.items():
            if os.path.realpath(other) == real:
                return original
        return real

    def original_like(self, real: str) -> str | None:
        """Return the name by which ``real`` is known, which may be another name of the file."""
        if real in self._copies:
            return real
        for original in self._copies:
            with suppress(OSError):
                if Path(original).samefile(real):
                    return original
        return None

    def originals(self) -> tuple[str, ...]:
        """Return the files that have copies."""
        return tuple(self._copies)

    def is_copy(self, file: Path) -> bool:
        """Whether ``file`` is one of the copies, or lies beside them."""
        real = os.path.realpath(file)
        return real.startswith(os.path.realpath(self._scratch)) or real in {
            os.path.realpath(copy) for copy in self._copies.values()
        }

    def _make(self, file: Path, support: RehearsalSupport) -> Path:
        target = Path(f"{self._scratch}-{len(self._copies)}")
        fs.create_private_file(target)
        survey: DatabaseSurvey | None = None
        stamp = stamp_of(file, support.companions.logs)
        if not self._empty and file.exists() and file.stat().st_size > 0:
            fs.require_space(target.parent, file.stat().st_size)
            snapshot = support.copy(file, target, lock_timeout=self._lock_timeout)
            survey = support.survey(target, ignore=(), version_tables=(_VERSION_TABLE,))
            support.prepare(target, snapshot.facts)
        self._channel.tell(
            "database",
            path=str(file),
            copy=str(target),
            stamp=stamp,
            copy_stamp=stamp_of(target, ()),
            survey=asdict(survey) if survey else None,
        )
        return target
