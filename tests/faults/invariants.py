"""What must hold after every fault, written once and used by all parts of the matrix.

Everything here runs in a process of its own after the fault, without faults.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import time_machine
from differential_reader import differential_by_others
from helpers import digest, leftovers, read_marker, scalar

from faults import engines, mirrored
from faults.operations import ENDINGS, EVERY, KEY, manager_of, upgrade
from soulsense_db import BackupManager
from soulsense_db.alembic.errors import MigrationRefusedError
from soulsense_db.backup_info.info import META_SUFFIX
from soulsense_db.errors import BackupError, Outcome
from soulsense_db.fs.copying import sha256_of_own
from soulsense_db.meta_file import read_backup
from soulsense_db.sidecars.migration_marker import marker_path

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Facts = dict[str, Any]
# What an operation that failed may have left, after what its error says of that.
_MAY_BE = {
    Outcome.UNCHANGED: {"before"},
    Outcome.DONE: {"after"},
    Outcome.PARTLY: {"part", "after"},  # the rest that fails may be what nobody sees any more
    Outcome.PUT_BACK: {"before"},
    Outcome.UNSURE: {"before", "part", "after"},
    Outcome.HALF_RUN: {"before", "half-run, noticed"},
    Outcome.BROKEN: set[str](),  # no fault of one call may go that far
}


def facts(folder: str, name: str) -> Facts:
    """Return what is in a folder: ``live``, ``backups`` and ``copies`` by name, as digests.

    ``live`` is that of the bytes where the database cannot be read. ``backups``: SHA-256 of the
    data files; ``contents``: digests of the rows that any file holds. ``mirror``: SHA-256 of what
    is there whole; ``hidden``: hidden names in the backup directory, but for locks.
    """
    place = Path(folder)
    live = _digest_or_bytes(place / "app.db")
    backups = {path.name: sha256_of_own(path) for path in _data_files(place / "backups")}
    copies = {path.name: _digest_or_bytes(path) for path in _copies(place)}
    kept = {path.name: _rows_of(path) for path in _data_files(place / "backups")}
    outside = place / "outside.db"
    others = [digest(outside)] if outside.exists() else []
    return {
        "live": live,
        "backups": backups,
        "copies": copies,
        "contents": sorted({live, *copies.values(), *kept.values(), *others}),
        "marks": _marks(place),
        "mirror": {name: mirrored.sha256_at(place, name) for name in mirrored.whole_at(place)},
        "hidden": _hidden(place / "backups"),
    }


def check(
    folder: str, name: str, base: Facts, after: Facts, answer: dict[str, Any] | None
) -> Facts:
    """Look at what a fault left; return ``outcome`` and ``violations``, none of which may be.

    ``base`` and ``after`` are the facts of before and of a run without a fault; ``answer`` is what
    the operation returned, None when it died.
    """
    found = _Findings(Path(folder), name, base, after)
    try:
        found.look()
        if answer is not None:
            found.judge(answer)
        found.go_on()
    except Exception as error:  # noqa: BLE001 - a violation like others
        import traceback

        found.violations.append(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
    return {"outcome": found.outcome, "violations": found.violations}


class _Findings:
    def __init__(self, folder: Path, name: str, base: Facts, after: Facts) -> None:
        self.folder = folder
        self.live = folder / "app.db"
        self.name = name
        self.operation = EVERY[name]
        self.base = base
        self.after = after
        self.known = {*base["contents"], *after["contents"]}
        self.outcome = "?"
        self.violations: list[str] = []

    def require(self, holds: object, what: str) -> None:
        """Note a violation."""
        if not holds:
            self.violations.append(what)

    def look(self) -> None:
        """Look at what there is, before anything else runs."""
        manager = manager_of(self.folder)
        self._look_at_backups(manager)
        self._look_at_mirror()
        self._look_at_live()
        self._look_for_ways_back()

    def _look_at_backups(self, manager: BackupManager) -> None:
        listed = {info.filename: info for info in manager.list()}
        for info in listed.values():
            self.require(not info.meta_problem, f"{info.filename}: {info.meta_problem}")
            try:
                report = manager.verify(info, level="full")
                self.require(report.checksum, f"{info.filename} has no meta file")
            except BackupError as error:
                self.require(False, f"listed and no good: {error}")
                continue
            self.require(
                _rows_of(Path(info.path)) in self.known, f"unknown rows in {info.filename}"
            )
        asked_to_go = set(self.base["backups"]) - set(self.after["backups"])
        for filename, sha256 in self.base["backups"].items():
            if filename not in listed:
                self.require(filename in asked_to_go, f"lost: {filename}")
            else:
                self.require(listed[filename].sha256 == sha256, f"changed: {filename}")

    def _look_at_mirror(self) -> None:
        """Only what is whole is listed there, and nothing is gone that was not to go."""
        if not mirrored.place_of(self.folder).exists():
            return
        manager = manager_of(self.folder, **mirrored.options_of(self.folder))
        alone = mirrored.metas_alone_at(self.folder)
        self.require(not alone, f"meta files at the mirror without data: {alone}")
        (listing,) = manager.mirrors.list()
        self.require(not listing.damaged, f"damaged at the mirror: {listing.damaged}")
        listed = {info.filename: info for info in listing.backups}
        known = self.base["mirror"] | self.after["mirror"]
        sums = {info.database_sha256 for info in listed.values()}
        for name, info in listed.items():
            found = mirrored.sha256_at(self.folder, name)
            self.require(
                found == info.sha256 == known.get(name), f"listed there, not whole: {name}"
            )
            has_base = info.base_sha256 is None or info.base_sha256 in sums
            self.require(has_base, f"listed there without its base: {name}")
        to_stay = self.base["mirror"].keys() & self.after["mirror"].keys()
        self.require(to_stay <= listed.keys(), f"lost there: {to_stay - listed.keys()}")

    def _look_at_live(self) -> None:
        state = _digest_or_bytes(self.live)
        if not state.startswith("bytes:"):
            self.require(scalar(self.live, "PRAGMA integrity_check") == "ok", "integrity")
        before, after = self.base["live"], self.after["live"]
        if state not in (before, after):
            self.require(self.operation.migrates, "the live database is neither old nor new")
            self.require(not state.startswith("bytes:"), "the live database cannot be read")
            self.require(read_marker(self.live), "a half-run migration is not marked")
            self.outcome = "half-run, noticed"
        elif before != after:
            self.outcome = "after" if state == after else "before"
        else:
            known = {str(self.after["marks"]): "after", str(self.base["marks"]): "before"}
            self.outcome = known.get(str(_marks(self.folder)), "part")

    def judge(self, answer: dict[str, Any]) -> None:
        """Hold the operation to what it said."""
        if not answer["error"]:
            if self.name == "create, old ones pruned":  # what keeps it from pruning is a warning
                self.require(self.outcome != "before", "said to be made, but it is not there")
            elif answer.get("said") == mirrored.APPEND_ONLY:  # what cannot be removed stays
                self.require(self.outcome != "before", "said to be uploaded, but nothing is")
            elif self.name.startswith("mirror sync") and self._is_only_pin_missing():
                pass  # nothing there can be replaced: the pin counts all the same
            # A prune keeps what it cannot read, and says so in its report.
            elif self.name not in ("upgrade that fails", "prune"):
                self.require(self.outcome == "after", f"said to be done, but {self.outcome}")
            return
        # The error of an upgrade may be Alembic's own, or the application's.
        allowed = answer["in_tree"] or (self.operation.migrates and answer["of_others"])
        self.require(allowed, f"an error outside the tree: {answer.get('traceback')}")
        # A sync says in its report of each mirror what was done there.
        if answer["in_tree"] and not self.name.startswith("mirror sync"):
            may_be = _MAY_BE[Outcome(answer["outcome"])]
            self.require(self.outcome in may_be, f"{self.outcome}, but: {answer['text']}")

    def _is_only_pin_missing(self) -> bool:
        return set(mirrored.whole_at(self.folder)) == set(self.after["mirror"])

    def _look_for_ways_back(self) -> None:
        """Whatever rows were live, or in the safety backup of before, are still somewhere."""
        reachable = {_digest_or_bytes(path) for path in (self.live, *_copies(self.folder))}
        reachable |= {_rows_of(path) for path in _data_files(self.folder / "backups")}
        live_now = _digest_or_bytes(self.live)
        self.require(self.base["live"] in reachable, "the rows of before are nowhere")
        if live_now == self.base["live"] != self.after["live"]:  # not done: nor is undo replaced
            for copy in self.base["copies"].values():
                self.require(copy in reachable, "the safety backup of before is nowhere")
        if live_now == self.after["live"] != self.base["live"]:
            for copy in self.after["copies"].values():
                self.require(copy in reachable, "the safety backup is nowhere")

    def go_on(self) -> None:
        """Do what comes next, without help: it works, and nothing unfinished is left."""
        if self.operation.migrates:
            self._migrate_again()
        else:
            try:
                self.operation.run(self.folder)
            except BackupError as error:
                if self.operation.done is None or not isinstance(error, self.operation.done):
                    raise
                done = _marks(self.folder) == self.after["marks"]
                self.require(done, f"not done, and started again: {error}")
        self._tidy_mirror()
        manager = manager_of(self.folder)
        self._undo(manager)
        made = manager.create("next")
        self.require(manager.list()[0].id == made.id, "the next backup is not the newest")
        engines.close_idle()
        places = [self.folder, manager.directory]
        left = [name for place in places for name in leftovers(place)]
        self.require(not left, f"left behind: {left}")
        if mirrored.place_of(self.folder).exists():
            hidden = set(_hidden(self.folder / "backups"))
            unknown = hidden - {*self.base["hidden"], *self.after["hidden"]}
            self.require(not unknown, f"left behind beside the backups: {unknown}")
        self.require(not manager.orphans(), f"meta files without data: {manager.orphans()}")
        names = frozenset(info.filename for info in manager.list())
        self.require(names == manager.catalog.names(), "the catalog is out of step")

    def _tidy_mirror(self) -> None:
        """All that is to be at the mirror is, and nothing else, after a week at the latest."""
        if not mirrored.place_of(self.folder).exists():
            return
        self.require(_marks(self.folder) == self.after["marks"], "the next one differs")
        whole = set(self.after["mirror"])
        left = set(mirrored.files_at(self.folder)) - {
            name for data in whole for name in (data, f"{data}{META_SUFFIX}")
        }
        hidden = {name for name in left if name.startswith(".")}
        self.require(not hidden, f"left behind at the mirror: {hidden}")
        if left - hidden:
            # Half of a backup may be the upload of somebody else.
            with time_machine.travel(datetime.now(UTC) + timedelta(days=8)):
                self.operation.run(self.folder)
            left &= set(mirrored.files_at(self.folder))
            self.require(left <= hidden, f"left behind at the mirror for good: {left}")

    def _undo(self, manager: BackupManager) -> None:
        """Go back to the safety backup, which is whole, whatever became of the one before."""
        safety = manager.safety_backup()
        if safety is None:
            return
        kept = digest(Path(safety.path))
        source = manager.undo_restore().source
        self.require(source.sha256, "the safety backup has no checksum")
        self.require(digest(self.live) == kept, "undo went elsewhere")

    def _migrate_again(self) -> None:
        """Upgrade once more; where that is refused, do what the refusal says."""
        if _digest_or_bytes(self.live) not in (self.base["live"], self.after["live"]):
            marker = read_marker(self.live)
            try:
                upgrade(self.folder, "r3")
                self.require(False, "an upgrade over a half-run migration was not refused")
            except MigrationRefusedError as error:
                self.require("restore" in error.hint, f"no way back is named: {error}")
            assert marker is not None and marker.backup is not None
            manager_of(self.folder).restore(Path(marker.backup))
            self.require(digest(self.live) == self.base["live"], "not back to before")
        elif marker_path(self.live).exists():  # refused, or seen to be whole: either way it goes
            try:
                upgrade(self.folder, "r3")
            except MigrationRefusedError:
                marker = read_marker(self.live)
                assert marker is not None and marker.backup is not None
                manager_of(self.folder).restore(Path(marker.backup))
        self.operation.run(self.folder)
        self.require(not marker_path(self.live).exists(), "a marker stays after the next upgrade")
        self.require(_digest_or_bytes(self.live) == self.after["live"], "the next upgrade differs")


def _digest_or_bytes(path: Path) -> str:
    try:
        return digest(path)
    except sqlite3.DatabaseError:
        return f"bytes:{sha256_of_own(path)}"


def _marks(folder: Path) -> dict[str, Any]:
    """Return what tells whether an operation was done that leaves the live rows alone."""
    infos = [read_backup(path) for path in _data_files(folder / "backups")]
    with closing(sqlite3.connect(folder / "app.db")) as connection:
        try:
            rows = connection.execute("SELECT count(*) FROM backups").fetchone()[0]
        except sqlite3.DatabaseError:
            rows = -1
    return {
        "backups": sorted(
            [info.description or info.form.text, info.pinned, info.drill_result or ""]
            for info in infos
        ),
        "mirror": sorted(
            [name, meta["pinned"]] for name, meta in mirrored.whole_at(folder).items()
        ),
        "exported": [(folder / f"exported.db{ending}").exists() for ending in ("", META_SUFFIX)],
        # A row may be missing for a while after what it is about.
        "rows": rows == 0,
    }


def _hidden(directory: Path) -> list[str]:
    names = os.listdir(directory) if directory.exists() else []
    # What is known of mirrors is in a file that is called after the path of the database.
    plain = {re.sub(r"_[0-9a-f]{12}\b", "", name) for name in names}
    return sorted(name for name in plain if name[0] == "." and not name.endswith(".lock"))


def _data_files(directory: Path) -> list[Path]:
    names = sorted(os.listdir(directory)) if directory.exists() else []
    return [directory / name for name in names if name.endswith(ENDINGS) and name[0] != "."]


def _rows_of(path: Path) -> str:
    """Return the digest of the rows in a backup; not by our own code where it is not plain."""
    if path.suffix == ".db":
        return digest(path)
    with tempfile.NamedTemporaryFile(suffix=".db") as plain:
        plain.write(_plain(path))
        plain.flush()
        return digest(Path(plain.name))


def _plain(path: Path) -> bytes:
    data, form = path.read_bytes(), path.name
    if form.endswith(".age"):
        key = (path.parent.parent / KEY).read_text().split()[-1]
        data = pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(key)])
        form = form.removesuffix(".age")
    if form.endswith(".diff"):
        # Where the first choice could not be looked at, another full backup is the base.
        base = json.loads(Path(f"{path}.meta").read_bytes())["base_name"]
        return differential_by_others(data, _plain(path.with_name(base)))
    return zstd.decompress(data) if form.endswith(".zst") else data


def _copies(folder: Path) -> list[Path]:
    """Return the safety backups, in all the names that they may have."""
    return [
        path
        for path in sorted(folder.glob("app.db.*"))
        if path.suffix not in (META_SUFFIX, ".migrating")
        and not path.name.endswith(("-wal", "-shm", "-journal"))
    ]
