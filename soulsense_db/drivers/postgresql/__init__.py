"""PostgreSQL: snapshots through the server's own ``pg_dump``, restores through a new database."""

from __future__ import annotations

from soulsense_db.drivers.postgresql.driver import PostgreSQLDriver

__all__ = ["PostgreSQLDriver"]
