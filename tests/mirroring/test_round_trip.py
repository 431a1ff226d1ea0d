"""The machine is gone: from a mirror of each kind, every form of backup comes back."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

import pytest
from age_keys import Key
from conftest import EngineMaker
from forms import EVERY, make_backup
from helpers import add_child, digest, execute, make_database
from s3_server import S3Server, use_server
from ssh_server import SSHServer, ssh_server, use_home

from soulsense_db import BackupManager
from soulsense_db.errors import (
    AmbiguousReferenceError,
    BackupNotFoundError,
    IdentityError,
    InvalidBackupError,
    MirrorNotFoundError,
    Outcome,
)
from soulsense_db.manager import ManagerOptions
from soulsense_db.mirrors import mirror_for

KINDS = ("file", "s3", "sftp")
# A passphrase is stretched on purpose, and its form is that of a key.
FORMS = tuple((stored, seal) for stored, seal in EVERY if seal != "passphrase")


@pytest.fixture(scope="module")
def ssh() -> Iterator[SSHServer]:
    """Run an SSH server."""
    with ssh_server() as running:
        yield running


@pytest.fixture(params=KINDS)
def place(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    s3: S3Server,
    ssh: SSHServer,
) -> str:
    """Return the URL of a mirror of each kind, which is set up."""
    if request.param == "file":
        (tmp_path / "drive").mkdir()
        url = f"file://{tmp_path}/drive/soulsense"
    elif request.param == "s3":
        use_server(monkeypatch, s3, tmp_path)
        url = f"s3://{s3.new_bucket()}/soulsense"
    else:
        use_home(ssh, monkeypatch)
        url = ssh.url(ssh.root / uuid.uuid4().hex)
    with mirror_for(url) as mirror:
        mirror.prepare()
    return url


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Return a database in a folder of its own."""
    (tmp_path / "app").mkdir()
    return make_database(tmp_path / "app" / "app.db")


def _new_machine(tmp_path: Path, **options: Unpack[ManagerOptions]) -> BackupManager:
    """Return a manager on a machine that has nothing, where even the folder is another."""
    return BackupManager.from_url(str(tmp_path / "new" / "data" / "journal.db"), **options)


@pytest.mark.parametrize("form", FORMS, ids="-".join)
def test_every_form_comes_back_from_every_kind(
    app: Path, place: str, tmp_path: Path, make_engine: EngineMaker, form: tuple[str, str]
) -> None:
    """Created, mirrored, all that is local lost, restored on a bare machine: equal row by row."""
    stored, seal = form
    (tmp_path / "keys").mkdir()
    key = Key(tmp_path / "keys")
    made = make_backup(app, make_engine, stored=stored, seal=seal, key=key, mirrors=place)
    (report,) = made.manager.mirrors.sync()
    assert report.ok
    shutil.rmtree(app.parent)
    identities = key.path if seal == "key" else None
    new = _new_machine(tmp_path, identities=identities)
    (listing,) = new.mirrors.list(place)
    assert listing.backups[0].id == made.info.id
    fetched = new.mirrors.fetch("latest", place)
    assert (fetched.id, fetched.form) == (made.info.id, made.info.form)
    assert new.restore(fetched).verified
    assert new.database is not None
    assert digest(new.database) == made.rows


@pytest.mark.parametrize("stored", ["zstd", "diff"])
def test_nothing_is_downloaded_without_the_key(
    app: Path, place: str, tmp_path: Path, make_engine: EngineMaker, stored: str
) -> None:
    """A missing or foreign key is found by the beginning of the data, before the rest comes."""
    folders = [tmp_path / "keys", tmp_path / "others"]
    for folder in folders:
        folder.mkdir()
    key, other = map(Key, folders)
    make_backup(
        app, make_engine, stored=stored, seal="key", key=key, mirrors=place
    ).manager.mirrors.sync()
    for identities, message in ((None, "no private key is given"), (other.path, "opens it")):
        new = _new_machine(tmp_path, identities=identities)
        with pytest.raises(IdentityError, match=message):
            new.mirrors.fetch("latest", place, requires_key=True)
        assert new.list() == []
    new = _new_machine(tmp_path, identities=key.path)
    assert new.mirrors.fetch("latest", place, requires_key=True) in new.list()


def test_a_reference_means_what_it_means_here(
    app: Path, place: str, tmp_path: Path, make_engine: EngineMaker
) -> None:
    """``latest``, the one before, an id and its beginning, names, a revision; no other is found."""
    execute(app, "CREATE TABLE alembic_version AS SELECT '0004_unique' AS version_num")
    manager = BackupManager(make_engine(app), mirrors=place)
    taken = [manager.create(f"number {number}") for number in range(3)]
    manager.mirrors.sync()
    new = _new_machine(tmp_path)
    (listing,) = new.mirrors.list(place)
    wanted = {
        "latest": taken[2],
        "latest~1": taken[1],
        taken[0].id: taken[0],
        taken[0].id[:8]: taken[0],
        listing.backups[1].filename: taken[1],
        taken[0].filename: taken[0],
        "revision:0004_unique": taken[2],
        "revision:0004": taken[2],
    }
    for ref, info in wanted.items():
        assert new.mirrors.fetch(ref, place).id == info.id
    for ref in ("latest~3", "nosuch", "", "0" * 12, "revision:", "revision:nosuch"):
        with pytest.raises((BackupNotFoundError, AmbiguousReferenceError)):
            new.mirrors.fetch(ref, place)
    assert len(new.list()) == 3


def test_one_of_several_databases_has_to_be_named(
    app: Path, place: str, tmp_path: Path, make_engine: EngineMaker
) -> None:
    """Nobody gets the data of another: a folder's own URL says whose is meant."""
    expected = {}
    for name in ("ann", "bob"):
        options = ManagerOptions(mirrors=place, mirror_folder=name)
        manager = BackupManager(make_engine(app), app.parent / name, **options)
        add_child(app, name)
        manager.create(name)
        manager.mirrors.sync()
        expected[name] = digest(app)
    new = _new_machine(tmp_path)
    with pytest.raises(AmbiguousReferenceError, match=f"{place}/ann") as caught:
        new.mirrors.fetch("latest", place)
    assert caught.value.candidates == ("ann", "bob")
    assert new.database is not None
    for name, rows in expected.items():
        new.restore(new.mirrors.fetch("latest", f"{place}/{name}"))
        assert digest(new.database) == rows


def test_nothing_is_made_of_a_place_without_backups(place: str, tmp_path: Path) -> None:
    """An empty place, and one that is not there, are errors of the tree that say so."""
    new = _new_machine(tmp_path)
    with pytest.raises(BackupNotFoundError):
        new.mirrors.fetch("latest", place)
    with pytest.raises((BackupNotFoundError, MirrorNotFoundError)):
        new.mirrors.fetch("latest", f"{place}/nosuch/at/all")
    assert new.list() == []


def test_what_was_changed_there_is_refused(
    app: Path, place: str, tmp_path: Path, make_engine: EngineMaker
) -> None:
    """Truncated or flipped behind our back: nothing of it becomes a backup here."""
    manager = BackupManager(make_engine(app), mirrors=place)
    info = manager.create("Evening")
    (report,) = manager.mirrors.sync()
    data = Path(info.path).read_bytes()
    new = _new_machine(tmp_path)
    name = new.mirrors.list(place)[0].backups[0].filename
    for changed in (data[:-4096], data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]):
        with mirror_for(place) as mirror:
            mirror.replace(f"{report.folder}/{name}", changed)
        with pytest.raises((InvalidBackupError, BackupNotFoundError)):
            new.mirrors.fetch("latest", place)
        assert new.list() == []
        assert [path for path in new.directory.glob("*") if path.suffix == ".db"] == []


def test_what_is_here_is_not_downloaded(app: Path, place: str, make_engine: EngineMaker) -> None:
    """A backup that is here already is what fetch returns, and no byte of its data is read."""
    manager = BackupManager(make_engine(app), mirrors=place)
    info = manager.create("Evening")
    manager.mirrors.sync()
    told: list[int] = []
    fetched = manager.mirrors.fetch("latest", progress=lambda done, _: told.append(done))
    assert (fetched.path, told) == (info.path, [])


def test_a_base_without_its_differential_is_told(
    app: Path, place: str, tmp_path: Path, make_engine: EngineMaker
) -> None:
    """Where the base came and the differential did not, the error says that a part is here."""
    (tmp_path / "keys").mkdir()
    key = Key(tmp_path / "keys")
    made = make_backup(app, make_engine, stored="diff", seal="open", key=key, mirrors=place)
    (report,) = made.manager.mirrors.sync()
    new = _new_machine(tmp_path)
    name = new.mirrors.list(place)[0].backups[0].filename
    with mirror_for(place) as mirror:
        data = b"".join(mirror.read(f"{report.folder}/{name}"))
        mirror.replace(f"{report.folder}/{name}", bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(InvalidBackupError) as caught:
        new.mirrors.fetch("latest", place)
    assert caught.value.outcome is Outcome.PARTLY
    (base,) = new.list()
    assert not base.form.is_differential
    assert new.verify(base, level="full").checksum
