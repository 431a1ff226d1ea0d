"""Compressed backups: all that can be done with a plain one, and what is damaged is found."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import EngineMaker
from helpers import (
    Child,
    add_child,
    digest,
    execute,
    flip,
    leftovers,
    snapshot_of,
    write_marker,
)

from soulsense_db import BackupManager
from soulsense_db.backup_info import BackupInfo
from soulsense_db.codecs import Compression, Reader, Writer, compress, zstandard
from soulsense_db.errors import (
    BackupNotFoundError,
    ChecksumMismatchError,
    InvalidBackupError,
    NewerFormatError,
    NotEnoughSpaceError,
    OptionError,
    StorageError,
    TruncatedBackupError,
)
from soulsense_db.fs import space
from soulsense_db.operations import form_streams, restore_source, stored_form, transforms
from soulsense_db.retention import RetentionPolicy
from soulsense_db.scheduled import run_auto

_ZSTD = shutil.which("zstd")
_BLOCK = 64 * 1024
_WORK = ".app.db.work-" + "[0-9a-f]" * 8


@pytest.fixture
def compressed(database: Path, make_engine: EngineMaker) -> BackupManager:
    """Return a manager of ``database`` whose new backups are compressed."""
    with closing(sqlite3.connect(database)) as connection:  # some of it cannot be made smaller
        connection.execute("CREATE TABLE noise (data BLOB)")
        rows = [(random.Random(n).randbytes(100_000),) for n in range(4)]
        connection.executemany("INSERT INTO noise VALUES (?)", rows)
        connection.commit()
    return BackupManager(make_engine(database), compression="zstd")


def _plain_of(info: BackupInfo) -> bytes:
    command = [str(_ZSTD), "-dqc", info.path]
    return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.mark.skipif(_ZSTD is None, reason="the program zstd is not here")
def test_the_file_is_what_its_name_and_meta_file_say(
    compressed: BackupManager, database: Path, tmp_path: Path
) -> None:
    """`zstd -d` opens it; both checksums and both sizes are in the meta file, and are right."""
    info = compressed.create("Before the import")
    assert info.filename.endswith("_Before_the_import.db.zst")
    stored, plain = Path(info.path).read_bytes(), _plain_of(info)
    assert (info.size_bytes, info.sha256) == (len(stored), hashlib.sha256(stored).hexdigest())
    assert (info.plain_size_bytes, info.plain_sha256) == (
        len(plain),
        hashlib.sha256(plain).hexdigest(),
    )
    assert len(stored) < len(plain)
    (tmp_path / "plain.db").write_bytes(plain)
    assert digest(tmp_path / "plain.db") == digest(database)
    assert compressed.list() == [info]
    assert Path(info.path).stat().st_mode & 0o777 == 0o600
    assert leftovers(tmp_path) == leftovers(compressed.directory) == []


def test_it_is_verified_restored_undone_and_compared(
    compressed: BackupManager, database: Path, tmp_path: Path
) -> None:
    """All that is done with a backup is done with it, and nothing is left beside the database."""
    info = compressed.create()
    before = digest(database)
    assert compressed.verify(info, level="quick").checksum
    report = compressed.verify(info)
    assert (report.checksum, report.recorded) == (True, True)
    add_child(database)
    changed = digest(database)
    lost = {table.table: table.lost for table in compressed.compare(info).tables}
    assert lost["child"] == 1
    counts = {one.table: (one.backup, one.live) for one in compressed.row_counts(info)}
    assert counts["noise"] == (4, 4)
    assert compressed.can_restore(info).ok
    restored = compressed.restore(info)
    assert restored.verified
    assert digest(database) == before
    assert restored.safety_backup is not None
    assert digest(restored.safety_backup) == changed  # it is plain
    compressed.undo_restore()
    assert digest(database) == changed
    database.unlink()
    assert compressed.restore(info).safety_backup is None
    assert digest(database) == before
    assert leftovers(tmp_path) == []


def test_forms_mix_in_one_directory(
    compressed: BackupManager, database: Path, make_engine: EngineMaker
) -> None:
    """The setting is about new backups only; each manager works with those of the other."""
    plain = BackupManager(make_engine(database))
    first = plain.create()
    second = compressed.create()
    third = plain.create()
    assert [info.id for info in plain.list()] == [third.id, second.id, first.id]
    assert plain.get("latest~1") == second
    add_child(database)
    plain.restore(second)
    compressed.restore(first)
    compressed.pin(second, "for the audit")
    assert plain.get(second.id[:6]).pinned
    plain.unpin(second)
    removed = plain.prune(RetentionPolicy(keep_last=1)).removed
    assert [decision.backup.id for decision in removed] == [second.id, first.id]
    assert not Path(f"{second.path}.meta").exists()


@pytest.mark.parametrize("level", ["quick", "full"])
def test_every_flip_and_cut_is_found(
    compressed: BackupManager, database: Path, tmp_path: Path, level: str
) -> None:
    """Damage in every 64 KB is found by each check, and a restore refuses and changes nothing."""
    info = compressed.create()
    good = Path(info.path).read_bytes()
    assert len(good) > 5 * _BLOCK
    before = digest(database)
    offsets = [*range(0, len(good), _BLOCK), len(good) - 1]
    for offset in offsets:
        flip(Path(info.path), offset)
        with pytest.raises(ChecksumMismatchError):
            compressed.verify(info, level=level)  # type: ignore[arg-type]
        with pytest.raises(InvalidBackupError):
            compressed.restore(info)
        Path(info.path).write_bytes(good[:offset])
        with pytest.raises(TruncatedBackupError):
            compressed.verify(info, level=level)  # type: ignore[arg-type]
        with pytest.raises(TruncatedBackupError):
            compressed.restore(info)
        Path(info.path).write_bytes(good)
    assert digest(database) == before
    assert compressed.verify(info, level=level)  # type: ignore[arg-type]
    assert leftovers(tmp_path) == []


def _without_meta(info: BackupInfo) -> Path:
    Path(f"{info.path}.meta").unlink()
    return Path(info.path)


def test_one_without_its_meta_file_is_used_and_adopted(
    compressed: BackupManager, database: Path
) -> None:
    """It is of unknown origin, as a plain one; adopted, it has both checksums again."""
    info = compressed.create()
    path = _without_meta(info)
    (unknown,) = compressed.list()
    assert unknown.of_unknown_origin
    assert not unknown.is_plain
    assert not compressed.verify(unknown).checksum
    add_child(database)
    compressed.restore(path)
    adopted = compressed.adopt(path)
    assert (adopted.sha256, adopted.plain_sha256) == (info.sha256, info.plain_sha256)
    assert (adopted.size_bytes, adopted.plain_size_bytes) == (
        info.size_bytes,
        info.plain_size_bytes,
    )
    assert compressed.verify(adopted, level="quick").checksum


def test_a_flip_is_found_without_the_meta_file(compressed: BackupManager, database: Path) -> None:
    """The frame has a checksum of its own."""
    info = compressed.create()
    path = _without_meta(info)
    good, before = path.read_bytes(), digest(database)
    for offset in range(0, len(good), _BLOCK):
        flip(path, offset)
        with pytest.raises(InvalidBackupError):
            compressed.restore(path)
        path.write_bytes(good[: offset + 10])
        with pytest.raises(InvalidBackupError):
            compressed.restore(path)
        path.write_bytes(good)
    assert digest(database) == before


def zstd_of(data: bytes) -> bytes:
    """Return ``data`` as one frame."""
    target = io.BytesIO()
    compress(io.BytesIO(data), target)
    return target.getvalue()


def _bomb(path: Path, size: int) -> None:
    path.write_bytes(zstd_of(b"\0" * size))


def test_a_bomb_stops_at_the_size_that_the_meta_file_states(
    compressed: BackupManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than that is not written; without a meta file there is a limit all the same."""
    info = compressed.create()
    path = Path(info.path)
    _bomb(path, 50_000_000)
    largest = 0

    def watched(self: object, data: bytes, /, write: Callable[..., None] = _WRITE) -> None:
        nonlocal largest
        write(self, data)
        largest = max(largest, self.done)  # type: ignore[attr-defined]

    monkeypatch.setattr(form_streams.Hashing, "write", watched)
    meta = Path(f"{path}.meta")
    facts = json.loads(meta.read_bytes())
    with pytest.raises(InvalidBackupError):
        compressed.restore(info)
    assert largest <= facts["plain_size_bytes"]
    meta.unlink()
    monkeypatch.setattr(stored_form, "_LIMIT_LEAST", 1_000_000)
    monkeypatch.setattr(stored_form, "_LIMIT_FACTOR", 100)
    with pytest.raises(InvalidBackupError, match="more than") as caught:
        compressed.restore(path)
    assert "import the result" in caught.value.hint
    assert largest <= 1_000_000
    assert leftovers(tmp_path) == []


_WRITE = form_streams.Hashing.write


def test_what_is_no_zstd_or_no_database_is_refused(
    compressed: BackupManager, database: Path
) -> None:
    """The name alone makes nothing a backup that can be restored."""
    info = compressed.create()
    path, before = _without_meta(info), digest(database)
    for data in (b"", b"no zstd at all" * 100, database.read_bytes()):
        path.write_bytes(data)
        with pytest.raises(InvalidBackupError, match="cannot be decompressed"):
            compressed.restore(path)
    _bomb(path, 100_000)
    with pytest.raises(InvalidBackupError):  # zeros, and no database
        compressed.restore(path)
    path.unlink()
    with pytest.raises(BackupNotFoundError):
        compressed.restore(info)
    assert digest(database) == before


def test_a_wrong_name_is_found(compressed: BackupManager, make_engine: EngineMaker) -> None:
    """Renamed with its meta file, a backup is still not what its name says."""
    plain = BackupManager(make_engine(compressed.database))
    for info, wrong in (
        (compressed.create("packed"), lambda path: path.removesuffix(".zst")),
        (plain.create("plain"), lambda path: f"{path}.zst"),
    ):
        for ending in ("", ".meta"):
            Path(f"{info.path}{ending}").rename(f"{wrong(info.path)}{ending}")
        renamed = next(one for one in plain.list() if one.id == info.id)
        with pytest.raises(InvalidBackupError):
            plain.verify(renamed)
        with pytest.raises(InvalidBackupError):
            plain.restore(renamed)
        if renamed.is_plain:
            with pytest.raises(InvalidBackupError):
                plain.verify(renamed, level="quick")


def test_export_gives_the_form_that_the_name_says(
    compressed: BackupManager, database: Path, tmp_path: Path, make_engine: EngineMaker
) -> None:
    """A directory gets it as it is, or plain; a file the form of its name; all can be imported."""
    info = compressed.create("to the laptop")
    (tmp_path / "usb").mkdir()
    as_it_is = compressed.export(info, tmp_path / "usb")
    assert as_it_is.name == info.filename
    assert as_it_is.read_bytes() == Path(info.path).read_bytes()
    renamed = compressed.export(info, tmp_path / "copy.db.zst")
    assert renamed.read_bytes() == as_it_is.read_bytes()
    plain = compressed.export(info, tmp_path / "usb", plain=True)
    assert plain.name == info.filename.removesuffix(".zst")
    named = compressed.export(info, tmp_path / "copy.db")
    for copy in (plain, named):
        assert digest(copy) == digest(database)
        assert json.loads(Path(f"{copy}.meta").read_bytes())["format"] == 1
    with pytest.raises(StorageError, match="name of something else"):
        compressed.export(info, tmp_path / "x.db.zst", plain=True)
    elsewhere = BackupManager(make_engine(tmp_path / "other.db"), tmp_path / "elsewhere")
    for source in (as_it_is, renamed, plain, named):
        arrived = elsewhere.import_file(source)
        assert (arrived.is_plain, arrived.created_at) == (True, info.created_at)
        assert digest(Path(arrived.path)) == digest(database)
    Path(f"{as_it_is}.meta").unlink()
    assert digest(Path(elsewhere.import_file(as_it_is).path)) == digest(database)
    assert not compressed.import_file(named).is_plain


def test_what_cannot_be_read_back_is_not_published(
    compressed: BackupManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A disk that loses what was written is found at once, and not blamed on the database."""
    write = compress

    def lose_a_block(source: Reader, target: Writer, **options: Any) -> None:
        whole = io.BytesIO()
        write(source, whole, **options)
        data = bytearray(whole.getvalue())
        data[len(data) // 2 : len(data) // 2 + 512] = bytes(512)
        target.write(bytes(data))

    monkeypatch.setattr(transforms, "compress", lose_a_block)
    with pytest.raises(StorageError, match="could not be read back"):
        compressed.create()
    monkeypatch.setattr(transforms, "compress", lambda *_, **__: None)
    with pytest.raises(StorageError, match="could not be read back"):
        compressed.create()
    assert compressed.list() == []
    assert leftovers(compressed.directory) == leftovers(tmp_path) == []


def test_a_copy_that_changes_while_it_is_compressed_is_not_published(
    compressed: BackupManager, tmp_path: Path
) -> None:
    """What was checked is what is in the backup."""
    changed: list[Path] = []

    def change(done: int, total: int) -> None:
        if done > total * 3 // 4 and not changed:  # the second half is the compression
            (work,) = tmp_path.glob(_WORK)
            changed.append(work)
            flip(work, work.stat().st_size - 10)

    with pytest.raises(StorageError, match="changed meanwhile"):
        _create_in_small_steps(compressed, change)
    assert changed
    assert compressed.list() == []
    assert leftovers(tmp_path) == []


def _create_in_small_steps(manager: BackupManager, progress: Callable[[int, int], object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zstandard, "_BLOCK", 4096)
        manager.create(progress=progress)


def test_an_error_is_about_the_backup_and_not_about_the_copy(
    compressed: BackupManager, tmp_path: Path
) -> None:
    """The private file that it was decoded to is gone when somebody reads the error."""
    path = _without_meta(compressed.create())
    path.write_bytes(zstd_of(b"hello"))
    for call in (compressed.verify, compressed.restore, compressed.adopt):
        with pytest.raises(InvalidBackupError) as caught:
            call(path)
        assert ".work-" not in str(caught.value)
        assert path.name in str(caught.value)
    outside = tmp_path / "z.zst"
    outside.write_bytes(path.read_bytes())
    with pytest.raises(InvalidBackupError, match=r"z\.zst"):
        compressed.import_file(outside)


def test_only_what_is_ours_is_removed(
    compressed: BackupManager, database: Path, tmp_path: Path
) -> None:
    """Files with names that begin alike stay, and what is no file; a link to one is no lock."""
    info = compressed.create()
    kept = [tmp_path / f".app.db.work-{end}" for end in ("", "notes", "1234567", "123456789")]
    for path in kept:
        path.write_text("mine")
    (tmp_path / ".app.db.work-66666666").mkdir()
    (tmp_path / ".app.db.work-33333333.lock").hardlink_to(database)
    before = digest(database)
    compressed.verify(info)
    compressed.restore(info)
    assert digest(database) == before
    assert all(path.read_text() == "mine" for path in kept)
    assert (tmp_path / ".app.db.work-66666666").is_dir()
    assert not (tmp_path / ".app.db.work-66666666.lock").exists()


def test_the_room_that_a_restore_needs_is_left_to_it(
    compressed: BackupManager, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is elsewhere where both do not fit beside the database."""
    info = compressed.create()
    size = database.stat().st_size
    repository = compressed._repository
    for free, is_beside in ((size * 10, True), (size * 2, False)):
        monkeypatch.setattr(
            space,
            "free_space",
            lambda directory, free=free: free if directory == database.parent else size * 100,
        )
        with restore_source.opened_to_restore(repository, info) as source:
            assert (source.path.parent == database.parent) == is_beside


def test_without_a_meta_file_half_of_the_free_space_is_left(
    compressed: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows how much is in it, and the application goes on writing."""
    path = _without_meta(compressed.create())
    monkeypatch.setattr(space, "free_space", lambda _: 700_000)
    with pytest.raises(InvalidBackupError, match="more than 350,000"):
        compressed.verify(path)


def test_no_second_backup_with_the_same_id_is_exported(compressed: BackupManager) -> None:
    """The backup directory is no place to export to under the name of a backup."""
    info = compressed.create()
    with pytest.raises(StorageError, match="same id"):
        compressed.export(info, compressed.directory, plain=True)
    assert [one.id for one in compressed.list()] == [info.id]


def test_a_plain_copy_of_a_half_run_backup_is_known(
    compressed: BackupManager, database: Path, tmp_path: Path
) -> None:
    """Without its meta file its content tells that it is half migrated."""
    write_marker(database, backup="none", alembic_heads=("r1",), target_revision="r2")
    assert compressed.create().half_run
    copy = compressed.export(compressed.list()[0], tmp_path / "copy.db")
    Path(f"{copy}.meta").unlink()
    assert compressed.import_file(copy).half_run


def test_import_needs_no_database(tmp_path: Path, compressed: BackupManager) -> None:
    """On a new machine the backups come first, and are compressed there as well."""
    exported = compressed.export(compressed.create(), tmp_path / "copy.db.zst")
    (tmp_path / "new").mkdir()
    manager = BackupManager.from_url(str(tmp_path / "new" / "app.db"), compression="zstd")
    arrived = manager.import_file(exported)
    assert not arrived.is_plain
    manager.restore(arrived)
    assert digest(tmp_path / "new" / "app.db") == digest(tmp_path / "app.db")


def test_one_that_is_deleted_while_it_is_verified_is_not_found(compressed: BackupManager) -> None:
    """The copy that was checked is not the backup."""
    info = compressed.create()

    def delete_it(_done: int, _total: int) -> None:
        if Path(info.path).exists():
            compressed.delete(info)

    with pytest.raises(BackupNotFoundError):
        compressed.verify(info, progress=delete_it)


def test_a_newer_form_is_told_from_damage(compressed: BackupManager) -> None:
    """The meta file of a compressed backup has format 2; one of a later format says so itself."""
    info = compressed.create()
    meta = Path(f"{info.path}.meta")
    facts = json.loads(meta.read_bytes())
    assert facts["format"] == 2
    meta.write_text(json.dumps(facts | {"format": 4}))
    with pytest.raises(NewerFormatError):
        compressed.verify("latest")


def test_progress_goes_up_to_all_plain_bytes(
    compressed: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts the bytes of the database, never goes back, and what it raises leaves nothing."""
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(zstandard, "_BLOCK", 64 * 1024)
    info = compressed.create(progress=lambda done, total: calls.append((done, total)))
    assert calls == sorted(calls)
    assert len(calls) > 5
    assert calls[-1] == (info.plain_size_bytes, info.plain_size_bytes)
    for wanted in range(0, len(calls), max(1, len(calls) // 10)):
        left = wanted

        def cancel(_done: int, _total: int) -> None:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1

        with pytest.raises(KeyboardInterrupt):
            compressed.create(progress=cancel)
    assert compressed.list() == [info]
    assert leftovers(compressed.directory) == leftovers(compressed.directory.parent) == []


def test_a_schedule_sees_that_nothing_has_changed(
    compressed: BackupManager, database: Path
) -> None:
    """No second backup is made of the same content, whatever its bytes are."""
    first = run_auto(compressed, RetentionPolicy(keep_last=1))
    assert first is not None
    assert first.created is not None
    assert not first.created.is_plain
    again = run_auto(compressed)
    assert again is not None
    assert again.created is None
    execute(database, "VACUUM")
    again = run_auto(compressed)
    assert again is not None
    assert again.created is None
    add_child(database)
    changed = run_auto(compressed, RetentionPolicy(keep_last=1))
    assert changed is not None
    assert changed.pruned is not None
    assert [one.backup.id for one in changed.pruned.removed] == [first.created.id]


def _go_on_to(child: Child, stage: str) -> None:
    """Let the child go on until it is at ``stage``."""
    child.tell("")
    while (line := child.line()) != stage:
        assert line, f"it ended before it was at {stage!r}"
        child.tell("")


def test_what_a_killed_process_left_is_removed_by_the_next_call(
    database: Path, make_engine: EngineMaker, tmp_path: Path
) -> None:
    """Killed in the middle, it leaves a private file; the next operation removes it."""
    manager = BackupManager(make_engine(database), compression="zstd")
    with Child("killed_at_a_stage.py", "create", database, "zstd") as child:
        _go_on_to(child, "copied")
        child.process.send_signal(signal.SIGKILL)
        child.process.wait()
    (left,) = tmp_path.glob(_WORK)
    assert left.stat().st_mode & 0o777 == 0o600
    manager.create()
    assert leftovers(tmp_path) == leftovers(manager.directory) == []
    assert [info.is_plain for info in manager.list()] == [False]


def test_what_is_left_beside_the_database_is_removed_by_who_works_elsewhere(
    database: Path, make_engine: EngineMaker, tmp_path: Path
) -> None:
    """A work directory that is named from now on leaves nothing behind where it was before."""
    with Child("killed_at_a_stage.py", "create", database, "zstd") as child:
        _go_on_to(child, "copied")
        child.process.send_signal(signal.SIGKILL)
        child.process.wait()
    assert leftovers(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    manager = BackupManager(make_engine(database), compression="zstd", work_directory=elsewhere)
    manager.create()
    assert leftovers(tmp_path) == leftovers(elsewhere) == []


def test_two_processes_work_at_the_same_time(
    database: Path, make_engine: EngineMaker, tmp_path: Path
) -> None:
    """Each has a file of its own, and neither removes that of the other."""
    manager = BackupManager(make_engine(database), compression="zstd")
    with Child("killed_at_a_stage.py", "create", database, "zstd") as child:
        _go_on_to(child, "copied")
        manager.verify(manager.create())
        assert list(tmp_path.glob(_WORK))
        _go_on_to(child, "done")
    assert len(manager.list()) == 2
    assert leftovers(tmp_path) == []


def test_without_room_beside_the_database_it_is_elsewhere(
    compressed: BackupManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's directory for temporary files is used then; without room there, an error."""
    free = space.free_space

    def full(directory: Path) -> int | None:
        return 0 if directory == tmp_path else free(directory)

    monkeypatch.setattr(space, "free_space", full)
    info = compressed.create()
    compressed.verify(info)
    monkeypatch.setattr(space, "free_space", lambda _: 0)
    with pytest.raises(NotEnoughSpaceError):
        compressed.create()
    with pytest.raises(NotEnoughSpaceError):
        compressed.verify(info)


@pytest.mark.parametrize("given", ["gzip", "zstd:0", "zstd:20", "zstd:", "zstd:x", "zst"])
def test_a_compression_that_there_is_not_is_an_error(database: Path, given: str) -> None:
    """The error says what there is; nothing is made."""
    with pytest.raises(OptionError, match=r"compression"):
        BackupManager.from_url(str(database), compression=given)
    assert not database.with_name("backups").exists()


@pytest.mark.parametrize(
    ("given", "level"),
    [
        ("zstd", 3),
        ("ZSTD:19", 19),
        (Compression(level=9, threads=2), 9),
        ("none", None),
        ("", None),
    ],
)
def test_a_compression_is_given_in_these_ways(
    database: Path, given: str | Compression, level: int | None
) -> None:
    """As an option has it, or as a value."""
    manager = BackupManager.from_url(str(database), compression=given)
    info = manager.create()
    assert info.is_plain == (level is None)
    manager.restore(info)


def test_nothing_changes_beside_a_database_that_is_only_read(
    compressed: BackupManager, tmp_path: Path
) -> None:
    """A check and a look leave the directory of the database as it was."""
    info = compressed.create()
    compressed.verify(info)  # which notes that it passed
    before = snapshot_of(tmp_path)
    compressed.compare(info)
    compressed.can_restore(info)
    assert snapshot_of(tmp_path) == before


def test_a_database_in_memory_is_compressed_as_well(
    make_engine: EngineMaker, tmp_path: Path
) -> None:
    """It has no directory of its own: the copy is in the system's for temporary files."""
    from sqlalchemy.pool import StaticPool

    engine = make_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    manager = BackupManager(engine, tmp_path / "backups", compression="zstd", catalog=False)
    info = manager.create()
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM t")
    manager.restore(info)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT x FROM t").scalar() == 1
