"""The `backups` table, an index of the meta files, and how it is brought in step with them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soulsense_db.catalog.sync import CatalogRows
    from soulsense_db.catalog.table import (
        TABLE_NAME,
        Catalog,
        Owner,
        TableState,
        catalog_option,
        metadata,
        row_name,
    )

__all__ = [
    "TABLE_NAME",
    "Catalog",
    "CatalogRows",
    "Owner",
    "TableState",
    "catalog_option",
    "metadata",
    "row_name",
]

_HOMES = {
    "Catalog": "soulsense_db.catalog.table",
    "CatalogRows": "soulsense_db.catalog.sync",
    "Owner": "soulsense_db.catalog.table",
    "TABLE_NAME": "soulsense_db.catalog.table",
    "TableState": "soulsense_db.catalog.table",
    "catalog_option": "soulsense_db.catalog.table",
    "metadata": "soulsense_db.catalog.table",
    "row_name": "soulsense_db.catalog.table",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
