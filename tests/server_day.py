"""What is done with backups of a server's database in a day, by commands."""

from __future__ import annotations

import shutil
from pathlib import Path

from shell import Shell


def spend_a_day(folder: Path, url: str) -> None:
    """Back up on a schedule, with a mirror and a drill; lose all backups, and restore one."""
    shell = Shell(folder)
    mirror = f"file://{folder / 'mirror'}"
    on = ("--url", url, "--mirror", mirror)
    shell.ok("mirror", "add", mirror, "--url", url)
    made = shell.json("auto", "--drill", *on)["created"]
    checks = {one["name"]: one["state"] for one in shell.json("status", *on)["checks"]}
    assert set(checks.values()) == {"OK"}
    assert {"drill", f"mirror {mirror}"} <= set(checks)
    shell.ok("mirror", "verify", "--level", "drill", *on)
    shutil.rmtree(Path(made["path"]).parent)
    assert shell.json("list", *on)["backups"] == []
    restored = shell.json("restore", "latest", "--from", mirror, "--yes", "--url", url)
    assert restored["backup"]["id"] == made["id"]
    assert restored["verified"]
    shell.ok("undo", "--yes", *on)
    shell.ok("prune", "--keep-last", "1", "--yes", *on)
