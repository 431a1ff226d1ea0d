"""Programs of the server that note what they are asked to do, and may be kept from doing it."""

from __future__ import annotations

import shlex
from pathlib import Path

from postgresql.server import Server


class NotingPrograms:
    """A ``folder`` with ``pg_dump`` and ``pg_restore``, which do what those of ``server`` do.

    ``before`` and ``after``: lines of a shell for ``pg_dump``, run where it has several jobs; its
    folder is ``$folder``.
    """

    def __init__(self, server: Server, folder: Path, *, before: str = "", after: str = "") -> None:
        self.folder = folder
        folder.mkdir()
        self._notes = folder / "notes"
        for name in ("pg_dump", "pg_restore"):
            real = shlex.quote(str(server.bin / name))
            notes = shlex.quote(str(self._notes))
            several = f'{before}\n{real} "$@" || exit\n{after}' if name == "pg_dump" else ""
            program = folder / name
            program.write_text(
                f'#!/bin/sh\n[ "$1" = --version ] || echo {name} "$@" >> {notes}\n'
                'for one in "$@"; do case $one in --file=*) folder=${one#--file=};; esac; done\n'
                f'case "$*" in *--format=directory*)\n:\n{several}\nexit;; esac\n'
                f'exec {real} "$@"\n'
            )
            program.chmod(0o755)

    def asked(self, name: str, *, words: str = "") -> list[str]:
        """Return the arguments that a program was run with, where ``words`` are among them."""
        lines = self._notes.read_text().splitlines() if self._notes.exists() else []
        return [line for line in lines if line.startswith(f"{name} ") and words in line]
