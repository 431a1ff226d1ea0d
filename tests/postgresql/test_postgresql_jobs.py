"""Several jobs of pg_dump and pg_restore make and restore the backup that one makes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shell import Shell

from postgresql import content
from postgresql.database import Database
from postgresql.newest import on_newest
from postgresql.noting import NotingPrograms
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.codecs import Compression
from soulsense_db.drivers.postgresql import archive
from soulsense_db.errors import (
    BackupError,
    NotEnoughSpaceError,
    OptionError,
    ServerToolError,
    StorageError,
)

SEVERAL = "--format=directory"


@pytest.fixture
def shop(server: Server) -> Iterator[Database]:
    """Return a database with three tables and three large objects."""
    with Database(server) as made:
        made.execute(
            "CREATE TABLE one (id int PRIMARY KEY, body text)",
            "INSERT INTO one SELECT n, repeat('x', 100) FROM generate_series(1, 9000) AS n",
            "CREATE TABLE two AS SELECT * FROM one",
            "CREATE TABLE none (id int)",
            "SELECT lo_from_bytea(0, decode(repeat('00ff41', 30000), 'hex'))",
            "SELECT lo_from_bytea(0, 'short'), lo_create(4000000000)",
        )
        yield made


def written(server: Server, path: Path, *options: str, is_stream: bool = False) -> str:
    """Return what pg_restore writes of a backup: statements and rows."""
    with path.open("rb") as stream:
        done = subprocess.run(
            [
                *(str(server.bin / "pg_restore"), "--file=-", *options),
                *(() if is_stream else (str(path),)),
            ],
            stdin=stream,
            capture_output=True,
            check=True,
        )
    text = done.stdout.decode("utf-8", errors="surrogateescape")
    return re.sub(r"(?m)^\\(un)?restrict .*$", "", text)


def left_in(folder: Path) -> list[str]:
    """Return the names of what is worked with in a folder."""
    return sorted(path.name for path in folder.iterdir() if "staging" in path.name)


def test_it_is_the_backup_that_one_job_makes(server: Server, tmp_path: Path) -> None:
    """Whatever PostgreSQL can hold: for pg_restore there is no difference, nor for the driver."""
    content.make_roles(server)
    with content.database(server, "app", content=content.EVERYTHING):
        driver = content.driver_on(server, "app")
        driver.tools_directory = server.bin
        paths = [tmp_path / "one.pgdump", tmp_path / "three.pgdump"]
        for path, jobs in zip(paths, (1, 3), strict=True):
            path.touch()
            driver.jobs = jobs
            driver.snapshot(path)
        one, three = (written(server, path) for path in paths)
        assert one == three
        assert written(server, paths[1], is_stream=True) == one
        assert written(server, paths[1], "--list").count("\n") > 50
        assert driver.check(paths[1], level="full").row_errors == ()
        described = [archive.read(path) for path in paths]
        assert described[0].tables == described[1].tables
        assert driver.diff(*paths) == driver.diff(paths[0], paths[0])
        before = content.facts(server, "app")
        driver.load(paths[1])
        driver.check_loaded(driver.schema_of(paths[1]))
        assert content.facts(server, "app") == before
        assert left_in(tmp_path) == []


@on_newest
def test_a_manager_has_several_jobs(shop: Database, tmp_path: Path) -> None:
    """For backups, drills, restores and undo, in each form; the safety backup is made so, too."""
    programs = NotingPrograms(shop.server, tmp_path / "bin")
    plain = BackupManager(shop.engine, tmp_path / "plain", tools=programs.folder, jobs=2)
    info = plain.create()
    assert programs.asked("pg_dump", words="--jobs=2")
    assert plain.verify(info, level="drill")
    shop.execute("DELETE FROM one")
    assert plain.compare(info).tables[0].gained == 9000
    plain.restore(info)
    assert shop.scalar("SELECT count(*) FROM one") == 9000
    plain.undo_restore()
    assert shop.scalar("SELECT count(*) FROM one") == 0
    compressed = BackupManager(
        shop.engine, tmp_path / "compressed", tools=programs.folder, jobs=2, compression="zstd"
    )
    compressed.restore(compressed.create())
    # Two backups, a comparison, and three safety backups.
    assert len(programs.asked("pg_dump", words=SEVERAL)) == 2 + 1 + 3
    loads = programs.asked("pg_restore", words="--dbname=")
    assert loads
    assert all("--jobs=2" in one and "--single" not in one for one in loads)
    assert not list(tmp_path.rglob("*.parts"))


@on_newest
def test_the_option_is_read_everywhere(shop: Database, tmp_path: Path) -> None:
    """On the command line and in alembic.ini; what is no number of jobs is an error."""
    programs = NotingPrograms(shop.server, tmp_path / "bin")
    shell = Shell(tmp_path)

    def jobs() -> str:
        found = re.search(r"--jobs=(\d+)", programs.asked("pg_dump")[-1])
        return found[1] if found else "1"

    ini = f"[alembic]\nsqlalchemy.url = {shop.url}\nsoulsense_tools = {programs.folder}\n"
    (shell.folder / "alembic.ini").write_text(f"{ini}soulsense_jobs = 2\n")
    shell.ok("create")
    assert jobs() == "2"
    shell.ok("create", "--jobs", "4")
    assert jobs() == "4"
    assert "a whole number" in shell.fails(OptionError, "create", "--jobs", "0")
    with pytest.raises(OptionError, match="jobs is 0"):
        BackupManager(shop.engine, tmp_path / "backups", jobs=0)


@on_newest
def test_who_changes_a_table_meanwhile_does_not_end_the_backup(
    shop: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of several jobs none waits for a lock: then one job makes the backup, and says so."""
    programs = NotingPrograms(
        shop.server,
        tmp_path / "bin",
        before="echo 'pg_dump: error: could not obtain lock on relation \"public.one\"' >&2\n"
        "echo 'This usually means that someone requested a lock.' >&2\n"
        "echo 'pg_dump: error: a worker process died unexpectedly' >&2\nexit 1",
    )
    folder = tmp_path / "backups"
    manager = BackupManager(shop.engine, folder, tools=programs.folder, jobs=4)
    assert (manager.create().row_counts or {})["one"] == 9000
    assert "One job of pg_dump backs" in caplog.text
    assert len(programs.asked("pg_dump", words=SEVERAL)) == 1
    assert left_in(folder) == []


@on_newest
def test_a_change_of_a_table_comes_first(
    shop: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It waits for our locks, and pg_dump for it: it is let in, and is in the backup then."""
    psql = f"{shop.server.bin}/psql -XqAt -h {shop.server.socket} -U postgres {shop.name}"
    programs = NotingPrograms(
        shop.server,
        tmp_path / "bin",
        before=f"{psql} -c 'ALTER TABLE one ADD extra int' >/dev/null 2>&1 &\n"
        f"until [ $({psql} -c 'SELECT count(*) FROM pg_locks WHERE NOT granted') -gt 0 ]\n"
        "do :; done",
    )
    manager = BackupManager(
        shop.engine, tmp_path / "backups", tools=programs.folder, jobs=2, catalog=False
    )
    info = manager.create()
    assert "One job of pg_dump backs" in caplog.text
    assert "extra integer" in written(shop.server, Path(info.path), "--schema-only")
    assert left_in(tmp_path / "backups") == []


KILLED = """
import os, signal, sys
import sqlalchemy as sa
from soulsense_db import BackupManager
from soulsense_db.codecs import Compression
from soulsense_db.drivers.postgresql import parallel

url, directory, tools, work, where = sys.argv[1:]
def die(*arguments, **keywords):
    os.kill(os.getpid(), signal.SIGKILL)

def some(*arguments, **keywords):
    yield b"begun"
    die()

parallel.packed = {"before": die, "meanwhile": some}.get(where, parallel.packed)
manager = BackupManager(
    sa.create_engine(url), directory, tools=tools, jobs=2, catalog=False, work_directory=work,
    compression="zstd" if "compressed" in directory else None,
)
if where == "restore":
    parallel.packed = some
    manager.restore("latest")
else:
    manager.create()
"""


def killed(shop: Database, directory: Path, tools: Path, where: str) -> None:
    """Make a backup in a process that dies."""
    work = directory.parent / "work"
    work.mkdir(exist_ok=True)
    words = [shop.url, str(directory), str(tools), str(work), where]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@on_newest
@pytest.mark.parametrize("form", ["plain", "compressed"])
def test_the_next_one_removes_what_a_kill_left(shop: Database, tmp_path: Path, form: str) -> None:
    """The folder and all in it, wherever that is; nobody else can look into it until then."""
    directory = tmp_path / form
    for where in ("before", "meanwhile") if form == "plain" else ("meanwhile",):
        killed(shop, directory, shop.server.bin, where)
        (folder,) = tmp_path.rglob("*.parts")
        assert folder.stat().st_mode & 0o777 == 0o700
        manager = BackupManager(
            shop.engine,
            directory,
            jobs=1,
            catalog=False,
            work_directory=tmp_path / "work",
            compression=Compression() if form == "compressed" else None,
        )
        manager.create()
        assert not folder.exists()
    assert sorted(path.suffix for path in (tmp_path / "work").iterdir()) == []


@on_newest
def test_pg_dump_may_outlive_a_killed_process(shop: Database, tmp_path: Path) -> None:
    """It goes on writing for a while; the next backup removes what it has written all the same."""
    marks = tmp_path / "marks"
    marks.mkdir()
    programs = NotingPrograms(
        shop.server,
        tmp_path / "bin",
        before=f"mkdir -p $folder; touch {marks}/begun; "
        f"while [ -d $folder ]; do touch $folder/$(date +%N).dat; done; touch {marks}/ended; "
        "exit 1",
    )
    directory = tmp_path / "backups"
    work = tmp_path / "work"
    work.mkdir()
    words = [shop.url, str(directory), str(programs.folder), str(work), "never"]
    process = subprocess.Popen([sys.executable, "-c", KILLED, *words])
    _until((marks / "begun").exists)
    process.kill()
    process.wait()
    assert list(directory.glob(".*.parts"))
    BackupManager(shop.engine, directory, catalog=False).create()
    assert not list(directory.glob(".*.parts"))
    _until((marks / "ended").exists)
    assert len(list(directory.glob("*.pgdump"))) == 1


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@on_newest
def test_a_kill_at_the_safety_backup_leaves_no_folder(shop: Database, tmp_path: Path) -> None:
    """The restore is done then; the next operation writes the safety backup, and tidies up."""
    directory = tmp_path / "backups"
    manager = BackupManager(shop.engine, directory, catalog=False)
    manager.create()
    shop.execute("DELETE FROM one")
    killed(shop, directory, shop.server.bin, "restore")
    assert len(list(directory.rglob("*.parts"))) == 1
    assert shop.scalar("SELECT count(*) FROM one") == 9000
    manager.undo_restore()
    assert shop.scalar("SELECT count(*) FROM one") == 0
    assert not list(directory.rglob("*.parts"))


@on_newest
@pytest.mark.parametrize(
    ("after", "kind", "words"),
    [
        ("printf 'PGDMP\\001\\143' | dd of=$folder/toc.dat conv=notrunc", ServerToolError, "1.99"),
        ("printf more >> $folder/toc.dat", ServerToolError, "goes on after its end"),
        ("truncate -s 900 $folder/toc.dat", ServerToolError, "ends too early"),
        (
            "for one in $folder/blobs_*.toc; do echo odd >> $one; done",
            ServerToolError,
            "unknown line",
        ),
        ("rm -f $folder/[0-9]*.dat", StorageError, "No such file"),
        ("echo 'pg_dump: error: No space left on device' >&2; exit 1", NotEnoughSpaceError, "full"),
    ],
)
def test_what_is_not_understood_is_no_backup(
    shop: Database, tmp_path: Path, after: str, kind: type[BackupError], words: str
) -> None:
    """An unknown version, or a folder that is not whole, is an error, and nothing is left."""
    programs = NotingPrograms(shop.server, tmp_path / "bin", after=f"({after}) || exit 1")
    manager = BackupManager(shop.engine, tmp_path / "to", tools=programs.folder, jobs=2)
    with pytest.raises(kind, match=words):
        manager.create()
    assert manager.list() == []
    assert left_in(tmp_path / "to") == []


@on_newest
def test_room_is_asked_for_both(
    shop: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the folder and the largest of its files again: each is removed once it was read."""
    driver = content.driver_on(shop.server, shop.name)
    size = driver.size()
    asked: list[int] = []
    monkeypatch.setattr(
        "soulsense_db.fs.require_space", lambda _folder, needed: asked.append(needed)
    )
    path = tmp_path / "backup.pgdump"
    path.touch()
    driver.jobs = 2
    driver.snapshot(path)
    assert size * 1.2 < asked[-1] < size * 2
    assert os.listdir(tmp_path) == ["backup.pgdump"]
