"""The Flask application in whose context the env.py of Flask-Migrate runs."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alembic.config import Config

_USES_APPLICATION = re.compile(r"^\s*from\s+flask\s+import\s.*\bcurrent_app\b", re.MULTILINE)


def application_here() -> str | None:
    """Return how ``flask --app`` takes the application of this process; None if there is none.

    Imports nothing: without Flask, there is no application.
    """
    cli: Any = sys.modules.get("flask.cli")
    click: Any = sys.modules.get("click")
    context = click.get_current_context(silent=True) if click else None
    script = context.find_object(cli.ScriptInfo) if cli and context else None
    if script is not None and script.app_import_path:
        return str(script.app_import_path)
    if named := os.environ.get("FLASK_APP"):
        return named
    flask: Any = sys.modules.get("flask")
    if flask and flask.has_app_context() and flask.current_app.import_name != "__main__":
        return str(flask.current_app.import_name)
    return None


@contextmanager
def application_of(config: Config, named: str | None) -> Iterator[None]:
    """Be in the context of the application in the block, where env.py asks for one.

    ``named``: as :func:`application_here` returns it; None for what ``flask`` finds by itself.
    """
    from alembic.script import ScriptDirectory

    env = Path(ScriptDirectory.from_config(config).env_py_location)
    if not env.is_file():
        yield
        return
    if not _USES_APPLICATION.search(env.read_text(encoding="utf-8", errors="replace")):
        yield
        return
    try:
        from flask.cli import ScriptInfo
    except ImportError:  # env.py says so better
        yield
        return
    with ScriptInfo(named).load_app().app_context():
        yield
