"""The server that a backup was made on: another one may answer at its address now."""

from __future__ import annotations

from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import Driver
from soulsense_db.errors import BackupError, WrongDatabaseError
from soulsense_db.notices import log_ignored
from soulsense_db.operations.errors import of_another_server

_FACT = "server_id"


def server_facts(driver: Driver) -> dict[str, str]:
    """Return the fact that tells on which server a backup of ``driver`` is made."""
    found = _id_of(driver)
    return {_FACT: found} if found else {}


def require_server_of(driver: Driver, info: BackupInfo) -> None:
    """Raise :class:`~soulsense_db.errors.WrongDatabaseError` where another server answers now."""
    known, now = info.driver_facts.get(_FACT, ""), _id_of(driver)
    if known and now and known != now:
        raise of_another_server(info, driver.database)


def made_elsewhere(driver: Driver, info: BackupInfo) -> tuple[str, ...]:
    """Return the warning where ``info`` was made on another server than the one that answers."""
    try:
        require_server_of(driver, info)
    except WrongDatabaseError as error:
        return (error.what,)
    return ()


def _id_of(driver: Driver) -> str:
    try:
        return driver.server_id()
    except BackupError as error:  # whoever needs the server says it
        log_ignored("Which server it is cannot be told", error)
        return ""
