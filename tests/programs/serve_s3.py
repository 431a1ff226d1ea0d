"""Serve S3 on a free port of loopback until standard input ends; print the port.

The store is moto's. What it leaves out is added here: it compares what it gets with the checksum
that was sent along, as Amazon's does. And it misbehaves as it is told by ``PUT /_behave?NAMES``;
``GET /_checksums`` says how many checksums were right.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

Environment = dict[str, Any]
_MD5 = re.compile(rb"[0-9a-f]{32}(-\d+)?")


class Store:
    """The store, as an application of WSGI.

    ``opaque``: entity tags are no MD5s, as with a key of one's own or in other stores.
    ``damage``: what is stored is not what was sent.
    ``replace``: before somebody asks what an object is, somebody else stores another.
    ``plain``: checksums are not known.
    ``keep``: nobody may delete anything.
    """

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._behaviour: set[str] = set()
        self._checksums = 0
        # What is there is looked at and stored by moto in two steps; a store does it in one.
        self._one_by_one = threading.Lock()

    def __call__(self, environ: Environment, start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        method, query = environ["REQUEST_METHOD"], environ["QUERY_STRING"]
        if environ["PATH_INFO"] == "/_checksums":
            start("200 OK", [])
            return [str(self._checksums).encode()]
        if environ["PATH_INFO"] == "/_behave":
            self._behaviour = set(query.split(",")) - {""}
            start("200 OK", [("Content-Length", "0")])
            return []
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if refusal := self._refusal(environ, body):
            text = f"<Error><Code>{refusal[1]}</Code></Error>".encode()
            start(refusal[0], [("Content-Length", str(len(text)))])
            return [text]
        if method == "PUT" and body and "damage" in self._behaviour:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if method == "HEAD" and "replace" in self._behaviour:
            other = {**environ, "REQUEST_METHOD": "PUT", "CONTENT_LENGTH": "5"}
            list(self._moto({**other, "wsgi.input": io.BytesIO(b"other")}, lambda *_: None))
        environ["wsgi.input"] = io.BytesIO(body)
        is_of_a_part = "partNumber" in query
        if method == "PUT" and "HTTP_IF_NONE_MATCH" in environ:
            with self._one_by_one:
                return list(self._moto(environ, start))
        if "opaque" not in self._behaviour or is_of_a_part or method not in {"HEAD", "PUT", "POST"}:
            answer: Iterable[bytes] = self._moto(environ, start)
            return answer
        return self._with_opaque_tags(environ, start)

    def _refusal(self, environ: Environment, body: bytes) -> tuple[str, str] | None:
        names = ("HTTP_X_AMZ_CHECKSUM_SHA256", "HTTP_X_AMZ_CHECKSUM_ALGORITHM")
        if "plain" in self._behaviour and any(name in environ for name in names):
            return "501 Not Implemented", "NotImplemented"
        if "keep" in self._behaviour and environ["REQUEST_METHOD"] == "DELETE":
            return "403 Forbidden", "AccessDenied"
        sent = environ.get(names[0])
        is_data = environ["REQUEST_METHOD"] == "PUT"
        if is_data and sent and base64.b64decode(sent) != hashlib.sha256(body).digest():
            return "400 Bad Request", "BadDigest"
        self._checksums += bool(is_data and sent)
        return None

    def _with_opaque_tags(self, environ: Environment, start: Callable[..., Any]) -> Iterable[bytes]:
        def start_so(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            changed = [(k, f'"0x{v[-8:-1]}"' if k.lower() == "etag" else v) for k, v in headers]
            kept = [pair for pair in changed if pair[0].lower() != "content-length"]
            return start(status, kept if environ["REQUEST_METHOD"] == "POST" else changed, *more)

        answer = b"".join(self._moto(environ, start_so))
        return [_MD5.sub(lambda found: b"0x" + found[0][-7:], answer)]


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, Store(), threaded=True)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)  # whoever still asks something is gone
