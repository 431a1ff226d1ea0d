"""``python -m soulsense_db``."""

from __future__ import annotations

from soulsense_db.cli import main

if __name__ == "__main__":
    main()
