"""MariaDB: snapshots through the server's own ``mariadb-dump``, restores through new schemas."""

from __future__ import annotations

from soulsense_db.drivers.mariadb.driver import MariaDBDriver, MySQLDriver

__all__ = ["MariaDBDriver", "MySQLDriver"]
