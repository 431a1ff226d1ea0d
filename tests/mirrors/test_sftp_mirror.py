"""A directory on an SSH server keeps what every mirror promises: over OpenSSH's own server."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from ssh_server import SSHServer, ssh_server, use_home

from soulsense_db.mirrors import Mirror, mirror_for
from soulsense_db.testing import MirrorSuite


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
