"""When the data of an imported file was taken: ``latest`` means the newest data, however it came.

What the file itself tells counts more than what others say of it, for a copy is often given the
time at which it was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo, time_in_name
from soulsense_db.drivers import Driver
from soulsense_db.meta_file import time_of

BY_META = "meta file"
BY_DUMP = "dump"
BY_NAME = "name"
BY_FILE = "file"


def date_of_import(driver: Driver, outside: BackupInfo, plain: Path) -> tuple[datetime | None, str]:
    """Return the date of the file ``outside``, whose data is at ``plain``, and what tells it.

    The first of these that tells one: the meta file, the data, the name of the file, and when the
    file was last changed. One in the future is passed by, unless it is that of a meta file; then
    there may be none, and the backup is of now.
    """
    if outside.sha256 is not None:
        return outside.created_at, BY_META
    now = datetime.now(UTC)
    for date, told_by in _dates(driver, Path(outside.path), plain):
        if date is not None and date <= now:
            return date, told_by
    return None, ""


def _dates(driver: Driver, path: Path, plain: Path) -> Iterator[tuple[datetime | None, str]]:
    yield driver.dumped_at(plain), BY_DUMP
    yield time_in_name(path.name), BY_NAME
    yield max([_changed(path), *_of_logs(driver, path)]), BY_FILE


def _changed(path: Path) -> datetime:
    with fs.storage_errors("read", path):
        return time_of(path.stat())


def _of_logs(driver: Driver, path: Path) -> Iterator[datetime]:
    """Yield when the logs beside ``path`` were changed: rows that are only there are imported."""
    for ending in driver.companions.logs:
        log = Path(f"{path}{ending}")
        with fs.storage_errors("read", log):
            if fs.exists(log) and (status := log.stat()).st_size:
                yield time_of(status)
