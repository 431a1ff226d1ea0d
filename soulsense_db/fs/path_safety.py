"""What somebody else may put in the place of a file or directory of ours, and how it is noticed.

A link is the worst of it: what we write, read or delete would be somewhere else. The system does
not follow one where a file is created or opened with the flags here; SQLite, which opens files by
name, does, so that names are looked at before and after.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from soulsense_db.fs.errors import (
    link_appeared,
    link_of_another,
    no_current_directory,
    no_path,
    replaced,
    untrusted,
)
from soulsense_db.shown_text import shell_command

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""For ``os.open``: a link in the place of the file is an error."""
BINARY = getattr(os, "O_BINARY", 0)
"""For ``os.open``: Windows would change line ends else."""


def resolve_directory(path: Path, *, live: Path | None) -> Path:
    """Return ``path`` absolute, with its links followed, which from then on nobody does any more.

    It need not exist. Raises :class:`PermissionDeniedError` for one that is itself a link of
    another user, who could lead it elsewhere at any time, unless that is root, or the one who owns
    both the directory that it leads to and the ``live`` database.
    """
    try:
        given = Path(os.path.abspath(path))
        real = Path(os.path.realpath(given))
    except ValueError:  # a NUL
        raise no_path(path) from None
    except OSError as error:  # the current directory was removed
        raise no_current_directory(path, error.strerror or str(error)) from error
    owner = _foreign_owner(given)
    if owner is not None and not (live and owner == _owner(real) == _owner(live)):
        raise link_of_another(given, owner, real)
    return real


def _foreign_owner(path: Path) -> int | None:
    """Return whose link ``path`` is, if it is one, and neither root's nor ours."""
    try:
        status = os.lstat(path)
    except OSError:  # absent, or behind a closed door, which the first use will tell
        return None
    if not stat.S_ISLNK(status.st_mode) or not hasattr(os, "geteuid"):
        return None
    return status.st_uid if status.st_uid not in {0, os.geteuid()} else None


def _owner(path: Path) -> int | None:
    try:
        return os.stat(path).st_uid
    except OSError:  # absent, or behind a closed door: its owner is nobody known
        return None


def require_no_link(path: Path) -> None:
    """Raise :class:`StorageError` when there is a link on ``path``, which had none before."""
    if os.path.realpath(path) != os.path.abspath(path):
        raise link_appeared(path)


def trusted_users() -> set[int]:
    """Return the numbers of the users whose files are as good as one's own: root, and oneself.

    Under ``sudo`` also the person who called it, as git has it.
    """
    own = os.geteuid()
    caller = os.environ.get("SUDO_UID", "")
    return {0, own} | ({int(caller)} if own == 0 and caller.isdecimal() else set())


def why_not_obeyed(path: Path) -> str:
    """Return why a configuration file that was found, not named, must not be obeyed, or nothing.

    It may be another user's, or a link of theirs to a file of ours, or one that everybody may write
    to. Raises :class:`OSError` when it cannot be looked at.
    """
    if not hasattr(os, "geteuid"):  # pragma: no cover - Windows
        return ""
    file = os.stat(path)
    for status in (os.lstat(path), file):
        if status.st_uid not in trusted_users():
            return f"belongs to {_user(status.st_uid)}"
    if file.st_mode & stat.S_IWOTH:
        return f"is writable by every user (mode {stat.S_IMODE(file.st_mode):04o})"
    return ""


def directory_problem(directory: Path, *, live: Path | None) -> str:
    """Return what is wrong with a backup directory and what mends it, or nothing."""
    return why_untrusted(directory, live=live) or _open_to_others(directory)


def require_trusted_directory(directory: Path, *, live: Path | None) -> None:
    """Raise :class:`UntrustedDirectoryError` where somebody else decides what is in ``directory``.

    One in which others may write, as a group that shares it, is a :func:`directory_problem` only.
    """
    if problem := why_untrusted(directory, live=live):
        raise untrusted(directory, problem)


def why_untrusted(directory: Path, *, live: Path | None) -> str:
    """Return who else could have put other backups into ``directory``, or nothing.

    That is its owner, unless it is root, oneself or who owns the ``live`` database and so has that
    in their hands anyway; and whoever may rename it, or one of the directories above it.
    """
    if not hasattr(os, "geteuid"):  # pragma: no cover - Windows
        return ""
    trusted = trusted_users()
    if live is not None:
        owner = _owner(live)
        # Of a database that is missing, who may put one there.
        owner = _owner(live.parent) if owner is None else owner
        trusted |= set() if owner is None else {owner}
    own = _owner(directory)
    if own is None:  # absent: it will be ours alone
        return ""
    if own not in trusted:
        return (
            f"The backup directory {directory} belongs to {_user(own)}, who could replace the "
            "backups with other data."
        )
    for parent in directory.parents:
        try:
            status = os.stat(parent)
        except OSError:  # absent, or behind a closed door, which the first use will tell
            continue
        if reason := _why_swappable(status, trusted):
            return (
                f"The backup directory {directory} could be replaced with another: {parent}, above "
                f"it, {reason}."
            )
    return ""


def _why_swappable(parent: os.stat_result, trusted: set[int]) -> str:
    """Return why others may rename what is in a directory, or nothing."""
    if parent.st_uid not in trusted:
        return f"belongs to {_user(parent.st_uid)}"
    if parent.st_mode & stat.S_ISVTX:  # as of /tmp: each renames their own only
        return ""
    mode = f"(mode {stat.S_IMODE(parent.st_mode):04o})"
    if parent.st_mode & stat.S_IWOTH:
        return f"is writable by every user {mode}"
    if parent.st_mode & stat.S_IWGRP and not _is_private_group(parent):
        return f"is writable by its group {mode}"
    return ""


def _is_private_group(status: os.stat_result) -> bool:
    """Whether nobody but the owner is in the group, as far as the system tells.

    Many systems give each user a group of their own, and make directories that it may write to. In
    a container a group often has a number and no name: then it is that of the process.
    """
    import grp
    import pwd

    try:
        group = grp.getgrgid(status.st_gid)
    except KeyError:
        return status.st_gid in {status.st_uid, os.getegid(), *os.getgroups()}
    try:
        name = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        return False
    return group.gr_name == name and set(group.gr_mem) <= {name}


def _user(number: int) -> str:
    return f"another user (uid {number})"


def _open_to_others(directory: Path) -> str:
    """Return what is wrong, and the cure, where others may write to ``directory``; else nothing."""
    try:
        mode = directory.stat().st_mode
    except OSError:  # absent: it will be ours alone
        return ""
    if os.name != "posix" or not mode & (stat.S_IWGRP | stat.S_IWOTH):
        return ""
    who = "Every user" if mode & stat.S_IWOTH else "Its group"
    return (
        f"{who} can write to {directory} (mode {stat.S_IMODE(mode):04o}): others could replace or "
        f"remove backups. To prevent that: {shell_command('chmod', 'go-w', directory)}"
    )


def require_file(path: Path) -> os.stat_result:
    """Return the status of ``path``, for :func:`require_same`; a link, say, is an error."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        raise replaced(path)
    return status


def require_lock_file(path: Path) -> None:
    """Raise :class:`StorageError` for what is no lock file: some versions of filelock empty it."""
    status = require_file(path)
    if status.st_size and status.st_nlink > 1:  # a file of somebody's that has another name
        raise replaced(path)


def require_same(path: Path, created: os.stat_result) -> None:
    """Raise :class:`StorageError` unless ``path`` is still the file that ``created`` describes."""
    # A new file may have the number of one that was deleted.
    if not os.path.samestat(require_file(path), created):
        raise replaced(path)
