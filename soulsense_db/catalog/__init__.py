"""The `backups` table, an index of the meta files, and how it is brought in step with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soulsense_db._lazy import names_from

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

if not TYPE_CHECKING:  # else a misspelt name would pass the type checker
    __getattr__ = names_from(_HOMES, __name__)
