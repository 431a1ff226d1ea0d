"""Which database the migrations are for, where nobody says it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from soulsense_db import fs
from soulsense_db.alembic.options import read_settings
from soulsense_db.alembic.rehearsal import account, errors
from soulsense_db.alembic.rehearsal.child_process import run_child
from soulsense_db.alembic.rehearsal.configuration import described
from soulsense_db.alembic.rehearsal.inspection import LOCK_SECONDS
from soulsense_db.manager import BackupManager

if TYPE_CHECKING:
    from alembic.config import Config


def manager_of(config: Config, timeout: float | None) -> BackupManager:
    """Return the manager of the database that env.py configures."""
    with fs.temporary_file("rehearsal") as scratch:
        told = run_child(
            {
                "task": "find",
                "revision": "",
                "config": described(config),
                "places": {},
                "scratch": str(scratch),
                "lock_timeout": LOCK_SECONDS,
                "dialect": "sqlite",
                "led": None,
                "endings": (),
                "compares_models": False,
            },
            deadline=None if timeout is None else time.monotonic() + timeout,
        )
    failure = account.failure_of(told, timeout=timeout, heads=())
    if failure is not None:
        raise errors.not_found(failure.what)
    found = {str(one.get("file") or one.get("url")): None for one in told.of("found")}
    if not found:
        raise errors.not_found("env.py configures none.")
    if len(found) > 1:
        raise errors.several(list(found))
    settings = read_settings(config)
    return BackupManager.from_url(
        next(iter(found)),
        settings.directory,
        catalog=settings.catalog,
        **settings.form_options(),
        **settings.mirror_options(),
    )
