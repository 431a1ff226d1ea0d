"""Migrations that no rehearsal may come to harm by: each is ended, or stopped, and named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from age_keys import Key
from alembic_project import Project
from helpers import disk_of, eventually, leftovers
from rehearsals import is_alive, kinds, manager_of, one, project, rehearsed, untouched

from soulsense_db import BackupManager, RetentionPolicy
from soulsense_db.alembic import rehearse
from soulsense_db.errors import (
    BackupNotFoundError,
    DatabaseFileNotFoundError,
    IdentityError,
    NotEnoughSpaceError,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def made(tmp_path: Path) -> Project:
    """Return a project at revision ``first``."""
    return project(tmp_path / "project")


def test_an_unknown_revision_is_named(made: Project) -> None:
    """A revision that does not exist: what Alembic says, before anything runs."""
    report = rehearsed(made, "nosuch")
    assert (
        report.error == "The migrations cannot begin: Can't locate revision identified by 'nosuch'."
    )
    assert report.steps == ()
    assert report.verdict == "No migration ran. The live database was not touched."


def test_several_heads_are_no_target(made: Project) -> None:
    """Two heads: what Alembic says, and 'heads' goes to both."""
    made.revision("left", "first", "pass")
    made.revision("right", "first", "pass")
    assert "Multiple head revisions" in rehearsed(made).error
    report = rehearsed(made, "heads")
    assert report.ok
    assert report.databases[0].alembic_heads == ("left", "right")


def test_data_of_another_branch_is_named(made: Project) -> None:
    """The data is at a revision that is not among the scripts: said in plain words."""
    made.revision("later", "first", "pass")
    made.upgrade("later")
    manager = manager_of(made)
    manager.create()
    (made.folder / "mig" / "versions" / "later.py").unlink()
    report = rehearsed(made, manager=manager, on="latest")
    assert report.error.startswith("The data is at revision later, which is not among the")


def test_a_backup_from_before_the_first_revision_is_named(made: Project) -> None:
    """Tables without a revision: the first step fails on them, and the reason is said."""
    manager = manager_of(made)
    made.call("stamp", "base")
    manager.create()
    report = rehearsed(made, manager=manager, on="latest")
    assert "table person already exists" in report.error
    assert "older than the first revision" in one(report, "older").sentence


@pytest.mark.parametrize("call", ["input('really? ')", "sys.stdin.readline() or input()"])
def test_a_question_is_answered_by_nobody(made: Project, call: str) -> None:
    """A migration that asks for input gets the end of the input; the report says what it did."""
    made.revision("second", "first", f"import sys\n{call}")
    report = rehearsed(made)
    assert report.error.startswith("Step second asks for input. Nobody is there to answer")


def test_a_migration_without_end_is_ended(made: Project, tmp_path: Path) -> None:
    """After the timeout the child is ended, and the programs that it has started."""
    pids = tmp_path / "pids"
    made.revision(
        "second",
        "first",
        "import subprocess, sys\n"
        'other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])\n'
        f'Path("{pids}").write_text(f"{{os.getpid()}} {{other.pid}}")\n'
        "time.sleep(600)",
    )
    report = rehearsed(made, timeout=8)
    assert report.error.startswith("The time limit of 8 s was reached: Step second had not come")
    for process in map(int, pids.read_text().split()):
        assert eventually(lambda process=process: not is_alive(process))  # type: ignore[misc]


def test_a_fork_is_ended_too(made: Project, tmp_path: Path) -> None:
    """What a migration forks does not outlive it, and does not speak for it."""
    pid = tmp_path / "pid"
    made.revision(
        "second",
        "first",
        "child = os.fork()\n"
        "if child == 0:\n"
        "    time.sleep(600)\n"
        "    os._exit(0)\n"
        f'Path("{pid}").write_text(str(child))',
    )
    report = rehearsed(made, timeout=60)
    assert report.ok
    assert eventually(lambda: not is_alive(int(pid.read_text())))


def test_a_fork_does_not_speak_for_it(made: Project) -> None:
    """What happens to a fork is no failure of the step, unless that says so."""
    made.revision(
        "second",
        "first",
        "child = os.fork()\n"
        "if child == 0:\n"
        "    raise RuntimeError('in the fork')\n"
        "os.waitpid(child, 0)",
    )
    report = rehearsed(made)
    assert (report.error, [step.revision for step in report.steps]) == ("", ["second"])
    assert report.steps[0].seconds is not None


def test_what_leaves_its_session_is_not_waited_for(made: Project, tmp_path: Path) -> None:
    """A program that a migration has put into the background for good does not hold it up."""
    pid = tmp_path / "pid"
    made.revision(
        "second",
        "first",
        "import subprocess, sys\n"
        'other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],\n'
        "                         start_new_session=True)\n"
        f'Path("{pid}").write_text(str(other.pid))',
    )
    try:
        report = rehearsed(made)
        assert report.ok
        assert report.seconds < 60
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("os._exit(3)", "Step second ended the process itself, with exit code 3."),
        (
            "os.kill(os.getpid(), 9)",
            "The process was ended by signal 9 (SIGKILL) while Step second",
        ),
        ("raise SystemExit(2)", "Step second fails: SystemExit: 2"),
        ("raise KeyboardInterrupt", "Step second fails: KeyboardInterrupt"),
    ],
)
def test_however_it_dies_is_said(made: Project, ending: str, said: str) -> None:
    """A step that ends its process, or is ended, is named with the way in which it ended."""
    made.revision("second", "first", ending)
    assert rehearsed(made).error.startswith(said)


@pytest.mark.parametrize(
    "connecting",
    [
        "sqlite3.connect({path!r})",
        "sqlite3.connect('file:' + {path!r} + '?mode=rw', uri=True)",
        "sqlite3.connect(Path({path!r}))",
        "sqlite3.connect(os.path.relpath({path!r}))",
        "sqlite3.connect(database={path!r}, timeout=1)",
    ],
)
def test_a_connection_by_path_is_led_to_the_copy(made: Project, connecting: str) -> None:
    """A migration that opens the live file by its path changes the copy, and is named."""
    made.revision(
        "second",
        "first",
        "import sqlite3\n"
        f"own = {connecting.format(path=str(made.database))}\n"
        'own.execute("DELETE FROM entry")\nown.commit()\nown.close()',
    )
    report = rehearsed(made)
    assert report.live_unchanged
    assert kinds(report) == [("loss", "rows_lost"), ("notice", "bypass")]
    assert one(report, "bypass").sentence == (
        f"Step second opens the live database {made.database} by itself, past Alembic's "
        "connection. It was led to the copy."
    )


@pytest.mark.parametrize(
    ("doing", "said"),
    [
        ("sqlite3.Connection(live)", "open"),
        ('op.execute(f"ATTACH {live!r} AS live")', "attach"),
        ("op.execute(f\"ATTACH 'file:{live}?mode=rw' AS live\")", "attach"),
        ("os.remove(live)", "delete"),
        ("Path(live).unlink()", "delete"),
        ("os.replace(live, live + '.old')", "rename or replace"),
        ("open(live, 'w')", "write to"),
        ("Path(live).write_bytes(b'')", "write to"),
        ("os.open(live, os.O_WRONLY)", "write to"),
        ("os.truncate(live, 0)", "truncate"),
        ("shutil.copyfile(__file__, live)", "write to"),
        ("shutil.move(live, live + '.old')", "move"),
        ("os.symlink(live, live + '.link'); open(live + '.link', 'a')", "write to"),
        ("os.link(live, live + '.link')", "make a link of"),
        ("os.chmod(live, 0o400)", "change the permissions of"),
        ("os.utime(live)", "change the times of"),
        ("os.chown(live, os.getuid(), os.getgid())", "change the owner of"),
        ("os.ftruncate(os.open(live, os.O_RDONLY), 0)", "truncate"),
        ("os.chdir('/'); os.remove('app.db', dir_fd=os.open(os.path.dirname(live), 0))", "delete"),
    ],
)
def test_the_live_file_is_kept_from_it(made: Project, doing: str, said: str) -> None:
    """What would change the live file by another way is stopped, and named."""
    made.revision(
        "second", "first", f"import shutil, sqlite3\nlive = {str(made.database)!r}\n{doing}"
    )
    link = Path(f"{made.database}.link")
    before = made.database.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        report = rehearse(made.config(), manager=manager_of(made))
    link.unlink(missing_ok=True)
    assert made.database.read_bytes() == before
    assert report.live_unchanged
    assert report.failure is not None
    assert report.failure.revision == "second"
    found = one(report, "bypass")
    assert found.severity == "warning"
    assert found.sentence.startswith(f"Step second tries to {said} the live database")


def test_a_file_is_not_attached_by_a_parameter(made: Project) -> None:
    """SQLite does not tell which file that is: none is attached."""
    made.revision(
        "second",
        "first",
        f"op.get_bind().exec_driver_sql('ATTACH ? AS live', ({str(made.database)!r},))",
    )
    report = rehearsed(made)
    assert "tries to attach a database whose name is a parameter" in one(report, "bypass").sentence
    assert not report.ok


@pytest.mark.parametrize("authorizer", ["None", "lambda *action: 0"])
def test_an_authorizer_of_the_application_takes_ours_off_for_nobody(
    made: Project, authorizer: str
) -> None:
    """What the application lets its own connections do, a rehearsal still does not."""
    made.revision(
        "second",
        "first",
        f"op.get_bind().connection.driver_connection.set_authorizer({authorizer})\n"
        f"op.execute({f'ATTACH {str(made.database)!r} AS live'!r})\n"
        'op.execute("DELETE FROM live.entry")',
    )
    report = rehearsed(made)
    assert "tries to attach" in one(report, "bypass").sentence
    assert report.live_unchanged
    assert not report.ok


def test_what_lies_beside_the_live_file_is_kept_from_it(made: Project) -> None:
    """SQLite would take a file of that name for the journal of the live database."""
    journal = f"{made.database}-journal"
    made.revision("second", "first", f"os.symlink('/nowhere', {journal!r})")
    report = rehearsed(made)
    assert f"tries to make a link of {journal} by itself" in one(report, "bypass").sentence


def test_another_name_of_the_live_file_is_no_way_to_it(made: Project, tmp_path: Path) -> None:
    """A hard link that was there before leads to the same bytes."""
    link = tmp_path / "link.db"
    link.hardlink_to(made.database)
    made.revision("second", "first", f"open({str(link)!r}, 'r+b')")
    report = rehearsed(made)
    assert f"tries to write to {link} by itself" in one(report, "bypass").sentence


@pytest.mark.parametrize(
    ("doing", "said"),
    [
        ("shutil.rmtree({!r})", "delete the directory"),
        ("shutil.move({!r}, '/nowhere/at/all')", "move"),
        ("os.rename({!r}, '/nowhere/at/all')", "rename or replace"),
    ],
)
def test_the_directory_is_kept_from_it(made: Project, doing: str, said: str) -> None:
    """The directory of the live file is not deleted or moved away either."""
    made.revision("second", "first", f"import shutil\n{doing.format(str(made.folder))}")
    report = rehearsed(made)
    assert f"tries to {said} {made.folder} by" in one(report, "bypass").sentence


def test_a_migration_may_delete_its_copy(made: Project) -> None:
    """A step that asks its connection for the file, and deletes that: said, and nothing is lost."""
    made.revision(
        "second",
        "first",
        'row = op.get_bind().exec_driver_sql("PRAGMA database_list").fetchone()\nos.remove(row[2])',
    )
    report = rehearsed(made)
    assert f"deletes its database {made.database}" in one(report, "state").sentence
    assert not report.ok


def test_other_dialects_are_refused_before_they_connect(made: Project) -> None:
    """An engine of a dialect that nobody knows reaches no server."""
    made.revision(
        "second",
        "first",
        "from sqlalchemy.dialects import registry\n"
        "from sqlalchemy.engine.default import DefaultDialect\n"
        "class Odd(DefaultDialect):\n"
        "    name = 'odd'\n"
        "    @classmethod\n"
        "    def import_dbapi(cls):\n"
        "        return __import__('sqlite3')\n"
        "import sys\n"
        "sys.modules['odd_module'] = type(sys)('odd_module')\n"
        "sys.modules['odd_module'].Odd = Odd\n"
        "registry.register('odd', 'odd_module', 'Odd')\n"
        "sa.create_engine('odd://user:secret@server/name').connect()",
    )
    report = rehearsed(made)
    assert "Databases of dialect 'odd' cannot be" in report.error
    assert "secret" not in str(report.to_json())


def test_no_values_of_rows_are_in_the_report(made: Project) -> None:
    """What was given to a statement that fails is in no part of the report."""
    made.revision(
        "second",
        "first",
        "connection = op.get_bind()\n"
        "for row in connection.execute(sa.text('SELECT name FROM person')).all():\n"
        "    connection.execute(sa.text('INSERT INTO nowhere VALUES (:name)'), {'name': row[0]})",
    )
    report = rehearsed(made)
    assert report.failure is not None
    assert report.failure.statement == "INSERT INTO nowhere VALUES (?)"
    assert "Lovelace" not in str(report.to_json())


def test_a_full_disk_is_said_before_it_begins(made: Project, tmp_path: Path) -> None:
    """No room for the copy: an error of the tree, and nothing is left."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with disk_of(64 * 1024, disk):
        manager = BackupManager.from_url(f"sqlite:///{made.database}", work_directory=disk)
        with pytest.raises(NotEnoughSpaceError):
            rehearsed(made, manager=manager)
        assert os.listdir(disk) == []


def test_a_missing_key_is_said(made: Project, tmp_path: Path) -> None:
    """An encrypted backup without its key is an error of the tree."""
    key = Key(tmp_path)
    BackupManager.from_url(f"sqlite:///{made.database}", recipients=key.public).create()
    with pytest.raises(IdentityError):
        rehearsed(made, on="latest")
    manager = BackupManager.from_url(f"sqlite:///{made.database}", identities=str(key.path))
    made.revision("second", "first", 'op.execute("DELETE FROM entry")')
    assert one(rehearsed(made, manager=manager, on="latest"), "rows_lost")


def test_an_unknown_backup_is_said(made: Project) -> None:
    """A reference to no backup is an error of the tree."""
    with pytest.raises(BackupNotFoundError):
        rehearsed(made, on="nosuch")


def test_a_missing_database_is_said(made: Project) -> None:
    """There is no database: an error of the tree, and none is made."""
    manager = manager_of(made)
    made.database.unlink()
    with pytest.raises(DatabaseFileNotFoundError):
        rehearsed(made, manager=manager)


PROGRAM = """
import sys
from alembic.config import Config
from soulsense_db import BackupManager, RetentionPolicy
from soulsense_db.alembic import rehearse
report = rehearse(Config("alembic.ini"), manager=BackupManager.from_url(sys.argv[1]))
print(report.verdict)
"""


def start(made: Project) -> subprocess.Popen[str]:
    """Start a rehearsal in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(made.database)],
        cwd=made.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_at_once_do_not_meet(made: Project) -> None:
    """Two rehearsals of one database at the same time: both end well, and leave nothing."""
    made.revision("second", "first", 'op.execute("UPDATE entry SET mood = 1")')
    with untouched(made.folder):
        both = [start(made), start(made)]
        for process in both:
            out, err = process.communicate(timeout=60)
            assert (process.returncode, out) == (
                0,
                "This migration runs to its end, and no rows or values are lost. Values changed: "
                "see the notes.\n",
            ), err


def waiting(made: Project, tmp_path: Path) -> tuple[subprocess.Popen[str], int]:
    """Start a rehearsal whose step does not end; return it, and the process of the step."""
    pid = tmp_path / "pid"
    made.revision(
        "second", "first", f'Path("{pid}").write_text(str(os.getpid()) + "\\n")\ntime.sleep(600)'
    )
    process = start(made)
    assert eventually(lambda: pid.exists() and pid.read_text().endswith("\n"), seconds=60)
    return process, int(pid.read_text())


def test_an_interrupt_ends_all_of_it(made: Project, tmp_path: Path) -> None:
    """Ctrl-C: the child is ended, and the copy is gone."""
    process, child = waiting(made, tmp_path)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert eventually(lambda: not is_alive(child))
    assert leftovers(made.folder) == []


def test_a_prune_removes_what_a_killed_rehearsal_left(made: Project, tmp_path: Path) -> None:
    """Also a schedule that only prunes frees the disk; what is in use stays."""
    process, child = waiting(made, tmp_path)
    manager = manager_of(made)
    policy = RetentionPolicy(keep_last=3)
    manager.prune(policy)
    assert leftovers(made.folder)
    process.kill()
    process.communicate(timeout=60)
    assert eventually(lambda: not is_alive(child))
    manager.prune(policy, dry_run=True)
    assert leftovers(made.folder)
    manager.prune(policy)
    assert leftovers(made.folder) == []


def test_a_program_that_was_started_is_named_where_the_live_data_changed(made: Project) -> None:
    """Nobody keeps a program from the live file: that it was started is said beside the change."""
    code = f"import sqlite3; c = sqlite3.connect({str(made.database)!r}); "
    code += "c.execute('DELETE FROM entry'); c.commit()"
    made.revision(
        "second",
        "first",
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {code!r}], check=True)",
    )
    report = rehearse(made.config(), manager=manager_of(made))
    assert not report.live_unchanged
    found = one(report, "live_changed")
    assert found.severity == "warning"
    assert "Step second started a program (" in found.sentence
    made.revision("second", "first", "import subprocess\nsubprocess.run(['true'])")
    assert kinds(rehearse(made.config(), manager=manager_of(made))) == []


def test_a_killed_rehearsal_leaves_nothing_that_runs(made: Project, tmp_path: Path) -> None:
    """SIGKILL: the child ends with its parent, and the next rehearsal removes the copy."""
    process, child = waiting(made, tmp_path)
    process.kill()
    process.communicate(timeout=60)
    assert eventually(lambda: not is_alive(child))
    left = leftovers(made.folder)
    assert left
    made.revision("second", "first", "pass")
    manager_of(made).create()  # any command that needs such a file
    report = rehearse(made.config(), manager=manager_of(made))
    assert report.ok
    assert leftovers(made.folder) == []
