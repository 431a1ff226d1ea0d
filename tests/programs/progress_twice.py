"""Show a progress bar that begins anew after its end."""

from __future__ import annotations

import time

from soulsense_db.cli.output import progress_bar

with progress_bar("Twice", shown=True) as progress:
    assert progress is not None
    for done, total in ((5, 100), (100, 100), (7, 100)):
        progress(done, total)
        time.sleep(0.3)
