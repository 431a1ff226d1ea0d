"""Uploading in a thread of its own, which this one feeds: this one can give up, and Ctrl-C works.

The library's functions wait where Python cannot interrupt them. Those of it that are for event
loops can be interrupted, but end the process now and then when it exits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from queue import Empty, Full, Queue
from threading import Thread
from typing import TYPE_CHECKING

from soulsense_db.errors import MirrorUnreachableError
from soulsense_db.mirrors.object_parts import Parts
from soulsense_db.notices import log_event

if TYPE_CHECKING:
    from obstore import PutResult


_LOOK = 0.1  # seconds between two looks whether the other thread has ended
_PROBES = 2
_FAREWELL = 3.0


class _StoppedError(Exception):
    """Tells the library to remove what it has uploaded."""


class Upload:
    """One upload.

    Args:
        put: Uploads what it is given, in pieces.
        parts: What is uploaded.
        seconds: Without progress, after which ``check`` is called.
        check: Raises MirrorUnreachableError if the store is not there any more; None: the library
            has timeouts of its own that are short enough.
    """

    def __init__(
        self,
        put: Callable[[Iterator[bytes]], PutResult],
        parts: Parts,
        seconds: float,
        check: Callable[[], None] | None,
    ) -> None:
        self._put = put
        self._parts = parts
        self._seconds = seconds
        self._check = check
        self._pieces: Queue[bytes | _StoppedError | None] = Queue(maxsize=2)
        self._done: Future[PutResult] = Future()

    def run(self) -> PutResult:
        """Do it; what the store, or reading the parts, raises comes out as it is."""
        # As a daemon: a process can end although a thread waits for a server that says nothing.
        thread = Thread(target=self._work, name="upload to a mirror", daemon=True)
        thread.start()
        try:
            for piece in self._parts:
                if not self._hand_on(piece):
                    break
            else:
                self._hand_on(None)
            self._wait(lambda seconds: bool(wait([self._done], seconds).done))
            return self._done.result()
        except BaseException as error:
            self._stop()
            # The library removes what there is; who pressed Ctrl-C waits for that not for long.
            thread.join(2 * self._seconds if isinstance(error, Exception) else _FAREWELL)
            raise

    def _work(self) -> None:
        try:
            self._done.set_result(self._put(self._incoming()))
        except BaseException as error:  # noqa: BLE001 (raised again in the other thread)
            self._done.set_exception(error)

    def _incoming(self) -> Iterator[bytes]:
        while (piece := self._pieces.get()) is not None:
            if isinstance(piece, _StoppedError):
                raise piece
            yield piece

    def _hand_on(self, piece: bytes | None) -> bool:
        """Return whether it was taken: not after an error."""

        def handed_on(seconds: float) -> bool:
            try:
                self._pieces.put(piece, timeout=seconds)
            except Full:
                return False
            return True

        return self._wait(handed_on)

    def _wait(self, attempt: Callable[[float], bool]) -> bool:
        """Try until it works, or the other thread has ended, or the store is not there."""
        silent, waited = 0, 0.0
        while not attempt(_LOOK):
            if self._done.done():
                return False
            waited += _LOOK
            if self._check is None or waited < self._seconds:
                continue
            waited = 0.0
            try:
                self._check()
                silent = 0
            except MirrorUnreachableError as error:
                silent += 1
                log_event(logging.DEBUG, str(error))
                if silent == _PROBES:
                    raise
        return True

    def _stop(self) -> None:
        while not self._done.done():
            try:
                self._pieces.put_nowait(_StoppedError())
                return
            except Full:
                try:
                    self._pieces.get_nowait()
                except Empty:
                    continue
