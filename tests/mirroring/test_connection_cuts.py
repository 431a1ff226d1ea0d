"""A connection that breaks, a mirror that hangs, a process that dies: only whole backups there."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from conftest import EngineMaker
from helpers import Child, digest, make_database
from s3_server import HOST, S3Server, use_server
from ssh_server import SSHServer, ssh_server, use_home
from tcp_proxy import TcpProxy

from soulsense_db import BackupManager
from soulsense_db.errors import MirrorUnreachableError
from soulsense_db.manager import ManagerOptions
from soulsense_db.mirroring import SyncReport, job, list_mirror
from soulsense_db.mirrors import mirror_for

MB = 1024 * 1024
SIZE = 12 * MB
KILLS = 20
# Far more than the two seconds that are waited for, on a machine that is busy.
A_FEW_SECONDS = 20


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database of 12 MB that nothing makes smaller."""
    path = make_database(tmp_path_factory.mktemp("large") / "app.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE filler (body BLOB)")
        connection.execute("INSERT INTO filler VALUES (?)", (os.urandom(SIZE),))
        connection.commit()
    return path


@pytest.fixture
def app(large: Path, tmp_path: Path) -> Path:
    """Return that database in a folder of its own."""
    (tmp_path / "app").mkdir()
    return Path(shutil.copy(large, tmp_path / "app"))


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TcpProxy]:
    """Return the network between the mirrors and the server; nobody waits before another try."""
    monkeypatch.setattr(job, "_PAUSES_SECONDS", (0.0, 0.0, 0.0))
    with TcpProxy(HOST, s3.port) as proxy:
        use_server(monkeypatch, s3, tmp_path, port=proxy.port)
        yield proxy


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """Return a new bucket."""
    return s3.new_bucket()


@pytest.fixture(scope="module")
def ssh() -> Iterator[SSHServer]:
    """Run an SSH server."""
    with ssh_server() as running:
        yield running


@pytest.fixture(params=["s3", "sftp"])
def place(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, s3: S3Server
) -> str:
    """Return the URL of a mirror on another machine."""
    if request.param == "s3":
        use_server(monkeypatch, s3, tmp_path)
        return f"s3://{s3.new_bucket()}/soulsense"
    server: SSHServer = request.getfixturevalue("ssh")
    use_home(server, monkeypatch)
    url = server.url(server.root / uuid.uuid4().hex)
    with mirror_for(url) as mirror:
        mirror.prepare()
    return url


def _sha256_there(url: str, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the checksum of each backup that is listed, by id, from its bytes; each is whole.

    Those that are ``known`` are not read again.
    """
    found = {}
    for listing in list_mirror(url):
        assert not listing.damaged
        for info in listing.backups:
            if known and info.id in known:
                found[info.id] = known[info.id]
                continue
            with mirror_for(url) as mirror:
                data = b"".join(mirror.read(f"{listing.folder}/{info.filename}"))
            found[info.id] = hashlib.sha256(data).hexdigest()
            assert found[info.id] == info.sha256
    return found


def _assert_told(report: SyncReport) -> None:
    """Find that all is there, or that the report says what was not reached."""
    told = [report.error, *report.problems]
    assert report.ok or all(isinstance(error, MirrorUnreachableError) for error in told if error)


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", range(1, 13))
def test_an_upload_is_cut_off(  # noqa: PLR0917
    app: Path, proxy: TcpProxy, bucket: str, s3: S3Server, make_engine: EngineMaker, megabytes: int
) -> None:
    """Cut at any megabyte, it goes on or says so; the next sync completes, and nothing is left."""
    url = f"s3://{bucket}/soulsense"
    manager = BackupManager(make_engine(app), mirrors=url)
    info = manager.create("Evening")
    proxy.cut_after(megabytes * MB)
    (report,) = manager.mirrors.sync()
    proxy.pass_on()
    _assert_told(report)
    there = _sha256_there(url)
    assert there == ({info.id: info.sha256} if report.ok else {})
    (again,) = manager.mirrors.sync()
    assert (again.ok, again.kept) == (True, 1)
    assert _sha256_there(url) == {info.id: info.sha256}
    assert (s3.uploads(bucket), len(s3.keys(bucket))) == (0, 2)
    assert [info.id for info in manager.list()] == [info.id]


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", range(1, 13))
def test_a_download_is_cut_off(  # noqa: PLR0917
    app: Path,
    proxy: TcpProxy,
    bucket: str,
    tmp_path: Path,
    make_engine: EngineMaker,
    megabytes: int,
) -> None:
    """Cut at any megabyte, it goes on or says so; nothing half is here, and the next completes."""
    url = f"s3://{bucket}/soulsense"
    manager = BackupManager(make_engine(app), mirrors=url)
    info = manager.create("Evening")
    assert manager.mirrors.sync()[0].ok
    new = BackupManager.from_url(str(tmp_path / "new" / "app.db"))
    proxy.cut_after(megabytes * MB)
    try:
        assert new.mirrors.fetch("latest", url).id == info.id
    except MirrorUnreachableError:
        assert new.list() == []
        assert not [path for path in new.directory.glob("*") if path.is_file()]
    proxy.pass_on()
    fetched = new.mirrors.fetch("latest", url)
    assert new.verify(fetched, level="full").checksum
    assert [one.sha256 for one in new.list()] == [info.sha256]
    new.restore(fetched)
    assert new.database is not None
    assert digest(new.database) == digest(app)


@pytest.mark.slow
def test_a_mirror_that_hangs_delays_nothing(
    app: Path,
    proxy: TcpProxy,
    bucket: str,
    make_engine: EngineMaker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Stalled for ever, it costs the deadline: the backup is made, and the report says why."""
    url = f"s3://{bucket}/soulsense"
    options = ManagerOptions(mirrors=url, mirror_deadline=2, lock_timeout=60)
    manager = BackupManager(make_engine(app), **options)
    proxy.stall_after(2 * MB)
    began = time.monotonic()
    info = manager.create("Evening", wait_for_mirrors=True)
    assert time.monotonic() - began < A_FEW_SECONDS
    assert manager.verify(info, level="full").checksum
    assert f"{url} is not in step" in caplog.text
    began = time.monotonic()
    (report,) = manager.mirrors.sync(deadline=2)
    assert time.monotonic() - began < A_FEW_SECONDS
    assert isinstance(report.error, MirrorUnreachableError)
    assert report.error.reason == "deadline"
    proxy.pass_on()
    (report,) = manager.mirrors.sync()
    assert report.ok
    assert _sha256_there(url) == {info.id: info.sha256}


@pytest.mark.slow
def test_a_process_is_killed_in_an_upload(
    app: Path, place: str, make_engine: EngineMaker, pytestconfig: pytest.Config
) -> None:
    """Killed at a random moment, again and again: only whole ones are listed, a sync completes."""
    manager = BackupManager(make_engine(app), mirrors=place)
    manager.create("number 0")
    random = Random(f"{pytestconfig.option.faults_seed} {place.partition(':')[0]}")
    killed = 0
    with Child("killed_sync.py", app, place) as child:
        child.expect("ready")
        longest = _seconds_of_an_upload(child)
        there = _sha256_there(place)
        for number in range(1, KILLS + 1):
            if manager.list()[0].id in there:
                manager.create(f"number {number}")
            child.tell(str(random.uniform(0, longest)))
            killed += child.line() == "-9"
            there = _sha256_there(place, there)
            assert there.items() <= {info.id: info.sha256 for info in manager.list()}.items()
    assert killed >= KILLS // 4
    (report,) = manager.mirrors.sync()
    assert report.ok
    assert _sha256_there(place) == {info.id: info.sha256 for info in manager.list()}


def _seconds_of_an_upload(child: Child) -> float:
    began = time.monotonic()
    child.tell("60")
    child.expect("0")
    return time.monotonic() - began
