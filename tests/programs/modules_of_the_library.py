"""Print the modules that an application with a manager has, as JSON."""

from __future__ import annotations

import json
import sys

from soulsense_db import BackupManager  # noqa: F401 - whose modules these are

print(json.dumps(sorted(sys.modules)))
