"""How long a rehearsal takes beside a backup of the same database, in one run: medians, ratios.

    python3 benchmarks/rehearsal.py [MEGABYTES] [ROUNDS]

Three migrations are rehearsed: one that adds a column and a small table, one that updates every
hundredth row of a table with half of the data, and one that creates that table anew. What the
migrations themselves take is taken off: ``alembic upgrade``, timed on a copy in each round.
"""

from __future__ import annotations

import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from speed import numbers, timed

from soulsense_db import BackupManager
from soulsense_db.alembic import rehearse

_MIGRATIONS = {
    "adds a column": 'op.add_column("note", sa.Column("mood", sa.Integer))\n'
    '    op.create_table("tag", sa.Column("id", sa.Integer, primary_key=True))',
    "updates 1 row in 100": "op.execute(\"UPDATE note SET title = 'x' || title "
    'WHERE id % 100 = 0")',
    "creates half anew": 'with op.batch_alter_table("note", recreate="always") as batch:\n'
    '        batch.alter_column("title", type_=sa.String(400))',
}
_REVISION = '''"""{name}"""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{revision}", {after!r}
def upgrade():
    {body}
def downgrade():
    pass
'''
_ROWS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"


def make_database(path: Path, megabytes: int) -> None:
    """Make a WAL database of about that size: notes of a kilobyte, as text, in two tables."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for table in ("note", "entry"):
            connection.execute(
                f"CREATE TABLE {table} "
                "(id INTEGER PRIMARY KEY, title VARCHAR(200), body TEXT, n INTEGER)"
            )
            connection.execute(
                f"{_ROWS} INSERT INTO {table} "
                "SELECT i, 'Title ' || i, hex(randomblob(450)), i FROM n",
                (megabytes * 530,),
            )
            connection.execute(f"CREATE INDEX {table}_title ON {table} (title)")
        connection.commit()


def make_project(folder: Path, database: Path, body: str) -> Config:
    """Make an Alembic project at revision ``first``, with one more to come."""
    config = Config(str(folder / "alembic.ini"))
    command.init(config, str(folder / "migrations"))
    config.set_main_option("sqlalchemy.url", f"sqlite:///{database}")
    for revision, after, steps in (("first", None, "pass"), ("second", "first", body)):
        text = _REVISION.format(name=revision, revision=revision, after=after, body=steps)
        (folder / "migrations" / "versions" / f"{revision}.py").write_text(text)
    return config


def timed_upgrade(ini: Path, manager: BackupManager, copy: Path) -> float:
    """Return how long the ``alembic`` command takes for the same on a copy."""
    with manager.scratch_copy() as scratch:
        shutil.copyfile(scratch.path, copy)
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    text = ini.read_text()
    url = next(line for line in text.splitlines() if line.startswith("sqlalchemy.url"))
    other = ini.with_name("copy.ini")
    other.write_text(text.replace(url, f"sqlalchemy.url = sqlite:///{copy}"))
    command = [sys.executable, "-m", "alembic", "-c", str(other), "upgrade", "head"]
    seconds = timed(lambda: subprocess.run(command, check=True, capture_output=True))
    copy.unlink()
    return seconds


def main() -> None:
    """Measure and print."""
    megabytes, rounds = numbers(500, 5)
    folder = Path(tempfile.mkdtemp())
    database = folder / "app.db"
    make_database(database, megabytes)
    manager = BackupManager.from_url(f"sqlite:///{database}", catalog=False)
    configs = {}
    for number, (name, body) in enumerate(_MIGRATIONS.items()):
        (folder / str(number)).mkdir()
        configs[name] = make_project(folder / str(number), database, body)
    command.upgrade(next(iter(configs.values())), "first")
    creates: list[float] = []
    whole: dict[str, list[float]] = {name: [] for name in configs}
    own: dict[str, list[float]] = {name: [] for name in configs}
    for _ in range(rounds):
        creates.append(timed(manager.create))
        manager.delete("latest")
        for name, config in configs.items():
            migrating = timed_upgrade(
                Path(str(config.config_file_name)), manager, folder / "copy.db"
            )
            started = time.perf_counter()
            report = rehearse(config, manager=manager)
            assert report.failure is None, report.error
            whole[name].append(time.perf_counter() - started)
            own[name].append(whole[name][-1] - migrating)
    base = statistics.median(creates)
    size = database.stat().st_size / 1e6
    print(f"{size:.0f} MB, {rounds} rounds, medians; create {base:.2f} s")
    for name in configs:
        rest = statistics.median(own[name])
        print(
            f"  {name:22}  {statistics.median(whole[name]):6.2f} s, without the migration "
            f"{rest:6.2f} s  {rest / base:5.2f} x create"
        )
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
