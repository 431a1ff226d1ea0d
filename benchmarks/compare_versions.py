"""How long create, restore, list and the hook take in two checkouts, side by side in one run.

    python benchmarks/compare_versions.py OLD_CHECKOUT NEW_CHECKOUT [MEGABYTES] [ROUNDS]

Both run with this interpreter, which has what they depend on; each call is a process of its own,
and the two take turns. Printed are the medians of seconds and of the most memory that the process
had, each as new beside old. List: 10,000 backups. Hook: what it adds to an upgrade with one step.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

MEGABYTES, ROUNDS = 200, 7
BACKUPS = 10_000
HEADER = """
import dataclasses, json, re, sys, time
from pathlib import Path
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
import soulsense_db
from soulsense_db import BackupManager
from soulsense_db.backup_info import to_meta

folder, checkout = Path(sys.argv[1]), sys.argv[2]
assert soulsense_db.__file__.startswith(checkout), soulsense_db.__file__
BackupManager.from_url("sqlite://")  # imports the driver, which one version does at once
def manager():
    return BackupManager(sa.create_engine(f"sqlite:///{folder / 'app.db'}"))
def measure(work):
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    # Not ru_maxrss, which counts what the parent had when it forked.
    (peak,) = re.findall(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())
    print(json.dumps([seconds, int(peak) / 1024]))
def upgrade():
    config = Config()
    config.set_main_option("script_location", str(folder / "migrations"))
    config.set_main_option("database", str(folder / "app.db"))
    command.upgrade(config, "head")
"""
PREPARE = {
    "create, restore": "manager().create('good')",
    "list": f"""
info = manager().create("a small one")
for number in range({BACKUPS}):
    name = f"soulsense_backup_20200101_{{number // 3600 % 24:02}}{{number // 60 % 60:02}}"
    name += f"{{number % 60:02}}_{{number}}.db"
    path = Path(info.path).with_name(name)
    path.hardlink_to(info.path)
    other = dataclasses.replace(info, path=str(path), id=f"{{number:012x}}")
    Path(f"{{path}}.meta").write_bytes(to_meta(other))
""",
}
WORK = {
    "create": "measure(lambda: manager().create('new'))",
    "restore": "measure(lambda: manager().restore('latest'))",
    "list": "measure(lambda: manager().list())",
    "upgrade, protected": "measure(upgrade)",
}
# Which folder each one runs in.
PLACES = {"create": "create, restore", "restore": "create, restore", "list": "list"}
ENV_PY = """
import sqlalchemy as sa
from alembic import context
from soulsense_db.alembic import safe_migrations

engine = sa.create_engine("sqlite:///" + context.config.get_main_option("database"))
with engine.connect() as connection:
    context.configure(connection=connection)
    with safe_migrations(context):
        context.run_migrations()
"""
REVISION = """
from alembic import op

revision, down_revision = "r1", None

def upgrade():
    op.execute("CREATE TABLE mood (id INTEGER PRIMARY KEY)")
"""


def run(checkout: Path, folder: Path, script: str) -> str:
    """Run ``script`` with the package of a checkout; return what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SOULSENSE_")}
    finished = subprocess.run(
        [sys.executable, "-c", HEADER + script, str(folder), str(checkout)],
        env=environment | {"PYTHONPATH": str(checkout)},
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return finished.stdout


def prepare(checkout: Path, place: Path, megabytes: int) -> dict[str, Path]:
    """Make the folders of one checkout; return them by what runs there."""
    from speed import make_database

    folders = {}
    for name in ("create, restore", "list", "upgrade, protected"):
        folder = folders[name] = place / name
        folder.mkdir(parents=True)
        make_database(folder / "app.db", 1 if name == "list" else megabytes)
        if script := PREPARE.get(name):
            run(checkout, folder, script)
    scripts = folders["upgrade, protected"] / "migrations"
    (scripts / "versions").mkdir(parents=True)
    (scripts / "env.py").write_text(ENV_PY)
    (scripts / "versions" / "r1.py").write_text(REVISION)
    return folders


def measured(checkout: Path, folders: dict[str, Path], name: str) -> tuple[float, float]:
    """Return seconds and megabytes of one call; what it made is removed."""
    folder = folders[PLACES.get(name, name)]
    copy = folder.with_name("copy")
    if name == "upgrade, protected":
        shutil.copytree(folder, copy)
        os.sync()
        folder = copy
    before = set(folder.rglob("*"))
    seconds, megabytes = json.loads(run(checkout, folder, WORK[name]))
    if name == "create":
        for path in set(folder.rglob("*_new.*")) - before:
            path.unlink()
    shutil.rmtree(copy, ignore_errors=True)
    return seconds, megabytes


def main() -> None:
    """Measure in turns and print."""
    old, new = (Path(argument).resolve() for argument in sys.argv[1:3])
    megabytes, rounds = [*map(int, sys.argv[3:]), *(MEGABYTES, ROUNDS)[len(sys.argv) - 3 :]]
    place = Path(tempfile.mkdtemp())
    try:
        folders = {
            checkout: prepare(checkout, place / side, megabytes)
            for side, checkout in (("old", old), ("new", new))
        }
        found = defaultdict(list)
        for number in range(rounds):
            for name in WORK:
                for checkout in (old, new) if number % 2 else (new, old):
                    found[name, checkout].append(measured(checkout, folders[checkout], name))
        print(f"{megabytes} MB, {rounds} rounds, medians     seconds                   MB")
        for name in WORK:
            cells = []
            for index in (0, 1):
                before = statistics.median(pair[index] for pair in found[name, old])
                after = statistics.median(pair[index] for pair in found[name, new])
                cells.append(f"{before:8.2f} -> {after:8.2f} ({after / before:.2f})")
            print(f"{name:25} {cells[0]}   {cells[1]}")
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
