"""A directory keeps what every mirror promises, and what only directories can get wrong."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import disk_of

from soulsense_db.errors import (
    BackupNotFoundError,
    MirrorDeniedError,
    MirrorError,
    MirrorFullError,
    MirrorNotFoundError,
    MirrorUnreachableError,
)
from soulsense_db.mirrors import Mirror, MirrorUrl, mirror_for
from soulsense_db.testing import MirrorSuite
from soulsense_db.testing.mirror_hooks import FOLDER, KEY, MB, contents, keys, outgoing, some_bytes

OURS = {".soulsense_mirror", ".soulsense_mirror.lock"}


class TestFileMirror(MirrorSuite):
    """A directory on this machine's disk."""

    bad_urls = ("file://host/path", "file://relative", "file://", "file:///", "file://me@/path")

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        """Keep the places apart from the files that are stored."""
        self.root = tmp_path / "places"
        self.root.mkdir()

    def make_mirror(self) -> Mirror:
        """Return a mirror in a new directory."""
        mirror = mirror_for(f"file://{self.root}/{uuid.uuid4().hex}", timeout=20)
        mirror.prepare()
        return mirror

    def unprepared(self, mirror: Mirror) -> Mirror:
        """Return a mirror in an empty directory, as a mount point is."""
        place = self.root / uuid.uuid4().hex
        place.mkdir()
        return mirror_for(f"file://{place}")

    def leftovers(self, mirror: Mirror) -> list[str]:
        """Return the hidden files."""
        place = Path(mirror.url.path)
        found = [path for path in place.rglob("*") if path.name.startswith(".")]
        return [str(path) for path in found if path.name not in OURS]


class TestWithoutHardLinks(TestFileMirror):
    """A USB drive's file system, which has neither hard links nor permissions."""

    @pytest.fixture(autouse=True)
    def drive(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Answer as FAT does."""

        def refuse(*_: Any, **__: Any) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refuse)
        monkeypatch.setattr(os, "fchmod", refuse)


def _mirror(place: Path) -> Mirror:
    mirror = mirror_for(f"file://{place}", timeout=5)
    mirror.prepare()
    return mirror


def test_a_place_is_made_but_nothing_above_it(tmp_path: Path) -> None:
    """A mount point that is missing is said so; the directory itself is made, for its owner."""
    with pytest.raises(MirrorNotFoundError, match="usb does not exist"):
        mirror_for(f"file://{tmp_path}/usb/soulsense").prepare()
    mirror = _mirror(tmp_path / "soulsense")
    mirror.replace(KEY, b"data")
    place = tmp_path / "soulsense"
    assert place.stat().st_mode & 0o777 == 0o700
    assert (place / FOLDER).stat().st_mode & 0o777 == 0o700
    assert (place / KEY).stat().st_mode & 0o777 == 0o600


def test_a_file_is_no_place(tmp_path: Path) -> None:
    """A file in the place of the directory is an error, before and after."""
    place = tmp_path / "soulsense"
    place.touch()
    with pytest.raises(MirrorError):
        mirror_for(f"file://{place}").prepare()
    with pytest.raises(MirrorNotFoundError):
        keys(mirror_for(f"file://{place}"))


def test_a_drive_that_is_not_mounted_is_not_filled(tmp_path: Path) -> None:
    """The same mirror, with its drive and without it: the empty mount point stays empty."""
    point = tmp_path / "usb"
    point.mkdir()
    mirror = mirror_for(f"file://{point}")
    with disk_of(4 * MB, point):
        mirror.prepare()
        mirror.replace(KEY, b"data")
    with pytest.raises(MirrorNotFoundError, match="perhaps the drive is not mounted"):
        mirror.replace(KEY, b"data")
    assert list(point.iterdir()) == []


def test_a_full_drive_is_said_so_and_is_not_filled(tmp_path: Path) -> None:
    """A file that has no room is refused before; one that has none any more leaves nothing."""
    point = tmp_path / "usb"
    point.mkdir()
    with disk_of(4 * MB, point):
        mirror = _mirror(point)
        file = outgoing(tmp_path, some_bytes(3 * MB))
        mirror.write(KEY, file)
        with pytest.raises(MirrorFullError, match="bytes are needed"):
            mirror.write(f"{FOLDER}/b.db", file)

        def fill(done_bytes: int) -> None:
            (point / "of-others").write_bytes(bytes(point.stat().st_blksize))
            with pytest.raises(OSError, match="No space"):
                (point / "of-others").write_bytes(bytes(4 * MB))

        mirror.delete(KEY)
        filling = outgoing(tmp_path, some_bytes(3 * MB), told=fill)
        with pytest.raises(MirrorFullError, match="No space left on device"):
            mirror.write(KEY, filling)
        assert keys(mirror) == []
        assert list((point / FOLDER).iterdir()) == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EIO, MirrorUnreachableError),
        (errno.ESTALE, MirrorUnreachableError),
        (errno.ENOTCONN, MirrorUnreachableError),
        (errno.EROFS, MirrorDeniedError),
        (errno.EACCES, MirrorDeniedError),
        (errno.EDQUOT, MirrorFullError),
        (errno.EFBIG, MirrorError),
    ],
)
@pytest.mark.parametrize("call", ["open", "fsync", "replace", "mkdir"])
def test_what_the_system_says_is_an_error_of_a_mirror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[MirrorError], call: str
) -> None:
    """Each call of the system that fails is of the right kind, and leaves nothing under the key."""
    mirror = _mirror(tmp_path / "place")
    file = outgoing(tmp_path, b"data")

    def fail(path: object, *_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    real = os.open

    def fail_to_create(path: str, flags: int, *args: Any, **options: Any) -> int:
        return fail(path) if flags & os.O_CREAT else real(path, flags, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail_to_create if call == "open" else fail)
        with pytest.raises(MirrorError) as raised:
            mirror.write(KEY, file)
    assert type(raised.value) is kind
    assert keys(mirror) == []
    mirror.write(KEY, file)
    assert contents(mirror) == b"data"


def _as_folder(place: Path, outside: Path) -> None:
    (place / FOLDER).symlink_to(outside, target_is_directory=True)


def _as_object(place: Path, outside: Path) -> None:
    (place / FOLDER).mkdir()
    (place / KEY).symlink_to(outside / "app.db")


@pytest.mark.parametrize("put", [_as_folder, _as_object])
def test_a_link_that_others_put_there_is_not_followed(
    tmp_path: Path, put: Callable[[Path, Path], None]
) -> None:
    """Nothing outside of the place is listed, read, written or deleted."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "app.db").write_bytes(b"of others")
    mirror = _mirror(tmp_path / "place")
    put(tmp_path / "place", outside)
    assert keys(mirror) == []
    with pytest.raises((MirrorError, BackupNotFoundError)):
        contents(mirror)
    for use in (
        lambda: mirror.write(KEY, outgoing(tmp_path, b"data")),
        lambda: mirror.create(KEY, b"data"),
        lambda: mirror.delete(KEY),
    ):
        try:
            use()
        except MirrorError:
            continue
    assert [path.name for path in outside.iterdir()] == ["app.db"]
    assert (outside / "app.db").read_bytes() == b"of others"


def test_only_files_of_folders_are_listed(tmp_path: Path) -> None:
    """Others' hidden files, deeper ones, pipes, and names that are no text are passed by."""
    mirror = _mirror(tmp_path / "place")
    mirror.replace(KEY, b"data")
    place = tmp_path / "place"
    (place / "readme.txt").touch()
    (place / ".Trash-1000").mkdir()
    (place / ".Trash-1000" / "app.db").touch()
    (place / FOLDER / "deeper").mkdir()
    (place / FOLDER / "deeper" / "app.db").touch()
    (place / FOLDER / ".app.db.0.partial").touch()
    os.mkfifo(place / FOLDER / "pipe")
    os.close(os.open(os.fsencode(place / FOLDER) + b"/\xff.db", os.O_CREAT | os.O_WRONLY))
    assert keys(mirror) == [KEY]
    assert keys(mirror, ".Trash-1000") == keys(mirror, "..") == keys(mirror, "laptop/deeper") == []
    with pytest.raises(BackupNotFoundError):
        contents(mirror, f"{FOLDER}/pipe")


def test_an_object_s_leftovers_are_no_other_s(tmp_path: Path) -> None:
    """What was left of ``app.db.meta`` is not taken for one of ``app.db``, and goes in its turn."""
    mirror = _mirror(tmp_path / "place")
    mirror.replace(KEY, b"data")
    left = tmp_path / "place" / FOLDER / ".app.db.meta.0123456789abcdef.partial"
    left.touch()
    mirror.replace(KEY, b"data")
    assert left.exists()
    mirror.replace(f"{KEY}.meta", b"data")
    assert not left.exists()


def test_what_the_drive_changed_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read back otherwise than it was written has no name."""
    mirror = _mirror(tmp_path / "place")
    real = os.write

    def flip(descriptor: int, data: memoryview) -> int:
        return real(descriptor, bytes(byte ^ 1 for byte in data))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", flip)
        with pytest.raises(Exception, match="is not what was sent"):
            mirror.write(KEY, outgoing(tmp_path, b"data"))
    assert keys(mirror) == []


def test_a_url_with_a_host_says_what_to_write() -> None:
    """Two slashes instead of three are the usual mistake."""
    with pytest.raises(Exception, match="three slashes"):
        mirror_for(MirrorUrl.of("file://mnt/usb"))
