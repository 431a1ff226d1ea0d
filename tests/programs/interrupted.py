"""Do one thing that takes long, and say how it ended: interrupted.py FOLDER CALL."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from soulsense_db import BackupManager
from soulsense_db.scheduled import run_auto

folder, call = Path(sys.argv[1]), sys.argv[2]
manager = BackupManager.from_url(f"sqlite:///{folder}/app.db")
calls: dict[str, Callable[[], object]] = {
    "verify": lambda: manager.verify("latest"),
    "restore": lambda: manager.restore("latest"),
    "auto": lambda: run_auto(manager),
    "compare": lambda: manager.compare("latest"),
    "import": lambda: manager.import_file(folder / "outside.db"),
    "export": lambda: manager.export("latest", folder / "out.db"),
}
print("begins", flush=True)
try:
    calls[call]()
except KeyboardInterrupt:
    print("interrupted", flush=True)
else:
    print("done", flush=True)
