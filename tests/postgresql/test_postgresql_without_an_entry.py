"""A process whose user has no entry in the system's list of users, as in many a container."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from helpers import PROGRAMS, clean_environment

from postgresql.newest import on_newest
from postgresql.owned import Owned
from postgresql.server import Server

WITHOUT_ENTRY = 54321
NAMES = {"USER", "LOGNAME", "LNAME", "USERNAME"}


@on_newest
@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_only_a_server_of_our_own_needs_an_entry(server: Server, tmp_path: Path) -> None:
    """Backups are made, checked and restored without one; a drill says that it needs one."""
    with tempfile.TemporaryDirectory(prefix="n-") as folder, Owned(server) as shop:
        Path(folder).chmod(0o755)  # root's server runs as somebody else
        os.chown(folder, WITHOUT_ENTRY, WITHOUT_ENTRY)
        shop.execute("CREATE TABLE note (id int)", "INSERT INTO note VALUES (1)")
        env = {key: one for key, one in clean_environment().items() if key not in NAMES}
        env |= {"HOME": folder, "TMPDIR": folder, "PATH": f"{server.bin}:{os.environ['PATH']}"}
        program = PROGRAMS / "without_an_entry.py"
        done = subprocess.run(
            [sys.executable, program, str(WITHOUT_ENTRY), shop.url, tmp_path, f"{folder}/his"],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert not list(Path(folder).glob("soulsense_db-*"))
    assert done.stdout.count("\n") == 1, "root's drill is one"
    assert f"this user (uid {WITHOUT_ENTRY}) has no entry in the system's list" in done.stdout
    assert "CREATEDB" in done.stdout
