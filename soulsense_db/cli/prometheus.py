"""What ``status --prometheus`` writes: the text format of node_exporter's textfile collector.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from soulsense_db import fs
from soulsense_db.errors import OptionError
from soulsense_db.health import HealthReport
from soulsense_db.shown_text import printable

# Of each number of a report: the name of its gauge, and what it is.
_GAUGES = {
    "backups": ("soulsense_backups", "Backups of the database."),
    "damaged": ("soulsense_damaged_backups", "Backups that are damaged or not verified."),
    "missing": ("soulsense_missing_backups", "Backups whose files are gone."),
    "without_base": (
        "soulsense_backups_without_base",
        "Differential backups whose base is missing or damaged.",
    ),
    "database_bytes": ("soulsense_database_size_bytes", "Size of the database."),
    "free_bytes": ("soulsense_free_bytes", "Free space for the backup directory."),
}
# A moment, not an age: it is right whenever it is read.
_MOMENTS = {
    "newest_age_seconds": (
        "soulsense_newest_backup_timestamp_seconds",
        "When the newest backup was taken.",
    ),
    "newest_verified_age_seconds": (
        "soulsense_newest_verified_backup_timestamp_seconds",
        "When the newest backup was taken that passed its last check.",
    ),
    "drill_age_seconds": (
        "soulsense_last_passed_drill_timestamp_seconds",
        "When a drill of a backup last passed.",
    ),
}
_EVERYBODY_READS = 0o644  # the collector is another user


def metrics_of(
    report: HealthReport, database: Path | str | None, *, now: float | None = None
) -> str:
    """Return ``report`` on ``database`` as metrics; ``now``: seconds since 1970, by default now."""
    now = time.time() if now is None else now
    labels = {"database": printable(str(database))} if database else {}
    return "".join(_lines(report, labels, now))


def _lines(report: HealthReport, labels: Mapping[str, str], now: float) -> Iterator[str]:
    yield from _head("soulsense_status", "How things are: 0 for OK, 1 for WARNING, 2 for CRITICAL.")
    yield _sample("soulsense_status", labels, int(report.state))
    yield from _head("soulsense_check_status", "How each thing is that was looked at, likewise.")
    for check in report.checks:
        yield _sample("soulsense_check_status", {**labels, "check": check.name}, int(check.state))
    yield from _head("soulsense_status_timestamp_seconds", "When that was looked at.")
    yield _sample("soulsense_status_timestamp_seconds", labels, now)
    for key, (name, what) in _GAUGES.items():
        if (number := report.numbers.get(key)) is not None:
            yield from _head(name, what)
            yield _sample(name, labels, number)
    for key, (name, what) in _MOMENTS.items():
        if (age := report.numbers.get(key)) is not None:
            yield from _head(name, what)
            yield _sample(name, labels, now - age)


def _head(name: str, what: str) -> Iterator[str]:
    yield f"# HELP {name} {what}\n"
    yield f"# TYPE {name} gauge\n"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{shown}}} {value!r}\n" if shown else f"{name} {value!r}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def write_metrics(text: str, path: Path) -> None:
    """Write ``text`` to ``path``, whole or not at all, for everybody to read.

    A file is replaced only if it is one of metrics: the name may be that of the database. Raises
    :class:`~soulsense_db.errors.StorageError`, :class:`~soulsense_db.errors.OptionError`.
    """
    with fs.storage_errors("write", path):
        if path.is_file() and not _is_ours(path):
            raise OptionError(
                f"--prometheus would replace {path}, which has no metrics of this program.",
                hint="Name another file, such as soulsense_db.prom in the collector's directory.",
            )
        # Not .prom before it is whole: the collector reads each file with that ending.
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode("utf-8", errors="replace"))
                os.fchmod(file.fileno(), _EVERYBODY_READS)
            Path(name).replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise


def _is_ours(path: Path) -> bool:
    """Whether ``path`` is empty, or begins as :func:`metrics_of` does."""
    return path.stat().st_size == 0 or fs.start_of(path).startswith(b"# HELP soulsense_")
