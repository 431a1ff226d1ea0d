"""What the README shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from helpers import clean_environment

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def test_the_tour_prints_what_the_readme_shows() -> None:
    """The tour's output in the README is what it prints, but for the times in file names."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "soulsense_app" / "tour.py")],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (shown,) = (block for block in _blocks("") if block.startswith("1. A journal app"))
    assert _without_times(shown.strip()) == _without_times(result.stdout.strip())


def _without_times(text: str) -> str:
    """Return ``text`` without what differs from run to run: times, ids, ages and their columns."""
    text = re.sub(r"backup_\d{8}_\d{6}_", "backup_TIME_", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)
    text = re.sub(r"\b(?=[0-9a-f]*\d)([0-9a-f]{8}|[0-9a-f]{12})\b", "ID", text)
    text = re.sub(r"\b\d+ (s|min)\b", "AGE", text)
    return re.sub(r"[ -]+", " ", text)


def test_the_two_commands_are_the_ones_that_ci_runs() -> None:
    """The commands of the README stand in .ci/run, letter for letter."""
    commands = next(block for block in _blocks("") if "pip install" in block).splitlines()
    script = (ROOT / ".ci" / "run").read_text()
    assert len(commands) == 2
    for command in commands:
        assert f"    {command}\n" in script
