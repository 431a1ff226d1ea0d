"""What keeps every backup of a database from being restored, as errors of the tree."""

from __future__ import annotations

from collections.abc import Sequence

from soulsense_db.errors import BackupError, UnsupportedDatabaseError

LONGEST_ROWS = (
    "Split its value into several rows, or keep it in a file, and make a backup then; until that is"
    " done, have mariadb-backup copy the server's files as well."
)
"""What helps with a row that no setting of a server lets through."""


def referred_to_from_elsewhere(name: str, tables: Sequence[str]) -> BackupError:
    """Return the error for foreign keys of other databases, which would follow the old tables."""
    return UnsupportedDatabaseError(
        f"Tables of other databases refer to {name}: {', '.join(tables)}. A restore would leave "
        "them without what they refer to.",
        hint="Drop these foreign keys before the restore, and add them again afterwards.",
        candidates=tables,
    )


def in_a_cluster(name: str, reason: str) -> UnsupportedDatabaseError:
    """Return the error for a restore to a node of Galera that could leave the nodes unequal."""
    return UnsupportedDatabaseError(
        f"The server of {name} is a node of a Galera cluster, and this cannot be restored while "
        f"it runs: {reason}.",
        hint="Backups work. To restore one, stop the nodes, restore to one of them that was "
        "started with wsrep_on=OFF, and let the others take all from it: the page MariaDB of the "
        "guide has the steps.",
        reason=reason,
    )


def in_other_directories(name: str, tables: Sequence[str]) -> UnsupportedDatabaseError:
    """Return the error for tables that the server would not find again once they were exchanged."""
    return UnsupportedDatabaseError(
        f"The files of these tables of {name} are in a directory of their own (DATA DIRECTORY): "
        f"{', '.join(tables)}. MariaDB loses such tables when they change places, at its next "
        "start.",
        hint="Make them again without that clause: CREATE TABLE, INSERT ... SELECT, RENAME TABLE. "
        "A backup that has them can be loaded into another database with mariadb, and tables be "
        "copied from there.",
        candidates=tables,
    )


def row_too_long(name: str, longest: int, statement: str) -> UnsupportedDatabaseError:
    """Return the error for a row that needs a longer statement; ``statement`` allows it, if any."""
    if not statement:
        return UnsupportedDatabaseError(
            f"The backup has a row of {longest} bytes, as it is written, and no server of MariaDB "
            f"takes a statement of more than 1 GiB: in {name} it cannot be made again.",
            hint=f"{LONGEST_ROWS} This backup has the row all the same: bytes are in it as "
            "hexadecimal digits.",
        )
    return UnsupportedDatabaseError(
        f"The backup has a row of {longest} bytes, as it is written, and the server of {name} takes"
        " no statement that long (max_allowed_packet).",
        hint=f"Let an administrator execute: {statement} The same in its configuration makes it "
        "last.",
    )
