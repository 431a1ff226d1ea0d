"""A directory on an SSH server keeps what every mirror promises: over OpenSSH's own server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from ssh_server import SSHServer, odd_server, ssh_server, use_home

from soulsense_db.errors import MissingExtraError, OptionError
from soulsense_db.mirrors import Mirror, mirror_for
from soulsense_db.testing import MirrorSuite
from soulsense_db.testing.mirror_hooks import KEY, MB, contents


@pytest.fixture(scope="module")
def server() -> Iterator[SSHServer]:
    """Run OpenSSH's server."""
    with ssh_server() as running:
        yield running


class OverSSH(MirrorSuite):
    """A place below a directory of a server's."""

    supports_resume = True
    bad_urls = ("sftp:///srv/soulsense", "sftp://ann@backup.example.org")
    root: Path

    def url(self, path: object) -> str:
        """Return the URL of a path on the server."""
        raise NotImplementedError

    def make_mirror(self) -> Mirror:
        """Return a mirror in a new directory."""
        mirror = mirror_for(self.url(self.root / uuid.uuid4().hex), timeout=20)
        mirror.prepare()
        return mirror

    def unprepared(self, mirror: Mirror) -> Mirror:
        """Return a mirror in an empty directory, as a mount point is."""
        place = self.root / uuid.uuid4().hex
        place.mkdir(mode=0o777)
        place.chmod(0o777)
        return mirror_for(self.url(place), timeout=20)

    def leftovers(self, mirror: Mirror) -> list[str]:
        """Return the hidden files but the marker."""
        found = Path(mirror.url.path).rglob(".*")
        return [str(path) for path in found if path.name != ".soulsense_mirror"]


class TestSFTPMirror(OverSSH):
    """OpenSSH's server, which has all the extensions."""

    @pytest.fixture(autouse=True)
    def use(self, server: SSHServer, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the client's home directory, and the places of the server."""
        use_home(server, monkeypatch)
        self.server = server
        self.root = server.root

    def url(self, path: object) -> str:
        """Return the URL of a path on the server."""
        return self.server.url(path)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SSHServer]:
    """Run a server without extensions."""
    names = ("posix-rename", "hardlink", "fsync", "statvfs", "fstatvfs", "limits")
    lacks = [f"{name}@openssh.com" for name in names]
    with odd_server(tmp_path_factory.mktemp("odd"), *lacks) as running:
        yield running


class TestWithoutExtensions(OverSSH):
    """A server that can neither rename over a file, nor link, nor flush, nor tell of its space."""

    large_bytes = 48 * MB  # it is slower, too: its blocks are small

    @pytest.fixture(autouse=True)
    def use(self, odd: SSHServer, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the client's home directory, and the places of the server."""
        use_home(odd, monkeypatch)
        self.server = odd
        self.root = odd.root

    def url(self, path: object) -> str:
        """Return the URL of a path on the server."""
        return self.server.url(path)

    def test_who_reads_meanwhile_reads_one_of_both(self, mirror: Mirror, other: Mirror) -> None:
        """It may be missing for a moment: such a server has no other way. It is never a part."""
        both = [b"1" * 1000, b"2" * 100_000]
        mirror.replace(KEY, both[0])
        for number in range(10):
            mirror.replace(KEY, both[number % 2])
            assert contents(other) == both[number % 2]


def test_the_library_is_asked_for_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error says what to install; a URL that is wrong is said so first."""
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    with pytest.raises(MissingExtraError, match=r"soulsense-db\[sftp\]"):
        mirror_for("sftp://backup.example.org/srv/soulsense")
    with pytest.raises(OptionError):
        mirror_for("sftp://backup.example.org")


def test_nothing_is_imported_before_it_is_used() -> None:
    """A program that names a mirror and does not use it pays nothing for it."""
    code = (
        "import sys; from soulsense_db.mirrors import mirror_for; "
        "mirror_for('sftp://backup.example.org/srv').close(); sys.exit('asyncssh' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_nobody_writes_to_any_more_is_removed(
    server: SSHServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What dead processes left goes when it is old: till then somebody may go on with it."""
    use_home(server, monkeypatch)
    place = server.root / uuid.uuid4().hex
    with mirror_for(server.url(place), timeout=20) as mirror:
        mirror.prepare()
        mirror.create("app/app.db.meta", b"facts")
        days = {
            ".app.db.meta.small-0123456789abcdef.partial": 2,
            ".app.db.meta.small-fedcba9876543210.partial": 0,
            ".app.db.0123456789abcdef.partial": 8,
            ".app.db.fedcba9876543210.partial": 2,
            ".others.partial": 100,
        }
        for name, age in days.items():
            (place / "app" / name).touch()
            written = time.time() - age * 24 * 60 * 60
            os.utime(place / "app" / name, (written, written))
        server.own(place / "app")
        mirror.remove_leftovers("app")
        mirror.remove_leftovers("nothing_there")
        assert sorted(path.name for path in (place / "app").iterdir()) == [
            ".app.db.fedcba9876543210.partial",
            ".app.db.meta.small-fedcba9876543210.partial",
            ".others.partial",
            "app.db.meta",
        ]
