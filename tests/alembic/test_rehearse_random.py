"""A hundred rehearsals of random migrations: the live database is what it was after each."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic_project import Project
from rehearsals import manager_of, project, untouched

from soulsense_db.alembic import rehearse

# What a migration may do, well or badly; {live} is the live file.
_DOING = (
    'op.add_column("entry", sa.Column("added_{n}", sa.Text))',
    'with op.batch_alter_table("entry") as batch: batch.drop_column("mood")',
    'with op.batch_alter_table("person", recreate="always") as batch:\n'
    '    batch.alter_column("name", type_=sa.String({n}))',
    "op.execute(\"UPDATE entry SET text = substr(text, 1, {n} % 4) || 'x'\")",
    'op.execute("UPDATE entry SET mood = NULL WHERE id % 2")',
    'op.execute("DELETE FROM entry WHERE id > {n} % 3")',
    'op.execute("PRAGMA foreign_keys = ON"); op.execute("DELETE FROM person WHERE id = 1")',
    'op.create_table("made_{n}", sa.Column("id", sa.Integer, primary_key=True))',
    'op.execute("CREATE INDEX made_index_{n} ON entry (text)")',
    'op.execute("DROP TABLE entry")',
    "op.execute(\"INSERT INTO entry (person_id, text) VALUES (99, 'nobody')\")",
    'op.execute("COMMIT"); op.execute("VACUUM"); op.execute("BEGIN")',
    'op.execute("COMMIT"); op.execute("PRAGMA journal_mode = {mode}"); op.execute("BEGIN")',
    'op.execute("INSERT INTO nowhere VALUES (1)")',
    'raise RuntimeError("on purpose")',
    "os._exit({n} % 3)",
    "os.kill(os.getpid(), signal.SIGKILL)",
    "import sqlite3\nother = sqlite3.connect('{live}', timeout=0.1)\n"
    "try:\n    other.execute('DELETE FROM entry'); other.commit()\n"
    "except sqlite3.OperationalError: pass\nother.close()",
    "import sqlite3\nother = sqlite3.connect('file:{live}?mode=rw', uri=True, timeout=0.1)\n"
    "try:\n    other.execute('CREATE TABLE other (a)'); other.commit()\n"
    "except sqlite3.OperationalError: pass\nother.close()",
    "other = sa.create_engine('sqlite:///{live}', connect_args={{'timeout': 0.1}})\n"
    "try:\n    with other.begin() as connection:\n"
    "        connection.execute(sa.text('DELETE FROM person'))\n"
    "except sa.exc.OperationalError: pass",
    'op.execute("COMMIT"); op.execute("ATTACH \'{live}\' AS live")\n'
    'op.execute("DELETE FROM live.entry")',
    "open('{live}', 'r+b').truncate()",
    "Path('{live}').write_bytes(b'')",
    "os.truncate('{live}', 0)",
    "os.remove('{live}')",
    "os.rename('{live}', '{live}.gone')",
    "os.chmod('{live}', 0o400)",
    "os.utime('{live}')",
    "os.symlink('/nowhere', '{live}-wal')",
    "import shutil\nshutil.copyfile(__file__, '{live}')",
    "import shutil\nshutil.move('{folder}', '{folder}-gone')",
    "os.rename('{folder}', '{folder}-gone')",
)


def _body(chosen: random.Random, made: Project) -> str:
    """Return one to three things that a migration does."""
    return "\n".join(
        one.format(
            n=chosen.randrange(1000),
            mode=chosen.choice(["WAL", "DELETE", "TRUNCATE"]),
            live=made.database,
            folder=made.folder,
        )
        for one in chosen.sample(_DOING, chosen.randint(1, 3))
    )


@pytest.mark.slow
@pytest.mark.parametrize("journal_mode", ["DELETE", "WAL"])
@pytest.mark.parametrize("seed", range(3))
def test_random_migrations_leave_the_live_database_alone(
    tmp_path: Path, seed: int, journal_mode: str
) -> None:
    """Seven rehearsals each: bytes, mtime, inode, mode and data_version are as before."""
    made = project(tmp_path / "project")
    manager = manager_of(made)
    chosen = random.Random(f"{seed} {journal_mode}")
    with closing(sqlite3.connect(made.database)) as held:
        held.execute(f"PRAGMA journal_mode = {journal_mode}")
        held.execute("UPDATE entry SET mood = 4 WHERE id = 1")
        held.commit()  # in WAL mode this is in the log, which stays: a connection is open
        versions = held.execute("PRAGMA data_version").fetchone()
        mode = made.database.stat().st_mode
        for number in range(7):
            body = _body(chosen, made)
            made.revision("second", "first", body)
            with untouched(made.folder, but=("-shm",)):
                report = rehearse(made.config(), manager=manager, timeout=120)
            assert report.live_unchanged, (number, body)
            assert made.database.stat().st_mode == mode, (number, body)
            assert held.execute("PRAGMA data_version").fetchone() == versions, (number, body)
