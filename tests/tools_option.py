"""Programs of other versions, for tests of the option that names their directory."""

from __future__ import annotations

from pathlib import Path


def folder_of(folder: Path, **said: str) -> Path:
    """Make a directory of programs: each says one line, whatever it is asked."""
    folder.mkdir()
    for name, text in said.items():
        program = folder / name
        program.write_text(f"#!/bin/sh\necho '{text}'\n")
        program.chmod(0o755)
    return folder
