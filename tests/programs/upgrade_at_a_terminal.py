"""Run ``alembic upgrade head`` with the signals of a terminal, whatever started the tests.

    upgrade_at_a_terminal.py [--hangup]

``--hangup``: a closed terminal ends it, too; without, as it was when this began.
"""

from __future__ import annotations

import signal
import sys

signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.argv[1:] == ["--hangup"]:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

from alembic.config import main  # noqa: E402 - with the signals as they are at a terminal

main(argv=["upgrade", "head"])
