"""Where a mirror is: the URL that a person writes, without anything secret."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from soulsense_db.mirrors.errors import bad_url, password_in_url
from soulsense_db.shown_text import printable

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorUrl:
    """The URL of a mirror, taken apart.

    Attributes:
        scheme: What kind of mirror it is: ``s3``, ``gs``, ``az``, ``sftp``, ``file``.
        host: The bucket, container or host; empty for a directory of this machine.
        port: The port of the host; None for the usual one.
        user: The name to log in with; None for the usual one.
        path: Where it is there, with ``/`` at the beginning and none at the end; ``/~/...`` is
            below the home directory of an SFTP user. Empty for a bucket as a whole.

    Example:
        >>> MirrorUrl.of("sftp://ann@backup.example.org/srv/soulsense/").path
        '/srv/soulsense'
    """

    scheme: str
    host: str
    port: int | None = None
    user: str | None = None
    path: str = ""

    @classmethod
    def of(cls, text: str) -> MirrorUrl:
        """Take ``text`` apart.

        Raises:
            OptionError: It is no URL of a mirror, or has a password, a query or ``..`` in it.

        Example:
            >>> MirrorUrl.of("s3://my-bucket/soulsense").host
            'my-bucket'
        """
        text = text.strip()
        if printable(text) != text:
            raise bad_url(text, "it has characters that no URL has")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise bad_url(text, "its host or port is not valid") from None
        if not _SCHEME.fullmatch(parts.scheme) or not text[len(parts.scheme) :].startswith("://"):
            raise bad_url(text, "it does not begin with a kind of mirror, such as s3://")
        if parts.password is not None:
            raise password_in_url(parts.scheme)
        if parts.query or parts.fragment:
            raise bad_url(text, "nothing can follow a ? or # in it")
        path = unquote(parts.path)
        if ".." in PurePosixPath(path).parts or "\0" in path:
            raise bad_url(text, "its path has '..' in it")
        return cls(
            scheme=parts.scheme,
            host=parts.hostname or "",
            port=port,
            user=unquote(parts.username) if parts.username else None,
            path=path.rstrip("/") or ("/" if path else ""),
        )

    def __str__(self) -> str:
        """Return the URL as a person writes it."""
        login = f"{quote(self.user, safe='')}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{login}{host}{port}{quote(self.path, safe='/~ @:+,=')}"
