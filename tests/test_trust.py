"""Whose files are obeyed, and whose directories are restored from."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic_project import DOORS, Project
from helpers import NOBODY, add_child, digest, make_database, run_as
from shell import Shell

from soulsense_db import BackupManager
from soulsense_db.errors import OptionError, UntrustedDirectoryError
from soulsense_db.fs.path_safety import why_untrusted
from soulsense_db.health import State, check_health

needs_root = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="takes root to have two users"
)
ANOTHER = 1234
SHARED_GROUP = 4321  # of nobody here

# Configuration files that were found by looking

FILES = {
    "alembic.ini": "[alembic]\nsoulsense_keep_last = 1\n",
    "pyproject.toml": "[tool.alembic]\nsoulsense_keep_last = 1\n",
}


def obeys(shell: Shell, name: str, *arguments: str) -> bool:
    """Whether the file ``name``, whose policy means nothing, stops a command."""
    result = shell.run("list", *arguments)
    if result.returncode == OptionError.exit_code:
        return True
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith(f"Warning: ./{name} ")
    assert result.stderr.rstrip().endswith(f"--config {name}")
    assert result.stderr.count("\n") == 1, "said once, however often it is looked for"
    return False


@pytest.fixture
def odd_policy(shell: Shell) -> Callable[[str], Path]:
    """Return what writes a configuration file that stops every command that obeys it."""
    shell.create()
    shell.env["SOULSENSE_DATABASE_URL"] = str(shell.database)

    def write(name: str) -> Path:
        path = shell.folder / name
        path.write_text(FILES[name].replace("= 1", "= 'many'"))
        return path

    return write


@pytest.mark.slow
@needs_root
@pytest.mark.parametrize("name", FILES)
def test_another_user_s_file_is_not_obeyed(
    shell: Shell, odd_policy: Callable[[str], Path], name: str
) -> None:
    """A file of somebody else in the current directory is named, not read; --config obeys it."""
    path = odd_policy(name)
    assert obeys(shell, name)
    os.chown(path, ANOTHER, ANOTHER)
    assert not obeys(shell, name)
    assert f"uid {ANOTHER}" in shell.run("list").stderr
    assert obeys(shell, name, "--config", name)


@needs_root
def test_a_link_of_another_user_is_not_obeyed(
    shell: Shell, odd_policy: Callable[[str], Path]
) -> None:
    """Nor is a link that another user made to a file of one's own, as of another project."""
    path = odd_policy("alembic.ini")
    path.rename(shell.folder / "own.ini")
    path.symlink_to("own.ini")
    assert obeys(shell, "alembic.ini")
    os.chown(path, ANOTHER, ANOTHER, follow_symlinks=False)
    assert not obeys(shell, "alembic.ini")


def test_a_file_that_all_may_write_is_not_obeyed(
    shell: Shell, odd_policy: Callable[[str], Path]
) -> None:
    """A file of one's own that every user may write to may say what another wrote."""
    path = odd_policy("pyproject.toml")
    path.chmod(0o664)
    assert obeys(shell, "pyproject.toml")
    path.chmod(0o646)
    assert not obeys(shell, "pyproject.toml")


@needs_root
@pytest.mark.parametrize(
    ("caller", "obeyed"), [(str(ANOTHER), True), ("1235", False), ("x", False)]
)
def test_under_sudo_the_caller_s_files_are_obeyed(
    shell: Shell, odd_policy: Callable[[str], Path], caller: str, obeyed: bool
) -> None:
    """Who calls ``sudo soulsense-db`` in a project of their own has its configuration obeyed."""
    os.chown(odd_policy("alembic.ini"), ANOTHER, ANOTHER)
    shell.env["SUDO_UID"] = caller
    assert obeys(shell, "alembic.ini") is obeyed


@needs_root
def test_a_user_obeys_root_s_file_and_no_other_s(open_path: Path) -> None:
    """Root's file is obeyed by everybody; what a user writes into SUDO_UID counts for nothing."""
    path = open_path / "alembic.ini"
    path.touch(0o644)
    for owner in (0, NOBODY, ANOTHER):
        os.chown(path, owner, owner)
        answer = run_as(NOBODY, "ask_why_not_obeyed", path, ANOTHER)
        expected = f"belongs to another user (uid {ANOTHER})" if owner == ANOTHER else ""
        assert answer == {"error": None, "reason": expected}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_with_a_url_alone_no_file_removes_backups(shell: Shell, name: str) -> None:
    """A policy in the current directory is of another database, perhaps: it must be named."""
    shell.create(3)
    (shell.folder / name).write_text(FILES[name])
    url = ("--url", str(shell.database))
    refused = shell.run("prune", "--yes", *url)
    assert refused.returncode == OptionError.exit_code
    assert "--config" in refused.stderr
    ran = shell.run("auto", *url)
    assert ran.returncode == 0
    assert "nothing removed" in ran.stdout
    assert ran.stderr.startswith("Warning: The retention policy")
    assert len(shell.ids()) == 3
    assert shell.run("prune", "--yes", "--keep-last", "2", *url).returncode == 0
    assert len(shell.ids()) == 2
    assert shell.run("prune", "--yes", "--config", name, *url).returncode == 0
    assert len(shell.ids()) == 1


@pytest.mark.slow
def test_a_url_of_the_environment_or_the_file_keeps_the_policy(shell: Shell) -> None:
    """A schedule with its URL in the environment, or in the file itself, prunes as before."""
    manager = BackupManager.from_url(str(shell.database))
    for _ in range(3):
        manager.create(kind="automatic")
    ini = shell.folder / "alembic.ini"
    ini.write_text(FILES["alembic.ini"] + f"sqlalchemy.url = sqlite:///{shell.database}\n")
    assert "keep 1" in shell.ok("prune", "--dry-run")
    shell.env["SOULSENSE_DATABASE_URL"] = str(shell.database)
    assert "removed 2 and kept 1 automatic backup(s)" in shell.ok("auto")


# Directories


@pytest.fixture
def place(open_path: Path) -> Iterator[Path]:
    """Return an open directory ``srv/app`` with a database in it, and a backup that differs."""
    folder = open_path / "srv" / "app"
    folder.mkdir(parents=True)
    manager = BackupManager.from_url(str(make_database(folder / "app.db")))
    manager.create()
    add_child(folder / "app.db")
    yield folder


def own_by_another(folder: Path) -> None:
    """Give the backup directory to another user."""
    os.chown(folder / "backups", ANOTHER, ANOTHER)


def own_parent_by_another(folder: Path) -> None:
    """Give a directory above it to another user."""
    os.chown(folder.parent, ANOTHER, ANOTHER)


def open_parent(folder: Path) -> None:
    """Let everybody rename it."""
    folder.chmod(0o777)


def open_grandparent_to_group(folder: Path) -> None:
    """Let a group that others are in rename what is above it."""
    os.chown(folder.parent, 0, SHARED_GROUP)
    folder.parent.chmod(0o775)


UNTRUSTED = {
    "another user's": own_by_another,
    "in another user's": own_parent_by_another,
    "in one open to all": open_parent,
    "far below one open to a group": open_grandparent_to_group,
}


@needs_root
@pytest.mark.parametrize("spoil", UNTRUSTED.values(), ids=UNTRUSTED.keys())
def test_nothing_is_restored_from_it(place: Path, spoil: Callable[[Path], None]) -> None:
    """Who else could have put a backup there is named, in status too; it takes a yes to restore."""
    manager = BackupManager.from_url(str(place / "app.db"))
    before = digest(place / "app.db")
    spoil(place)
    with pytest.raises(UntrustedDirectoryError) as caught:
        manager.restore("latest")
    assert str(manager.directory) in caught.value.message
    assert "--trust-directory" in caught.value.hint
    assert digest(place / "app.db") == before
    assert not (place / "app.db.safety_backup").exists()
    report = check_health(manager)
    found = {check.name: check for check in report.checks}["directory"]
    assert found.state is State.WARNING
    assert found.message in caught.value.message
    assert manager.create().sha256, "creating goes on, with a warning"
    report_of_restore = manager.restore(manager.list()[-1], trust_directory=True)
    assert report_of_restore.verified
    assert digest(place / "app.db") != before


@pytest.mark.slow
@needs_root
def test_the_command_line_refuses_before_it_asks(shell: Shell) -> None:
    """The error comes before any question, names the option, and the option lets it go on."""
    shell.create()
    directory = shell.database.parent / "backups"
    os.chown(directory, ANOTHER, ANOTHER)
    url = ("--url", str(shell.database))
    text = shell.fails(UntrustedDirectoryError, "restore", "latest", "--yes", *url)
    assert f"uid {ANOTHER}" in text
    done = shell.run("restore", "latest", "--yes", "--trust-directory", *url)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("Warning: The backup directory")
    assert shell.run("create", *url).stderr.count("Warning:") == 1
    assert "directory: The backup directory" in shell.run("status", *url).stdout


@pytest.mark.slow
@needs_root
@pytest.mark.parametrize("door", DOORS)
def test_a_failed_migration_is_put_back_all_the_same(tmp_path: Path, door: str) -> None:
    """What the hook took a moment ago, it puts back from any directory; it warns of it."""
    project = Project(tmp_path / "project", door).standard()
    os.chown(project.folder / "backups", ANOTHER, ANOTHER)
    before = digest(project.database)
    result = project.run("upgrade", "head")
    assert result.returncode != 0
    assert f"uid {ANOTHER}" in result.stderr
    assert digest(project.database) == before


@needs_root
@pytest.mark.parametrize(
    ("directory", "database", "user", "refused"),
    [
        (0, 0, 0, False),
        (0, NOBODY, NOBODY, False),
        (NOBODY, NOBODY, NOBODY, False),
        (NOBODY, NOBODY, 0, False),  # root restores for the application that owns both
        (NOBODY, 0, 0, True),
        (ANOTHER, NOBODY, NOBODY, True),
        (ANOTHER, NOBODY, 0, True),
    ],
)
def test_whose_directory_is_trusted(
    place: Path, directory: int, database: int, user: int, refused: bool
) -> None:
    """Root's, one's own, and that of who owns the live database, which is theirs anyway."""
    for path in (place, place / "app.db"):
        os.chown(path, database, database)
    for path in (place / "backups", *(place / "backups").iterdir()):
        os.chown(path, directory, directory)
        path.chmod(0o755 if path.is_dir() else 0o644)
    answer = run_as(user, "restore_the_first", place / "app.db")
    assert answer["error"] == (UntrustedDirectoryError.__name__ if refused else None), answer


@needs_root
def test_who_owns_the_database_may_own_what_is_above(place: Path) -> None:
    """An application in its own home directory, restored by root: nobody else has a hand in it."""
    for path in (place.parent, place, place / "app.db", place / "backups"):
        os.chown(path, ANOTHER, ANOTHER)
    assert why_untrusted(place / "backups", live=place / "app.db") == ""
    assert why_untrusted(place / "backups", live=None) != ""
    (place / "app.db").unlink()
    assert why_untrusted(place / "backups", live=place / "app.db") == "", "as it is restored"
    os.chown(place, 0, 0)
    assert why_untrusted(place / "backups", live=place / "app.db") != ""


@needs_root
@pytest.mark.parametrize(
    ("mode", "group", "refused"),
    [
        (0o1777, 0, False),
        (0o1775, SHARED_GROUP, False),
        (0o775, 0, False),
        (0o775, SHARED_GROUP, True),
        (0o757, 0, True),
        (0o755, SHARED_GROUP, False),
    ],
)
def test_which_parents_can_be_swapped(place: Path, mode: int, group: int, refused: bool) -> None:
    """As in /tmp nobody renames what is another's; the owner's own group is nobody else."""
    os.chown(place, 0, group)
    place.chmod(mode)
    assert bool(why_untrusted(place / "backups", live=place / "app.db")) is refused


@needs_root
def test_a_group_with_members_is_no_private_one(place: Path) -> None:
    """A group that has the owner's name and other members lets those rename the directory."""
    crowded = [
        (user.pw_uid, group.gr_gid)
        for user in pwd.getpwall()
        for group in grp.getgrall()
        if group.gr_name != user.pw_name
    ]
    owner, group = crowded[0]
    os.chown(place, owner, group)
    os.chown(place / "app.db", owner, group)
    place.chmod(0o775)
    assert "is writable by its group" in why_untrusted(place / "backups", live=place / "app.db")


def test_a_directory_that_is_not_there_is_nobody_s(tmp_path: Path) -> None:
    """Before the first backup there is nothing to warn of."""
    assert why_untrusted(tmp_path / "none" / "backups", live=None) == ""


def test_help_names_the_option() -> None:
    """The option that the error names is in the help of the command."""
    command = [sys.executable, "-m", "soulsense_db", "restore", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--trust-directory" in told


def test_json_says_it_as_an_error(shell: Shell) -> None:
    """A program sees the type of the error, and its exit code."""
    if os.getuid() != 0:
        pytest.skip("takes root to have two users")
    shell.create()
    os.chown(shell.database.parent / "backups", ANOTHER, ANOTHER)
    result = shell.run("restore", "latest", "--yes", "--json", "--url", str(shell.database))
    error = json.loads(result.stdout)["error"]
    assert (error["type"], error["exit_code"]) == ("UntrustedDirectoryError", 45)
