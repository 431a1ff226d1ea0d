"""Encrypted backups: what opens them and what does not, and that their plaintext stays private."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from age_keys import Key, sealed, text_of
from conftest import EngineMaker
from forms import (
    MARKER,
    PASSPHRASE,
    SECRET_WORDS,
    STORED,
    Made,
    files_with,
    guess_quickly,
    how,
    make_backup,
    require_private,
)
from helpers import add_child, digest, scalar

from soulsense_db import BackupManager
from soulsense_db.codecs import Identities, Secret, compress
from soulsense_db.errors import (
    BackupError,
    IdentityError,
    InvalidBackupError,
    MissingExtraError,
    NotEnoughSpaceError,
    OptionError,
    StorageError,
)
from soulsense_db.fs import space
from soulsense_db.operations import IdentitiesOption


@pytest.fixture(autouse=True)
def _quick_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    guess_quickly(monkeypatch)


@pytest.fixture(params=STORED)
def made(
    database: Path, make_engine: EngineMaker, key: Key, request: pytest.FixtureRequest
) -> Made:
    """Return an encrypted backup, in each of the forms."""
    return make_backup(database, make_engine, stored=request.param, seal="key", key=key)


def _with(made: Made, make_engine: EngineMaker, identities: IdentitiesOption) -> BackupManager:
    engine = make_engine(made.manager.database or "")
    return BackupManager(engine, identities=identities, lock_timeout=5)


def _open_to_others(key: Key, folder: Path) -> Path:
    copy = folder / "open.txt"
    shutil.copy(key.path, copy)
    copy.chmod(0o644)
    return copy


_KEYS: dict[str, tuple[Callable[[Key, Path], IdentitiesOption], str]] = {
    "none": (lambda _key, _folder: None, "no private key is given"),
    "another": (lambda _key, folder: Key(folder, "another.txt").path, "opens it"),
    "open to others": (_open_to_others, "Others can read"),
    "missing": (lambda _key, folder: folder / "missing.txt", "cannot be read"),
    "a passphrase": (lambda _key, _f: Identities(passphrase=text_of("x")), "private key"),
    "nothing": (lambda _key, _folder: Secret.from_callable(lambda: ""), "nothing"),
    "no key": (lambda _key, _folder: Secret.from_callable(lambda: "hello"), "no private key"),
}


@pytest.mark.parametrize("which", _KEYS)
def test_without_the_right_key_nothing_is_opened(
    made: Made,
    database: Path,
    tmp_path: Path,
    make_engine: EngineMaker,
    key: Key,
    *,
    which: str,
) -> None:
    """Each reader says what is wrong with the key; the backup is not called damaged for it."""
    identities, match = _KEYS[which]
    manager = _with(made, make_engine, identities(key, tmp_path / "keys"))
    ref = made.info.filename
    for call in (
        manager.verify,
        manager.restore,
        manager.compare,
        manager.row_counts,
        manager.require_key,
        manager.description_of,
        lambda ref: manager.export(ref, tmp_path / "out.db", plain=True),
        lambda ref: manager.import_file(made.path),
    ):
        with pytest.raises(IdentityError, match=match) as caught:
            call(ref)
        assert key.secret not in str(caught.value)
    assert not manager.can_restore(ref).ok
    assert manager.verify(ref, level="quick").checksum  # for which no key is needed
    assert manager.get(ref).verified_at is not None
    assert digest(database) == made.rows
    assert not (tmp_path / "out.db").exists()
    require_private(tmp_path)


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize(
    ("passphrase", "match"), [("wrong", "does not open"), ("", "nothing"), (None, "passphrase")]
)
def test_without_the_right_passphrase_nothing_is_opened(
    database: Path,
    tmp_path: Path,
    make_engine: EngineMaker,
    key: Key,
    *,
    stored: str,
    passphrase: str | None,
    match: str,
) -> None:
    """A wrong one, none, and keys in its place."""
    made = make_backup(database, make_engine, stored=stored, seal="passphrase", key=key)
    given = key.path if passphrase is None else Identities(passphrase=text_of(passphrase))
    manager = _with(made, make_engine, given)
    for call in (manager.verify, manager.restore, manager.require_key, manager.description_of):
        with pytest.raises(IdentityError, match=match):
            call(made.info.filename)
    assert digest(database) == made.rows
    require_private(tmp_path)


def test_a_passphrase_is_given_as_a_word_and_a_secret(
    database: Path, make_engine: EngineMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``passphrase`` in the place of public keys; without one no backup is made."""
    monkeypatch.setenv("APP_PASSPHRASE", PASSPHRASE)
    secret = Secret.from_environment("APP_PASSPHRASE")
    manager = BackupManager(
        make_engine(database), recipients="passphrase", identities=Identities(passphrase=secret)
    )
    before = digest(database)
    info = manager.create()
    add_child(database)
    manager.restore(info)
    assert digest(database) == before
    with pytest.raises(IdentityError, match="passphrase"):
        BackupManager(make_engine(database), recipients="passphrase").create()
    monkeypatch.delenv("APP_PASSPHRASE")
    with pytest.raises(IdentityError, match="APP_PASSPHRASE"):
        manager.create()
    assert [one.id for one in manager.list()] == [info.id]


def test_what_to_do_about_a_key_file_ends_the_warning(
    database: Path, tmp_path: Path, make_engine: EngineMaker, key: Key
) -> None:
    """A command to copy is the last of the warning: no sentence follows on its line."""
    (tmp_path / "keys" / "open").mkdir()
    open_to_others = Key(tmp_path / "keys" / "open").path
    Path(open_to_others).chmod(0o644)
    options = how("plain", "key", key) | {"identities": open_to_others}
    with _Logged() as lines:
        BackupManager(make_engine(database), **options).create()
    (said,) = [line for line in lines if "could not be proven" in line]
    assert "The backup is complete" in said
    assert said.endswith(f"Make it yours alone: chmod 600 {open_to_others}")


def test_to_create_needs_public_keys_alone(
    made: Made, database: Path, tmp_path: Path, make_engine: EngineMaker, key: Key
) -> None:
    """That it can be opened could not be proven then, which is said; the key opens it.

    It is no warning where there is no key on purpose, and one warning where there is another one.
    """
    stored = "diff" if made.base else "zstd" if made.info.form.is_compressed else "plain"
    (tmp_path / "keys" / "other").mkdir()
    stranger = Key(tmp_path / "keys" / "other").path
    for identities in (None, stranger):
        options = how(stored, "key", key) | {"identities": identities}
        manager = BackupManager(make_engine(database), **options)
        with _Logged() as lines:
            first, second = manager.create("first"), manager.create("second")
        assert sum("could not be proven" in line for line in lines) == (1 if identities else 2)
        assert any(line.startswith("WARNING It could not") for line in lines) == bool(identities)
        for info in (first, second):
            assert not info.form.is_differential
            assert made.manager.verify(info).checksum
    assert [made.manager.description_of(i) for i in made.manager.list()[:2]] == ["second", "first"]
    require_private(tmp_path)


class _Logged(logging.Handler):
    """Collects what is logged, however little it is worth."""

    def __enter__(self) -> list[str]:
        self.lines: list[str] = []
        self._logger = logging.getLogger("soulsense_db")
        self._before = self._logger.level
        self._logger.addHandler(self)
        self._logger.setLevel(logging.DEBUG)
        return self.lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._before)


def test_nothing_of_it_is_shown_anywhere(
    database: Path, tmp_path: Path, make_engine: EngineMaker, key: Key
) -> None:
    """Neither in names, meta files, rows of the catalog, log and events, nor on the disk."""
    told: list[str] = []
    for stored in STORED:
        with _Logged() as lines:
            made = make_backup(database, make_engine, stored=stored, seal="key", key=key)
            manager, info = made.manager, made.info
            manager.events.created(lambda event: told.append(repr(event)))
            manager.create("Before the import")
            add_child(database)
            manager.verify(info)
            manager.verify(info, level="quick")
            manager.compare(info)
            manager.restore(info)
            manager.undo_restore()
            manager.restore("latest")
            manager.adopt(_copied_without_meta(made))
            (tmp_path / stored).mkdir()
            exported = manager.export(info, tmp_path / stored)
            manager.import_file(exported)
        require_private(tmp_path)
        for text in (MARKER, *SECRET_WORDS):
            assert not [line for line in (*lines, *told) if text in line]
        assert scalar(database, "SELECT count(*) FROM backups WHERE description <> ''") == 0
        assert manager.description_of(info) == "Before the import"
        assert {one.description for one in manager.list()} == {""}


def _copied_without_meta(made: Made) -> Path:
    copy = made.path.with_name(made.path.name.replace("soulsense_backup_2", "soulsense_backup_1"))
    shutil.copy(made.path, copy)
    return copy


def test_a_description_can_be_shown(
    database: Path, make_engine: EngineMaker, key: Key, tmp_path: Path
) -> None:
    """Who wants it has it in name, meta file and catalog, and in them alone."""
    made = make_backup(
        database, make_engine, stored="zstd", seal="key", key=key, describe_openly=True
    )
    assert made.info.filename.endswith("_Before_the_import.db.zst.age")
    meta = json.loads(Path(made.info.meta_path).read_bytes())
    assert meta["description"] == "Before the import"
    assert made.manager.list()[0].description == "Before the import"
    assert scalar(database, "SELECT description FROM backups") == "Before the import"
    assert _with(made, make_engine, None).description_of("latest") == "Before the import"
    assert files_with(made.manager.directory, MARKER) == []


def test_a_damaged_description_is_said_to_be_one(made: Made, tmp_path: Path) -> None:
    """The rows are whole, and can be restored."""
    made.manager._repository.directory.amend(made.info, sealed_description="QUJD")
    with pytest.raises(InvalidBackupError, match="description"):
        made.manager.description_of(made.path)
    assert made.manager.verify(made.path).checksum


@pytest.mark.parametrize("stored", ["plain", "zstd"])
def test_a_bomb_stops_at_what_may_be_in_it(
    database: Path, tmp_path: Path, make_engine: EngineMaker, key: Key, stored: str
) -> None:
    """At the size of the meta file, and without one at a limit: as much as is there, or less."""
    made = make_backup(database, make_engine, stored=stored, seal="key", key=key)
    bomb = bytes(60_000_000)
    if stored == "zstd":
        target = io.BytesIO()
        compress(io.BytesIO(bomb), target)
        bomb = target.getvalue()
    made.path.write_bytes(sealed(bomb, key.recipients))
    most = made.info.restored_size_bytes
    sizes: list[int] = []

    def seen(_done: int, _total: int) -> None:
        sizes.extend(path.stat().st_size for path in tmp_path.glob(".app.db.work-*"))

    with pytest.raises(InvalidBackupError):
        made.manager.verify(made.info, progress=seen)
    assert sizes == [] or max(sizes) <= most
    Path(f"{made.path}.meta").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(space, "free_space", lambda _: 2_000_000)
        with pytest.raises(BackupError):
            made.manager.restore(made.path)
    assert digest(database) == made.rows
    require_private(tmp_path)


@pytest.mark.parametrize("extra", ["age", "zstd"])
def test_a_missing_library_is_named(
    made: Made, database: Path, monkeypatch: pytest.MonkeyPatch, extra: str, tmp_path: Path
) -> None:
    """The error says what to install; nothing is made or lost."""
    if extra == "zstd" and not (made.base or made.info.form.is_compressed):
        pytest.skip("this form needs no zstd")
    for module in {"age": ["pyrage"], "zstd": ["compression.zstd", "backports.zstd"]}[extra]:
        parent, _, name = module.rpartition(".")
        monkeypatch.delattr(sys.modules.get(parent), name, raising=False)
        monkeypatch.setitem(sys.modules, module, None)
    for call in (
        lambda: made.manager.create("another"),
        lambda: made.manager.verify(made.info),
        lambda: made.manager.restore(made.info),
    ):
        with pytest.raises(MissingExtraError) as caught:
            call()
        assert f'"soulsense-db[{extra}]"' in caught.value.hint
    assert made.manager.verify(made.info, level="quick").checksum
    assert digest(database) == made.rows
    assert len(made.manager.list()) == (2 if made.base else 1)
    require_private(tmp_path)


def test_the_plaintext_is_where_it_may_be(
    made: Made, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without room beside the database it is an error: no other directory is a place for it."""
    monkeypatch.setattr(space, "free_space", lambda place: 0 if place == tmp_path else 10**12)
    for call in (
        lambda: made.manager.create("another"),
        lambda: made.manager.verify(made.info),
        lambda: made.manager.restore(made.info),
        lambda: made.manager.compare(made.info),
    ):
        with pytest.raises(NotEnoughSpaceError, match="private copy"):
            call()
    assert digest(database) == made.rows
    require_private(tmp_path)


def test_a_work_directory_has_the_plaintext_for_a_moment(
    database: Path, tmp_path: Path, make_engine: EngineMaker, key: Key
) -> None:
    """It is there while it is worked with, private, nowhere else; one that is missing is said."""
    (tmp_path / "work").mkdir()
    made = make_backup(
        database, make_engine, stored="zstd", seal="key", key=key, work_directory=tmp_path / "work"
    )
    seen: set[tuple[str, int]] = set()

    def look(_done: int, _total: int) -> None:
        for path in tmp_path.rglob("*work-*"):
            seen.add((str(path.parent.relative_to(tmp_path)), path.stat().st_mode & 0o777))
        assert files_with(made.manager.directory, MARKER) == []

    made.manager.create("another", progress=look)
    made.manager.restore(made.info, progress=look)
    assert seen == {("work", 0o600)}
    assert os.listdir(tmp_path / "work") == []
    shutil.rmtree(tmp_path / "work")
    for call in (made.manager.create, lambda: made.manager.restore(made.info)):
        with pytest.raises(StorageError, match="work"):
            call()
    assert digest(database) == made.rows


@pytest.mark.parametrize("name", ["backups", "backups/inside", "link"])
def test_the_backup_directory_is_no_work_directory(
    database: Path, tmp_path: Path, make_engine: EngineMaker, key: Key, name: str
) -> None:
    """It may be a network drive: no plaintext is ever in it."""
    (tmp_path / "backups" / "inside").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "backups")
    with pytest.raises(OptionError, match="work directory"):
        BackupManager(make_engine(database), work_directory=tmp_path / name)
