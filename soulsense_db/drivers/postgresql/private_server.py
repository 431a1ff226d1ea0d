"""A PostgreSQL server of our own, for as long as it is used."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import signal
from collections.abc import Mapping
from pathlib import Path

from soulsense_db.drivers.postgresql.private_errors import lacks_entry, not_reached
from soulsense_db.drivers.postgresql.server_tools import ServerTools
from soulsense_db.drivers.private_server import PrivateServer

_PORT = "5432"
# What makes it quick, and changes nothing of what statements do: its data need not outlive it. Of
# statements, which may have rows in them, its log has none.
_OWN = {
    "listen_addresses": "",
    "port": _PORT,
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "128MB",
    "dynamic_shared_memory_type": "mmap",  # in its folder, not where all others are
    "max_connections": "200",
    "log_min_messages": "log",  # which is beyond errors
    "log_min_error_statement": "panic",
}
_STATUS_LINE = (
    7  # of postmaster.pid: LOCK_FILE_LINE_PM_STATUS of its pidfile.h, which counts from 1
)
# What comes first tells more: the last is that there are errors in a file.
_REASON = re.compile(
    r"(?:LOG:\s+(?=unrecognized|invalid|could not)|FATAL:\s+|initdb: error:\s+)(.*)"
)


class PrivatePostgreSQL(PrivateServer):
    """A server that is started by :meth:`start`, and gone after :meth:`stop`."""

    prefix = "soulsense_db-postgresql-"
    folders = ("data", "run", "spaces")
    empty_bytes = 120 * 1024 * 1024
    users = ("postgres", "nobody")
    named_by = "-D"
    # Its processes each lead a group of their own: upon this one it ends them itself, at once.
    ended_by = signal.SIGQUIT

    def __init__(self, tools: ServerTools, *, place: Path) -> None:
        self._tools = tools
        super().__init__(tools.server, place=place)
        self.password = secrets.token_hex(20)

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._folder / "run" / f".s.PGSQL.{_PORT}"

    def reached(self, user: str) -> dict[str, str]:
        """Return how ``user`` gets there, by libpq's names; all users have one password."""
        folder = str(self.socket.parent)
        return {"host": folder, "port": _PORT, "user": user, "password": self.password}

    def start(self, administrator: str, settings: Mapping[str, str]) -> None:
        """Make its data, with one user, and start it with ``settings``."""
        options, password = self._folder / "server.conf", self._folder / "password"
        data = self._folder / "data"
        own = {
            **_OWN,
            "unix_socket_directories": '"' + str(self.socket.parent).replace('"', '""') + '"',
            "external_pid_file": str(self.pid_file),
        }
        lines = [f"{name} = {_value(value)}\n" for name, value in {**settings, **own}.items()]
        self._give(options, text="".join(lines))
        self._give(password, text=f"{self.password}\n")
        make = [
            str(self._tools.maker),
            f"--pgdata={data}",
            f"--username={administrator}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ]
        run = [str(self._tools.server), f"-D{data}", "-c", f"config_file={options}"]
        environment = {key: one for key, one in os.environ.items() if not key.startswith("PG")}
        self._run([make, run], {**environment, "LC_ALL": "C"})
        password.unlink()

    def new_space(self) -> Path:
        """Make a folder for a tablespace."""
        folder = self._folder / "spaces" / secrets.token_hex(4)
        self._give(folder, is_folder=True)
        return folder

    def _is_ready(self) -> bool:
        said = (self._folder / "data" / "postmaster.pid").read_text(errors="replace").splitlines()
        is_up = len(said) > _STATUS_LINE and said[_STATUS_LINE].strip() == "ready"
        return is_up and self.pid_file.stat().st_size > 0

    def _reason(self, log: str) -> str:
        """Return the first error: others come of it."""
        found = _REASON.search(log)
        return found[1] if found else ""

    def _owner_in(self, place: Path) -> dict[str, int]:
        """Return who it runs as; raise where no name is known of him."""
        owner = super()._owner_in(place)
        user = owner.get("user", os.geteuid())
        try:
            pwd.getpwuid(user)
        except KeyError:
            raise lacks_entry(self._program, user) from None
        return owner

    def _unreached(self, place: Path) -> dict[str, int]:
        raise not_reached(self._program, place)


def _value(text: str) -> str:
    """Return a text as it stands in a file of settings."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n") + "'"
