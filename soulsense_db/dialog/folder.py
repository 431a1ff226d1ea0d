"""Show a folder in the file manager of the system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from soulsense_db.dialog import texts
from soulsense_db.dialog.translation import _
from soulsense_db.errors import StorageError

_SECONDS = 5
# File managers that stay: Python warns of a process that it has forgotten.
_running: list[subprocess.Popen[bytes]] = []


def open_folder(path: Path) -> None:
    """Open ``path``; raises :class:`StorageError` where no program does."""
    if not path.is_dir():
        message = _(texts.NO_FOLDER).format(path=path)
        raise StorageError(message, hint=_(texts.NO_FOLDER_HINT))
    try:
        problem = _open(path)
    except OSError as error:
        problem = f"{error.strerror}: {error.filename}"
    if problem:
        message = _(texts.NOT_OPENED).format(path=path, reason=problem)
        raise StorageError(message, hint=_(texts.NOT_OPENED_HINT))


def _open(path: Path) -> str:
    """Return what went wrong, or nothing."""
    if sys.platform == "win32":
        os.startfile(path)  # noqa: S606 - a folder, which the system opens
        return ""
    _running[:] = [opener for opener in _running if opener.poll() is None]
    program = "open" if sys.platform == "darwin" else "xdg-open"
    quiet = subprocess.DEVNULL
    opener = subprocess.Popen([program, str(path)], stdout=quiet, stderr=quiet)
    try:
        code = opener.wait(_SECONDS)
    except subprocess.TimeoutExpired:  # it is the file manager itself
        _running.append(opener)
        return ""
    return f"{program}: exit code {code}" if code else ""
