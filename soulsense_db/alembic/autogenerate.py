"""Hide our table from the host's ``alembic check`` and ``revision --autogenerate``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData

from soulsense_db.catalog import TABLE_NAME, Catalog, TableState


def hide_catalog(context: MigrationContext, catalog: str | bool) -> None:
    """Leave our table out of comparisons, unless the host's metadata has it.

    Chained after the host's own ``include_name``; a table of that name that is not ours is still
    compared.
    """
    connection = context.connection
    if not catalog or connection is None or context.as_sql:
        return
    if is_in_host_metadata(context, catalog):
        return
    table = Catalog(_name(catalog))
    host = context.opts.get("include_name")

    def include_name(name: str | None, type_: str, parent_names: Any) -> bool:
        if host is not None and not host(name, type_, parent_names):
            return False
        if type_ != "table" or name != table.name or parent_names.get("schema_name"):
            return True
        return table.state(connection) not in (TableState.CURRENT, TableState.OUTDATED)

    context.opts["include_name"] = include_name


def is_in_host_metadata(context: MigrationContext, catalog: str | bool) -> bool:
    """Whether the host's own migrations make our table."""
    if not catalog:
        return False
    target = context.opts.get("target_metadata")
    metadata = target if isinstance(target, Sequence) else [target]
    return any(isinstance(one, MetaData) and _name(catalog) in one.tables for one in metadata)


def _name(catalog: str | bool) -> str:
    return catalog if isinstance(catalog, str) else TABLE_NAME
