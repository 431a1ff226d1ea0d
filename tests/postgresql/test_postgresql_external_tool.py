"""The driver on the page "Write a driver" that has another tool make the backups."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic_project import DOORS, FIRST, Project
from doc_blocks import DOCS
from helpers import clean_environment

from postgresql.database import Database
from postgresql.server import NOBODY, Server, versions

# In the wheel, pg_verifybackup of version 18 ends by a segmentation fault.
_VERSIONS = [version for version in versions() if version < 18]
pytestmark = [
    pytest.mark.parametrize("server", _VERSIONS[-1:] or [0], indirect=True),
    pytest.mark.slow,
]

PAGE = (DOCS / "guide" / "write-a-driver.md").read_text(encoding="utf-8")
_CODE = re.compile(r'^```python title="company_receipts.py"\n(.*?)^```$', re.DOTALL | re.MULTILINE)
_COMMITS = (
    "op.drop_table('entry')\n"
    "with op.get_context().autocommit_block():\n"
    "    op.execute('CREATE TABLE half (id int)')\n"
    "op.execute('SELECT no_such_thing')"
)


class Shop:
    """A project whose migrations are protected by the page's driver, which is installed."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.places = database, folder / "base_backups"
        self.places.mkdir()
        package = folder / "package"
        installed = package / "company_receipts-1.0.dist-info"
        installed.mkdir(parents=True)
        (code,) = _CODE.findall(PAGE)
        assert len(code.splitlines()) <= 60
        code = code.replace("/mnt/base_backups", str(self.places))
        (package / "company_receipts.py").write_text(code, encoding="utf-8")
        (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: receipts\nVersion: 1\n")
        entry = "postgresql = company_receipts:ReceiptDriver"
        assert entry in PAGE.replace('"', "")
        (installed / "entry_points.txt").write_text(f"[soulsense_db.drivers]\n{entry}\n")
        self.project = Project(folder / "project", DOORS[-1])
        url = database.url.replace("%", "%%")
        ini = re.sub(r"(?m)^sqlalchemy.url.*$", f"sqlalchemy.url = {url}", self._ini)
        self.project.ini.write_text(ini)
        self.environment = clean_environment() | {
            "PYTHONPATH": str(package),
            "SOULSENSE_BACKUP": "1",
        }
        self.project.revision("first", None, FIRST)
        self.project.revision(
            "broken", "first", "op.drop_table('entry')\nop.execute('SELECT nono')"
        )
        self.project.revision("half", "first", _COMMITS)

    @property
    def _ini(self) -> str:
        return self.project.ini.read_text()

    def run(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project's folder."""
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=self.project.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def soulsense(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run our command line."""
        return self.run("soulsense_db", *arguments)


@pytest.fixture
def shop(server: Server, tmp_path: Path) -> Iterator[Shop]:
    """Return a project at its first revision."""
    with Database(server) as database:
        made = Shop(database, tmp_path)
        done = made.run("alembic", "upgrade", "first")
        assert done.returncode == 0, done.stderr
        yield made


def test_the_hook_has_the_tool_make_a_backup(shop: Shop, server: Server) -> None:
    """It is there before the steps, is whole by the tool's word, and a server starts on it."""
    done = shop.run("alembic", "upgrade", "broken")
    assert "the server rolled it back" in done.stderr
    assert shop.database.scalar("SELECT count(*) FROM entry") == 3
    assert len(list(shop.places.iterdir())) == 2
    again = shop.run("alembic", "upgrade", "broken")
    assert "the server rolled it back" in again.stderr
    assert len(list(shop.places.iterdir())) == 3
    listed = json.loads(shop.soulsense("list", "--json").stdout)["result"]["backups"]
    assert [one["target_revision"] for one in listed] == ["broken", "broken", "first"]
    assert "Before broken" in listed[0]["description"]
    verified = shop.soulsense("verify", "latest", "--level", "full")
    assert verified.returncode == 0, verified.stderr
    place = Path(json.loads(Path(listed[0]["path"]).read_text())["place"])
    assert _rows_in(place, server, shop.database.name) == "3"
    _flip(place / "global" / "pg_control")
    damaged = shop.soulsense("verify", "latest", "--level", "full")
    assert damaged.returncode == 21
    assert "pg_verifybackup" in damaged.stderr


def test_what_only_a_person_can_restore_is_said(shop: Shop) -> None:
    """Half of a migration was committed: the next one is refused until a person has restored."""
    done = shop.run("alembic", "upgrade", "half")
    assert "could NOT be put back" in done.stderr
    assert f"start a server on a copy of {shop.places}" in done.stderr
    assert "half migrated" in shop.run("alembic", "upgrade", "half").stderr
    made = list(shop.places.iterdir())
    refused = shop.soulsense("restore", "latest", "--yes")
    assert list(shop.places.iterdir()) == made  # nothing is copied to find that out
    assert refused.returncode == 13
    assert "Not restored: start a server on a copy of" in refused.stderr
    assert shop.database.scalar("SELECT count(*) FROM half") == 0
    assert shop.soulsense("restore", "--accept", "--yes").returncode == 0


def test_no_migration_without_the_tool_s_backup(shop: Shop) -> None:
    """Where the tool fails, its own words are the error, and no step is run."""
    shutil.rmtree(shop.places)
    shop.places.touch()
    done = shop.run("alembic", "upgrade", "broken")
    assert done.returncode != 0
    assert "pg_basebackup" in done.stderr
    assert shop.database.scalar("SELECT count(*) FROM entry") == 3
    gone = shop.soulsense("verify", "latest")
    assert gone.returncode == 21


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)


def _rows_in(place: Path, server: Server, database: str) -> str:
    """Start a server on a copy of the tool's backup, and return how many entries it has."""
    copy = server.folder / "restored"
    shutil.copytree(place, copy)
    (copy / "postmaster.pid").unlink(missing_ok=True)
    for path in (copy, *copy.rglob("*")):
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
    options = f"-h '' -k {server.socket} -p 5555 -c fsync=off"
    server.run("pg_ctl", "-w", "-D", str(copy), "-l", f"{copy}/log", "-o", options, "start")
    try:
        return subprocess.run(
            [
                *(str(server.bin / "psql"), "-h", str(server.socket), "-p", "5555", "-U"),
                *("postgres", "-Atc", "SELECT count(*) FROM entry", database),
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    finally:
        server.run("pg_ctl", "-w", "-D", str(copy), "-m", "immediate", "stop")
        shutil.rmtree(copy)
