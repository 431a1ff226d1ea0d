"""Run the tour of the example in a database of a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from helpers import clean_environment

TOUR = Path(__file__).resolve().parent.parent / "examples" / "soulsense_app" / "tour.py"


def run_tour(url: str) -> subprocess.CompletedProcess[str]:
    """Run it; its lines come without what they are indented by, and unwrapped."""
    done = subprocess.run(
        [sys.executable, str(TOUR), "--url", url],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    done.stdout = " ".join(done.stdout.split())
    return done


def require_all_steps(done: subprocess.CompletedProcess[str]) -> None:
    """Require what the tour promises: what was put back is what was there, and so is an undo."""
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout
    steps = [said.index(f" {number}. ") if number > 1 else 0 for number in range(1, 9)]
    assert steps == sorted(steps)
    assert "Gone: table settings with its 450 rows." in said
    assert "was put back, at 0004_entries_by_date, from soulsense_backup_" in said
    before, _, after = said.partition("Digest before: ")[2].partition("Digest after: ")
    assert before.split()[0] == after.split()[0]
    assert "OK soulsense_backup_" in said
    assert said.endswith("Everything above was read from the database and checked.")
