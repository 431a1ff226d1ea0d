"""A folder with an application of a test's own making."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent


@contextmanager
def modules_forgotten() -> Iterator[None]:
    """Forget at the end which modules the block imported, and where it found them."""
    known, paths = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = paths
    for name in set(sys.modules) - known:
        if not name.startswith(("soulsense_db", "sqlalchemy", "flask", "alembic")):
            del sys.modules[name]


def write(folder: Path, **modules: str) -> None:
    """Write modules; two underscores are a slash: ``src__app__db``, ``app__init`` of a package."""
    for name, text in modules.items():
        path = folder / f"{name.replace('__', '/').replace('/init', '/__init__')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
