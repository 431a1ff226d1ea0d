"""A MariaDB server of our own, for as long as it is used."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from soulsense_db.drivers.mariadb.login import environment
from soulsense_db.drivers.mariadb.server_tools import ServerTools
from soulsense_db.drivers.mariadb.statements import quoted
from soulsense_db.drivers.private_server import PrivateServer

# What makes it quick, and changes nothing of what statements do: its data need not outlive it.
_QUICK = {
    "skip-networking": "1",
    "skip-name-resolve": "1",
    "skip-log-bin": "1",
    "skip-slave-start": "1",
    "skip-ssl": "1",
    "loose-feedback": "OFF",
    "performance-schema": "OFF",
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-doublewrite": "0",
    "innodb-buffer-pool-size": "128M",
    "innodb-buffer-pool-dump-at-shutdown": "OFF",
    "event-scheduler": "OFF",
    "max-connections": "200",
}
_LOG_BYTES = "64M"
_ERROR = re.compile(r"(?:\[ERROR\]|F(?:atal error|ATAL ERROR):?)\s*(.*)")


@dataclass(frozen=True, slots=True)
class Account:
    """Who logs in to it."""

    user: str
    password: str

    @classmethod
    def new(cls, user: str) -> Self:
        """Return one whose password nobody can guess."""
        return cls(user, secrets.token_hex(20))

    @property
    def identified(self) -> str:
        """What a statement says of its password, which is not in it."""
        first = hashlib.sha1(self.password.encode(), usedforsecurity=False).digest()
        digest = hashlib.sha1(first, usedforsecurity=False).hexdigest().upper()
        return f"IDENTIFIED BY PASSWORD '*{digest}'"


class PrivateMariaDB(PrivateServer):
    """A server that is started by :meth:`start`, and gone after :meth:`stop`."""

    prefix = "soulsense_db-mariadb-"
    folders = ("data", "tmp", "run", "plugins")
    empty_bytes = 120 * 1024 * 1024
    users = ("mysql", "nobody")
    named_by = "--defaults-file="

    def __init__(self, tools: ServerTools, *, place: Path, size_bytes: int) -> None:
        super().__init__(tools.server, place=place, size_bytes=size_bytes)
        self._tools = tools
        self.admin = Account.new(f"~soulsense_{secrets.token_hex(4)}")

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._folder / "run" / "socket"

    def start(self, settings: Mapping[str, str], variables: Mapping[str, str]) -> None:
        """Make its data, and start it.

        ``settings``: of its option file; ``variables``: of its environment.
        """
        begin = self._folder / "begin.sql"
        own = {
            "basedir": self._tools.base,
            "datadir": self._folder / "data",
            "tmpdir": self._folder / "tmp",
            "socket": self.socket,
            "pid-file": self.pid_file,
            "plugin-dir": self._folder / "plugins",
            "secure-file-priv": self._folder / "tmp",
            "init-file": begin,
            "innodb-log-file-size": _LOG_BYTES,
        }
        # Else it refuses to run as root.
        as_root = {"user": "root"} if os.geteuid() == 0 and not self._owner else {}
        lines = [
            f"{name}={_option(str(value))}"
            for name, value in {**settings, **_QUICK, **own, **as_root}.items()
        ]
        options = self._folder / "server.cnf"
        self._give(options, text="\n".join(["[mariadbd]", *lines, ""]))
        self._give(begin, text=self._first_statements())
        # Of the settings, those that its data is made with.
        made_with = [
            f"--{name}={settings[name]}"
            for name in ("innodb-page-size", "lower-case-table-names")
            if name in settings
        ]
        install = [
            *self._tools.making(self._folder / "data"),
            f"--tmpdir={self._folder / 'tmp'}",
            f"--innodb-log-file-size={_LOG_BYTES}",
            *made_with,
            *(f"--user={user}" for user in as_root.values()),
        ]
        self._run(
            [install, [str(self._tools.server), f"--defaults-file={options}"]],
            environment() | dict(variables),
        )

    def _first_statements(self) -> str:
        who = f"{quoted(self.admin.user)}@`localhost`"
        return "\n".join(
            (
                "DELETE FROM mysql.global_priv WHERE User <> 'mariadb.sys';",
                "FLUSH PRIVILEGES;",
                f"CREATE USER {who} {self.admin.identified};",
                f"GRANT ALL PRIVILEGES ON *.* TO {who} WITH GRANT OPTION;",
                "",
            )
        )

    def _is_ready(self) -> bool:
        return self.pid_file.stat().st_size > 0

    def _reason(self, log: str) -> str:
        """Return the first error: others come of it."""
        found = _ERROR.search(log)
        return found[1] if found else ""


def _option(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
