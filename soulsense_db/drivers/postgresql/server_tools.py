"""The server itself, of the live server's version, where it is on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from soulsense_db.drivers.postgresql.tools import Tools, folders_of, version_of


@dataclass(frozen=True, slots=True)
class ServerTools:
    """``server``, and what makes a new one's data."""

    server: Path
    maker: Path


def find_server(tools: Tools, *, is_named: bool) -> tuple[ServerTools | None, tuple[str, ...]]:
    """Return the server of the version of ``tools``, and what is said of others that there are.

    ``is_named``: whether an option names the directory of those.
    """
    others: list[str] = []
    for folder in _folders(tools, is_named=is_named):
        server, maker = folder / "postgres", folder / "initdb"
        found = version_of(server)
        if found == tools.version and version_of(maker) == tools.version:
            return ServerTools(server, maker), ()
        if found is not None and found != tools.version:
            others.append(f"{server} is of version {found}")
    return None, tuple(dict.fromkeys(others))


def _folders(tools: Tools, *, is_named: bool) -> Iterator[Path]:
    yield tools.folder
    if not is_named:
        yield from folders_of(tools.version)
