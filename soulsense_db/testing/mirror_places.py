"""What a mirror promises of its place: where it is, whether it is set up, what is listed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from soulsense_db.errors import MirrorError, MirrorNotFoundError, OptionError
from soulsense_db.mirrors import Mirror, MirrorUrl
from soulsense_db.testing.mirror_hooks import (
    FOLDER,
    KEY,
    MirrorHooks,
    contents,
    keys,
    outgoing,
)

# As people and systems name machines and databases.
_ODD_NAMES = ("app (1).db", "naïve.db", "日記.db", "a+b=c&d.db", "100%.db", "#1.db", "it's.db")


def _uses(folder: Path) -> dict[str, Callable[[Mirror], object]]:
    """Return all that can be asked of a mirror, by name."""
    return {
        "list": keys,
        "list a folder": lambda mirror: keys(mirror, FOLDER),
        "read": contents,
        "write": lambda mirror: mirror.write(KEY, outgoing(folder, b"data")),
        "create": lambda mirror: mirror.create(KEY, b"data"),
        "replace": lambda mirror: mirror.replace(KEY, b"data"),
        "delete": lambda mirror: mirror.delete(KEY),
    }


class PlacePromises(MirrorHooks):
    """Nothing is stored anywhere else, and everything that is stored is listed."""

    def test_its_address_leads_to_it(self, mirror: Mirror) -> None:
        """The URL that is shown and recorded is one of the same place, and of this kind."""
        assert MirrorUrl.of(mirror.address) == mirror.url
        assert mirror.url.scheme in type(mirror).schemes

    def test_a_url_that_cannot_be_is_refused(self, mirror: Mirror) -> None:
        """What can be no mirror of this kind is an error of an option, before anything is done."""
        for url in self.bad_urls:
            with pytest.raises(OptionError):
                type(mirror)(MirrorUrl.of(url))

    def test_a_mirror_that_was_never_used_is_closed(self, mirror: Mirror) -> None:
        """Who makes a mirror and asks nothing of it, connects to nothing and may close it."""
        self.missing(mirror).close()

    def test_a_place_that_is_missing_is_said_so(self, mirror: Mirror, tmp_path: Path) -> None:
        """A place that is not there is never an empty one, and is not made by the way."""
        for name, use in _uses(tmp_path).items():
            with self.missing(mirror) as missing:
                # It may not be known before something is listed or stored.
                if name in {"read", "delete"} and not mirror.needs_preparing:
                    continue
                with pytest.raises(MirrorNotFoundError):
                    use(missing)

    def test_a_place_that_is_not_set_up_is_not_filled(self, mirror: Mirror, tmp_path: Path) -> None:
        """Where a drive is not mounted, nothing is stored, and nothing is taken for deleted."""
        self.needs_setting_up(mirror)
        for use in _uses(tmp_path).values():
            with self.unprepared(mirror) as unprepared:
                with pytest.raises(MirrorNotFoundError):
                    use(unprepared)
                unprepared.prepare()
                assert keys(unprepared) == []
                assert self.leftovers(unprepared) in (None, [])

    def test_setting_up_again_is_harmless(self, mirror: Mirror) -> None:
        """What is stored stays when a place is set up that was before."""
        mirror.replace(KEY, b"data")
        mirror.prepare()
        assert contents(mirror) == b"data"

    def test_an_empty_place_lists_nothing(self, mirror: Mirror) -> None:
        """A new place has no objects, and a folder that nobody made none either."""
        assert keys(mirror) == []
        assert keys(mirror, FOLDER) == []

    def test_an_object_is_listed_as_it_is(self, mirror: Mirror, other: Mirror) -> None:
        """Key, size and time are those of what was stored, also for another program."""
        mirror.replace(KEY, b"data")
        (found,) = other.list_objects()
        assert (found.key, found.folder, found.name) == (KEY, FOLDER, "app.db")
        assert found.size_bytes == 4
        if found.modified_at is not None:  # the clocks of two machines are not the same
            assert abs(datetime.now(UTC) - found.modified_at) < timedelta(days=2)

    def test_a_folder_lists_its_own_objects(self, mirror: Mirror) -> None:
        """The beginning of a folder's name is not that folder."""
        stored = ["lap/a.db", "laptop/a.db", "laptop/b.db", "laptop2/a.db"]
        for key in stored:
            mirror.replace(key, b"data")
        assert keys(mirror) == stored
        assert keys(mirror, "laptop") == ["laptop/a.db", "laptop/b.db"]
        assert keys(mirror, "lap") == ["lap/a.db"]

    def test_many_objects_are_all_listed(self, mirror: Mirror) -> None:
        """A listing goes on where one answer of the place ends."""
        stored = [f"{FOLDER}/{number:05}.db" for number in range(self.many)]
        for key in stored:
            mirror.replace(key, b"")
        assert keys(mirror) == stored
        assert keys(mirror, FOLDER) == stored

    def test_odd_names_come_back(self, mirror: Mirror) -> None:
        """A name with characters that URLs or shells treat in their own way is listed as it was."""
        stored = sorted(f"Ann's laptop/{name}" for name in _ODD_NAMES)
        for key in stored:
            mirror.replace(key, key.encode())
        assert keys(mirror) == stored
        for key in stored:
            assert contents(mirror, key) == key.encode()
            mirror.delete(key)
        assert keys(mirror) == []

    def test_a_key_leads_nowhere_else(self, mirror: Mirror, tmp_path: Path) -> None:
        """A key that could lead out of the place is refused."""
        file = outgoing(tmp_path, b"data")
        for key in ("../escaped.db", f"{FOLDER}/../../escaped.db", "/escaped/escaped.db"):
            with pytest.raises(MirrorError):
                mirror.write(key, file)
            with pytest.raises(MirrorError):
                mirror.create(key, b"data")
            with pytest.raises(MirrorError):
                mirror.replace(key, b"data")
        assert keys(mirror) == []
