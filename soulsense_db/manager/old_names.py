"""Names that members of ``BackupManager`` had before they were grouped: they stay."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from soulsense_db.errors import InterruptedMigrationError
from soulsense_db.operations import CatalogOperations, LiveDatabase, MigrationAlarm
from soulsense_db.sidecars import MigrationMarker


class OldNames:
    """Members of a manager under their old names."""

    catalog: CatalogOperations
    alarm: MigrationAlarm
    live: LiveDatabase

    def rebuild_catalog(self) -> int:
        """Do as ``catalog.rebuild()``."""
        return self.catalog.rebuild()

    def sync_catalog(self, *, make_table: bool = True) -> bool:
        """Do as ``catalog.sync()``."""
        return self.catalog.sync(make_table=make_table)

    def catalog_names(self) -> frozenset[str] | None:
        """Return ``catalog.names()``."""
        return self.catalog.names()

    def half_run_migration(self) -> InterruptedMigrationError | None:
        """Return ``alarm.error()``."""
        return self.alarm.error()

    def half_run_marker(self) -> MigrationMarker | None:
        """Return ``alarm.marker()``."""
        return self.alarm.marker()

    def accept_half_run_migration(self) -> bool:
        """Do as ``alarm.accept()``."""
        return self.alarm.accept()

    @property
    def address(self) -> str:
        """What ``live.address`` is."""
        return self.live.address

    def database_size(self) -> int:
        """Return ``live.size()``."""
        return self.live.size()

    def alembic_heads(self, version_table: str = "alembic_version") -> tuple[str, ...]:
        """Return ``live.alembic_heads()``."""
        return self.live.alembic_heads(version_table)

    def attached_files(self, connection: Connection) -> dict[str, str]:
        """Return ``live.attached_files()``."""
        return self.live.attached_files(connection)
