"""The command line: ``soulsense-db``.

Results go to stdout; an error is one line and a hint on stderr, with the exit code of its class.
With ``--json`` one object goes to stdout, errors included, and nothing else.
"""

from __future__ import annotations

from soulsense_db.cli.main import app, main

__all__ = ["app", "main"]
