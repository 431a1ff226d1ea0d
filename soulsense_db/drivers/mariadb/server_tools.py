"""The server itself, of the live server's version, where it is on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from soulsense_db.drivers.mariadb.private_errors import no_server
from soulsense_db.drivers.mariadb.tools import Tools, series, version_of
from soulsense_db.drivers.server_programs import folders_on_path

_SERVERS = ("mariadbd", "mysqld")
_MAKERS = ("mariadb-install-db", "mysql_install_db")
# Not on every user's PATH.
_FOLDERS = ("/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/usr/local/bin", "/usr/bin")
# Beside the programs, where a package of one version has its own directory.
_BESIDE = (".", "../sbin", "../bin", "../libexec", "../scripts")
_VERSION = re.compile(r"\bVer (\d+)\.(\d+)\.\d+-MariaDB")


@dataclass(frozen=True, slots=True)
class ServerTools:
    """``server`` and what makes a new one's data; ``base``: where its own files are."""

    server: Path
    maker: Path

    @property
    def base(self) -> Path:
        """The directory that its files are in."""
        return self.server.resolve().parent.parent

    def making(self, data: Path) -> list[str]:
        """Return the command that makes the data of a server without users."""
        return [
            str(self.maker),
            "--no-defaults",
            f"--basedir={self.base}",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]


def find_server(tools: Tools, *, dialect: str, is_named: bool) -> ServerTools:
    """Return the server of the version of ``tools``; ``is_named``: whether an option names those.

    Raises :class:`~soulsense_db.errors.UnsupportedDatabaseError` where there is none.
    """
    others: list[str] = []
    folders = list(_folders(tools.folder, is_named=is_named))
    for server in (folder / name for folder in folders for name in _SERVERS):
        found = version_of(server, _VERSION)
        if found == series(tools.version):
            maker = _maker_beside(server, folders)
            if maker is not None:
                return ServerTools(server, maker)
        elif found is not None:
            others.append(f"{server} is of version {found[0]}.{found[1]}")
    raise no_server(dialect, tools.version, others)


def _folders(first: Path, *, is_named: bool) -> Iterator[Path]:
    yield from (first / name for name in _BESIDE)
    if not is_named:
        yield from dict.fromkeys([*folders_on_path(), *map(Path, _FOLDERS)])


def _maker_beside(server: Path, folders: list[Path]) -> Path | None:
    beside = [server.parent / name for name in _BESIDE]
    for folder in [*beside, *folders]:
        for name in _MAKERS:
            if (folder / name).is_file():
                return (folder / name).resolve()
    return None
