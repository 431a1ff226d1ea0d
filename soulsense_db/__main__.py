"""``soulsense-db`` and ``python -m soulsense_db``."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import NoReturn

_INTERRUPTED = 130
_ASKED_BY_A_SHELL = "_SOULSENSE_DB_COMPLETE"


def main() -> NoReturn:
    """Run the command line and exit."""
    try:
        if _ASKED_BY_A_SHELL in os.environ:
            _complete()
        gc.disable()  # what modules make stays: to look for garbage in it is a fifth of a command
        from soulsense_db.cli import main as run

        gc.freeze()
        gc.enable()
    except KeyboardInterrupt:  # half of the time of a short command is that of its imports
        sys.exit(_INTERRUPTED)
    run()


def _complete() -> None:
    """Answer a shell that asks for words, if it can be done quickly; it wants to see no error."""
    asks_for_words = os.environ[_ASKED_BY_A_SHELL].startswith("complete_")
    if not asks_for_words:  # it asks for its script
        return
    from soulsense_db import tab_completion

    sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the end
    try:
        answer = tab_completion.answer(os.environ)
    except Exception:  # noqa: BLE001 - a shell that completes shows no error: nothing is offered
        sys.exit(0)
    if answer is not None:
        text, code = answer
        sys.stdout.write(f"{text}\n" if text else "")
        sys.exit(code)


if __name__ == "__main__":
    main()
