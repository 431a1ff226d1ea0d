"""Commands that messages print, run as a person would who copies them to a shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

_COMMAND = re.compile(r"soulsense-db .*?(?=   |$)", re.MULTILINE)


def printed_commands(text: str) -> list[str]:
    """Return the commands in what a program printed; several on a line are three spaces apart."""
    return _COMMAND.findall(text)


def run_printed(
    line: str, folder: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in ``folder`` by a shell, without a question; ``env``: variables besides."""
    programs = str(Path(sys.executable).parent)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["/bin/sh", "-c", f"{line} --yes"],
        cwd=folder,
        env={**os.environ, **(env or {}), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
