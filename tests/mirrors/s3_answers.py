"""A server that speaks S3's protocol and refuses everything, as it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answers:
    """What is answered to each request.

    Attributes:
        port: Of the server.
        status: Of HTTP.
        code: In the document; empty for an answer without one.
        more: Further elements of the document.
        only: The method that is refused; None for all. Others have an empty success.
        requests: The first lines of what was asked.
    """

    port: int = 0
    status: int = 403
    code: str = "AccessDenied"
    more: str = ""
    only: str | None = None
    requests: list[str] = field(default_factory=list)

    def document(self, seen: str) -> bytes:
        """Return the answer; like Amazon's it repeats what it was asked with, secrets and all."""
        if not self.code:
            return b""
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{self.code}</Code><Message>Some '
            f"text: {seen}</Message><StringToSign>{seen}</StringToSign>{self.more}</Error>"
        ).encode()


@contextmanager
def answering() -> Iterator[Answers]:
    """Run such a server on a free port of loopback."""
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answers.requests.append(f"{self.command} {self.path}")
            refused = answers.only in (None, self.command)
            seen = " ".join(self.headers.values())
            body = answers.document(seen) if refused else b""
            self.send_response(answers.status if refused else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer  # noqa: N815

        def log_message(self, *_args: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        answers.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield answers
        finally:
            server.shutdown()
            thread.join()
