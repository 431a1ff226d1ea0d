"""``soulsense-db`` and ``python -m soulsense_db``."""

from __future__ import annotations

import sys
from typing import NoReturn

_INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line and exit."""
    try:
        from soulsense_db.cli import main as run
    except KeyboardInterrupt:  # half of the time of a short command is that of its imports
        sys.exit(_INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
