"""What is the same of both servers where the connections of a process are led to a copy.

Each library has one place that every connection goes through once it is known where it goes to.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import FrameType, ModuleType

from soulsense_db.drivers.rehearsal import Led

_POOL = "sqlalchemy.pool"
_SPAWN = "greenlet_spawn"  # of SQLAlchemy, whose local `context` is the greenlet that waits

_led: list[Led] = []


def current() -> Led | None:
    """Return where the connections of this process are led."""
    return _led[0] if _led else None


class Leading:
    """Leads the connections of this process as ``led`` says.

    ``passed_by`` is called for each that no engine makes; ``refuse`` makes what is raised for what
    cannot be led, a part of a sentence.
    """

    def __init__(
        self,
        led: Led,
        *,
        passed_by: Callable[[], object],
        refuse: Callable[[str], BaseException],
    ) -> None:
        _led[:] = [led]
        self._led = led
        self._passed_by = passed_by
        self._refuse = refuse

    def change_libraries(self, changes: Mapping[str, Callable[[ModuleType], None]]) -> None:
        """Change each library that is installed."""
        for library, change in changes.items():
            try:
                module = import_module(library)
            except ImportError:
                continue
            try:
                change(module)
            except (AttributeError, TypeError) as error:  # a version that is made otherwise
                known = library.partition(".")[0]
                why = f"connects by a version of {known} that is not known here"
                raise self._refuse(why) from error

    def note_maker(self) -> None:
        """Tell of a connection that no engine makes."""
        if not _is_made_by_an_engine():
            self._passed_by()


def _is_made_by_an_engine() -> bool:
    """Whether the call comes from a pool: from the ``creator`` of an engine."""
    return _is_of_a_pool(sys._getframe(1))


def _is_of_a_pool(frame: FrameType | None) -> bool:
    """Whether a pool is among those who called ``frame``, or wait for it in another greenlet."""
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith(_POOL):
            return True
        # What an async library awaits runs in the event loop; its pool is suspended meanwhile.
        if frame.f_code.co_name == _SPAWN and "context" in frame.f_locals:
            suspended = getattr(frame.f_locals["context"], "gr_frame", None)
            if _is_of_a_pool(suspended):
                return True
        frame = frame.f_back
    return False
