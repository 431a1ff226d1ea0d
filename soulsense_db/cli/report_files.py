"""Files that a command writes for a person or a pipeline: --html, --junit."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from soulsense_db import fs
from soulsense_db.errors import OptionError

_PREFIX = ".soulsense_report."


def require_report_file(path: Path, option: str, start: str) -> None:
    """Raise where a file could not be written, or would replace something else.

    ``option``: the one that names it; ``start``: how each file of this kind begins.

    Raises :class:`~soulsense_db.errors.StorageError`, :class:`~soulsense_db.errors.OptionError`.
    """
    folder = path.absolute().parent
    with fs.storage_errors("write", path):
        if not folder.is_dir():
            raise OptionError(
                f"{option} names a file in {folder}, which is no directory.",
                hint="Make the directory first, or name another file.",
                path=path,
            )
        # The name may be that of the database, or of a log that its library keeps beside it.
        is_other = fs.exists(path) and not (path.is_file() and _is_ours(path, start))
        if is_other or _is_beside_another(path):
            what = option.removeprefix("--")
            raise OptionError(
                f"{option} would replace {path}, which is no file that {option} has written."
                if is_other
                else f"{option} would write {path}, which may belong to the file of that name.",
                hint=f"Name another file, such as report.{'xml' if what == 'junit' else what}.",
                path=path,
            )
        descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=folder)  # whether one can
        os.close(descriptor)
        Path(name).unlink()


def write_report_file(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, whole or not at all; for its owner to read: it has data in it.

    Raises :class:`~soulsense_db.errors.StorageError`.
    """
    with fs.storage_errors("write", path):
        descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=path.absolute().parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode("utf-8", errors="replace"))
            Path(name).replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise


def _is_beside_another(path: Path) -> bool:
    """Whether the name is that of another file, with a hyphen and a word behind it."""
    owner, hyphen, _ = path.name.rpartition("-")
    return bool(owner and hyphen) and fs.exists(path.with_name(owner))


def _is_ours(path: Path, start: str) -> bool:
    return path.stat().st_size == 0 or fs.start_of(path).startswith(start.encode())
