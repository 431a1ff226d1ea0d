"""Print the driver's class for each dialect named, or the error: name_drivers.py DIALECT ..."""

from __future__ import annotations

import sys

from soulsense_db.drivers import registry
from soulsense_db.errors import UnsupportedDatabaseError

for dialect in sys.argv[1:]:
    try:
        print(registry._driver_class(dialect).__name__)
    except UnsupportedDatabaseError as error:
        print(error)
