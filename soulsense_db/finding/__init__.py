"""Finding the database that is meant: by options, variables, files and the application's code."""

from __future__ import annotations

from soulsense_db.finding.alembic_configuration import AlembicConfiguration
from soulsense_db.finding.engine_reference import engine_named
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
    "place_of_application",
    "place_of_engine",
    "place_of_url",
    "places_of_the_folder",
]
