"""Tell a monitor by HTTP that a command has begun and how it ended: ``--ping``.

What is sent is that, and nothing of the database. A ping that fails is a warning and no more; its
URL is a secret, and is in no text.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import typer

from soulsense_db.cli.session import Session
from soulsense_db.notices import warn

PING_VARIABLE = "SOULSENSE_PING"
PingUrl = Annotated[
    str | None,
    typer.Option(
        "--ping",
        metavar="URL",
        envvar=PING_VARIABLE,
        help="Tell the start and the end to this URL of healthchecks.io, or of a push monitor of "
        f"Uptime Kuma. It is a secret: set {PING_VARIABLE} rather than this option.",
    ),
]

_SECONDS = 2.0
_OF_UPTIME_KUMA = "/api/push/"


@contextmanager
def pinging(url: str | None, session: Session) -> Iterator[None]:
    """Tell the start of the block, and its end: success where the exit code is 0."""
    if not url or not url.strip():
        yield
        return
    ping = _Ping(url.strip())
    ping.tell("start")
    try:
        yield
    except BaseException:  # an interrupt too: what was to be done is not
        ping.tell("fail")
        raise
    ping.tell("fail" if session.exit_code else "")


class _Ping:
    """The pings of one run; of those that fail only the first is a warning."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._began = time.monotonic()
        self._has_warned = False

    def tell(self, what: str) -> None:
        """Send ``start``, ``fail``, or nothing for success; waits two seconds at most."""
        # In a thread: no timeout of a socket ends a look-up of a name, or an answer in drops.
        problem = [f"no answer within {_SECONDS:g} s"]

        def send() -> None:
            problem[:] = self._send(what)

        sending = threading.Thread(target=send, name="soulsense_db-ping", daemon=True)
        sending.start()
        sending.join(_SECONDS)
        for reason in list(problem) if not self._has_warned else ():
            self._has_warned = True
            warn(f"The monitor could not be told by --ping ({reason}).")

    def _send(self, what: str) -> list[str]:
        """Send it; return what kept it from arriving, without any of the URL."""
        from urllib.error import HTTPError  # every command would load it

        try:
            url = self._url_of(what)
            if url is not None:
                _get(url)
        except HTTPError as error:
            return [f"it answered {error.code}"]
        except Exception as error:  # noqa: BLE001 - of any library below; a backup needs no monitor
            return [_reason(error)]
        return []

    def _url_of(self, what: str) -> str | None:
        """Return where to tell it; None where the monitor has no word for it."""
        parts = urlsplit(self._url)
        if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
            raise _NoUrlError
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if _OF_UPTIME_KUMA not in parts.path and "status" not in query:
            path = "/".join([parts.path.rstrip("/"), what]) if what else parts.path
            return urlunsplit(parts._replace(path=path, fragment=""))
        if what == "start":
            return None
        milliseconds = round((time.monotonic() - self._began) * 1000)
        query |= {
            "status": "down" if what else "up",
            "msg": "failed" if what else "OK",
            "ping": str(milliseconds),
        }
        return urlunsplit(parts._replace(query=urlencode(query), fragment=""))


class _NoUrlError(Exception):
    """What was given is no URL of HTTP."""


def _get(url: str) -> None:
    """Send a GET; the answer's body is not read. Redirects are followed, to HTTP only."""
    import urllib.request

    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    request = urllib.request.Request(url, headers={"User-Agent": "soulsense-db"})  # noqa: S310
    answer = opener.open(request, timeout=_SECONDS)
    if answer is not None:
        answer.close()


def _reason(error: Exception) -> str:
    """Return what went wrong, in words that have nothing of the URL."""
    from http.client import HTTPException
    from urllib.error import URLError

    if isinstance(error, _NoUrlError):
        return "it is no URL that begins with http:// or https://"
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        return _reason(error.reason)
    if isinstance(error, TimeoutError):
        return f"no answer within {_SECONDS:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, HTTPException):
        return "what answered does not speak HTTP"
    return type(error).__name__
