"""Finding the database that is meant: by options, variables, files and the application's code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soulsense_db._lazy import names_from

if TYPE_CHECKING:
    from soulsense_db.finding.alembic_configuration import AlembicConfiguration
    from soulsense_db.finding.engine_reference import engine_named
    from soulsense_db.finding.function_reference import function_named
    from soulsense_db.finding.search import (
        FoundDatabase,
        Place,
        find_database,
        place_of_application,
        place_of_engine,
        place_of_url,
        places_of_the_folder,
    )

__all__ = [
    "AlembicConfiguration",
    "FoundDatabase",
    "Place",
    "engine_named",
    "find_database",
    "function_named",
    "place_of_application",
    "place_of_engine",
    "place_of_url",
    "places_of_the_folder",
]

_SEARCH = "soulsense_db.finding.search"
# Where the database is named by its URL, nothing is loaded that only finds it.
_HOMES = {
    "AlembicConfiguration": "soulsense_db.finding.alembic_configuration",
    "FoundDatabase": _SEARCH,
    "Place": _SEARCH,
    "engine_named": "soulsense_db.finding.engine_reference",
    "find_database": _SEARCH,
    "function_named": "soulsense_db.finding.function_reference",
    "place_of_application": _SEARCH,
    "place_of_engine": _SEARCH,
    "place_of_url": _SEARCH,
    "places_of_the_folder": _SEARCH,
}
__getattr__ = names_from(_HOMES, __name__)
