"""Make the pictures of the window in the documentation, with real clicks on a screen of its own.

    python tests/dialog/screenshots.py [FOLDER]

It wants Xvfb, xdotool, ImageMagick, and the font Noto Sans (Debian: fonts-noto-core); without it,
it takes what there is. The screen has 1024 x 768 pixels: what matters is seen there. The data, the
dates and what the clock of the window says are the same every time.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import time_machine

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "soulsense_app"
sys.path[:0] = [str(ROOT / "tests"), str(EXAMPLE)]

import sample_data  # noqa: E402 - found by the line above, as all that follow
import sqlalchemy as sa  # noqa: E402
from app_copy import AppCopy  # noqa: E402
from helpers import execute  # noqa: E402

from dialog.display import Display, missing  # noqa: E402
from dialog.host import (  # noqa: E402
    CREATE,
    DELETE_TITLE,
    MANAGE,
    RESTORE,
    RESTORE_YES,
    ROWS,
    row,
)
from dialog.person import Person  # noqa: E402
from soulsense_db.scheduled import run_auto  # noqa: E402

IMAGES = ROOT / "docs" / "images"
NOW = datetime(2026, 6, 19, 16, 40, tzinfo=ZoneInfo("UTC"))
_FONT = "Noto Sans"
_OLD = "0002_settings"
_WIDTH, _HEIGHT = 1024, 768

_FONTS_CONF = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <!-- Tk draws no font of coloured pictures well. -->
  <selectfont><rejectfont><glob>*Emoji*</glob></rejectfont></selectfont>
  <match>
    <test name="family"><string>sans-serif</string></test>
    <edit name="family" mode="prepend" binding="strong"><string>{font}</string></edit>
  </match>
</fontconfig>
"""

_CLOCK = """
import time_machine
travel = time_machine.travel({now!r}, tick=True)
travel.start()
"""

_STANDALONE = """
from dialog.managers import Held
from soulsense_db.dialog.standalone import run
run(Held.from_url({database!r}), dark={dark})
"""

_MIRRORED = """
from soulsense_db import BackupManager
from soulsense_db.dialog.standalone import run
manager = BackupManager.from_url({database!r}, mirrors=[{usb!r}], mirror_folder="laptop")
manager.mirrors.add({usb!r})
manager.mirrors.sync()
for old in manager.list()[2:5]:
    manager.delete(old)
manager.create("Before I try the new sorting")
run(manager, dark={dark})
"""

_EXAMPLE_APP = """
import sys
sys.path.insert(0, {example!r})
import app
app.main([{folder!r}])
"""


# The data


def make_data(folder: Path) -> AppCopy:
    """Make the example's database, and the backups of eleven days."""
    folder.mkdir()
    with _at(-11, 9, 12):
        app = AppCopy(folder)
        app.upgrade(_OLD)
        sample_data.fill(app.engine)
    with _at(-10, 18, 5):
        app.manager.pin(app.manager.create("Before the study begins"), "until the study ends")
    _write(app, 40)
    with _at(-8, 2, 15):
        run_auto(app.manager)
    with _at(-6, 20, 41):
        old = folder / "old laptop.db"
        app.manager.export("latest~1", old)
        app.manager.import_file(old)
        old.unlink()
    _write(app, 25)
    for day in (-3, -2):
        with _at(day, 2, 15):
            run_auto(app.manager)
        _write(app, 12)
    with _at(-1, 11, 20):
        app.upgrade()
    _write(app, 9)
    with _at(-1, 21, 58):
        app.manager.create("Entries of spring sorted, before I tidy up the exam scores")
    with app.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM exam_scores WHERE id % 40 = 0")
        connection.exec_driver_sql("UPDATE settings SET value = 'off' WHERE value = '08:00'")
    _write(app, 7)
    with _at(0, 2, 15):
        run_auto(app.manager)
    _write(app, 3)
    return app


def _write(app: AppCopy, entries: int) -> None:
    """Write some entries into the journal."""
    table = sa.Table("journal_entries", sa.MetaData(), autoload_with=app.engine)
    row = {"user_id": 17, "written_at": NOW.replace(tzinfo=None), "content": "Slept well."}
    row |= {"mood": "calm"} | ({"energy": 7} if "energy" in table.c else {})
    with app.engine.begin() as connection:
        connection.execute(sa.insert(table), [row] * entries)


@contextmanager
def _at(day: int, hour: int, minute: int) -> Iterator[None]:
    with time_machine.travel(NOW.replace(hour=hour, minute=minute) + timedelta(day), tick=True):
        yield


# The pictures


class Studio:
    """A screen, copies of the data, and the pictures in ``images``.

    ``place``: where all is done; it can be read in the pictures.
    """

    def __init__(self, place: Path, images: Path, display: Display) -> None:
        self._place, self._images, self._display = place, images, display
        self._data, self._folder = place / "data", place / "journal"
        # Where it is used: a copy elsewhere is another database, and the backups are none of it.
        make_data(self._folder).close()
        self._folder.rename(self._data)
        # In a traceback the program has its own place, not that of this machine.
        shutil.copytree(ROOT / "soulsense_db", place / "lib" / "soulsense_db")
        conf = place / "fonts.conf"
        conf.write_text(_FONTS_CONF.format(font=_FONT), "utf-8")
        self._env = {"FONTCONFIG_FILE": str(conf), "TZ": "UTC", "PYTHONPATH": str(place / "lib")}

    @contextmanager
    def person(
        self,
        setup: str = _STANDALONE,
        *,
        dark: bool = False,
        empty: bool = False,
        display: Display | None = None,
    ) -> Iterator[Person]:
        """Yield a person at the window, over a new copy of the data."""
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._data, self._folder)
        if empty:
            shutil.rmtree(self.backups)
        database = self.database
        usb = f"file://{self._place}/usb"
        facts = {
            "database": str(database),
            "folder": str(self._folder),
            "example": str(EXAMPLE),
        } | {"usb": usb}
        text = _CLOCK.format(now=NOW.isoformat()) + setup.format(dark=dark, **facts)
        with tempfile.TemporaryDirectory() as folder:
            user = Person(
                display or self._display,
                text,
                Path(folder),
                env=self._env,
                own_root=True,
                watch_threads=False,
            )
            yield user
            user.close()

    @property
    def database(self) -> Path:
        """The database."""
        return self._folder / "data" / "soulsense.db"

    @property
    def backups(self) -> Path:
        """The backup directory."""
        return self._folder / "data" / "backups"

    def take(self, user: Person, name: str, *, colours: int = 96, window: str = "") -> None:
        """Write the picture of all windows that are open, or of what one ``window`` covers."""
        display = user.display
        display.xdotool("mousemove", display.width - 1, display.height - 1)
        within = user.window(window).path if window else ""
        seen = [one for one in user.look().widgets if within in {"", one.window}]
        left, top = min(one.x for one in seen), min(one.y for one in seen)
        width = max(one.x + one.width for one in seen) - left
        height = max(one.y + one.height for one in seen) - top
        whole = user.screenshot(self._place / "screen.png")
        target = self._images / f"{name}.png"
        command = ["convert", str(whole), "-crop", f"{width}x{height}+{left}+{top}", "+repage"]
        command += ["+dither", "-colors", str(colours), "-strip"]
        command += ["-define", "png:compression-level=9", f"PNG8:{target}"]
        subprocess.run(command, check=True)
        print(f"{target}: {width}x{height}, {target.stat().st_size:,} bytes")  # noqa: T201


def _open(user: Person) -> None:
    user.window("Backups of")
    user.wait_until(lambda: not user.sees("Loading the backups…"), "the list")


def _select(user: Person, text: str) -> None:
    user.click(row(user, text))
    user.waits_for("journal_entries")


def take_empty(studio: Studio) -> None:
    """Take the window before the first backup."""
    with studio.person(empty=True) as user:
        _open(user)
        user.waits_for("No backups yet.")
        studio.take(user, "window-empty")


def take_list_and_creating(studio: Studio) -> None:
    """Take the list with the facts of a backup, and a copy under way."""
    with studio.person() as user:
        _open(user)
        _select(user, "Entries of spring")
        studio.take(user, "window-list")
        user.press("ctrl+n")
        user.type("Before the long holiday")
        user.click(CREATE)
        user.waits_for("Copying the database… ")
        studio.take(user, "window-creating")
        user.click("Cancel")
        user.waits_for("Cancelled.")


def take_restore(studio: Studio) -> None:
    """Take the example's settings page, the question what to restore, and what is told then."""
    with studio.person(_EXAMPLE_APP) as user:
        user.press("alt+s")
        studio.take(user, "settings-page")
        user.click(MANAGE)
        _open(user)
        _select(user, "Entries of spring")
        user.click(RESTORE)
        user.waits_for("What will change")
        agreed = user.find(RESTORE_YES, within="Replace soulsense.db")
        user.wait_until(
            lambda: user.find(RESTORE_YES, within="Replace soulsense.db").enabled, "the button"
        )
        studio.take(user, "window-restore")
        user.click(agreed)
        user.waits_for("Restored soulsense.db")
        user.wait_until(lambda: not user.sees("Counting…"), "the rows")
        studio.take(user, "window-restored")


def take_rows(studio: Studio) -> None:
    """Take the rows that are missing of a person who was deleted, and the question about one."""
    with studio.person() as user:
        _open(user)
        execute(
            studio.database,
            *(
                f"DELETE FROM {table} WHERE {column} = 47"
                for table, column in (
                    ("journal_entries", "user_id"),
                    ("exam_scores", "user_id"),
                    ("settings", "user_id"),
                    ("users", "id"),
                )
            ),
        )
        _select(user, "Entries of spring")
        user.click(ROWS)
        user.window("Bring back rows")
        user.waits_for("exam_scores")
        user.click_row("journal_entries", within="Bring back rows")
        user.click_row("Called my sister", within="Bring back rows")
        user.waits_for("1 row ticked")
        studio.take(user, "window-rows", window="Bring back rows")
        user.click("Bring back…")
        user.waits_for("cannot come back without")
        studio.take(user, "window-rows-question", window="Bring back rows")


def take_mirror(studio: Studio) -> None:
    """Take the list with backups that are only at a mirror."""
    with studio.person(_MIRRORED) as user:
        _open(user)
        user.click(row(user, "Before 0004"))
        user.waits_for("Only at")
        studio.take(user, "window-mirror")


def take_delete(studio: Studio) -> None:
    """Take the question before a backup goes."""
    with studio.person() as user:
        _open(user)
        _select(user, "imported")
        user.click("Delete…")
        user.wait_until(lambda: user.find("Delete", within=DELETE_TITLE).enabled, "the button")
        studio.take(user, "window-delete")


def take_error(studio: Studio) -> None:
    """Take what is told of a backup that the disk has damaged, without and with details."""
    with studio.person() as user:
        _open(user)
        (damaged,) = studio.backups.glob("*_Entries_of_spring*.db")
        content = bytearray(damaged.read_bytes())
        content[20_000:20_016] = bytes(16)
        damaged.write_bytes(content)
        _select(user, "Entries of spring")
        user.click(RESTORE)
        user.waits_for("That did not work")
        user.wait_until(lambda: not user.sees("Counting…"), "the rows")
        studio.take(user, "window-error")
        user.click("Details")
        studio.take(user, "window-error-details")


def take_dark(studio: Studio) -> None:
    """Take the window in the dark."""
    with studio.person(dark=True) as user:
        _open(user)
        _select(user, "Entries of spring")
        studio.take(user, "window-dark")


def take_200(studio: Studio) -> None:
    """Take the window on a screen with twice as many dots per inch."""
    display = Display(width=2 * _WIDTH, height=2 * _HEIGHT, dpi=192)
    try:
        with studio.person(display=display) as user:
            _open(user)
            _select(user, "Entries of spring")
            studio.take(user, "window-200", colours=64)
    finally:
        display.close()


SCENES = (
    take_empty,
    take_list_and_creating,
    take_restore,
    take_rows,
    take_mirror,
    take_delete,
    take_error,
    take_dark,
    take_200,
)


def main(folder: Path) -> None:
    """Make all pictures in ``folder``."""
    if why := missing():
        sys.exit(why)
    if shutil.which("convert") is None:
        sys.exit("ImageMagick is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.gettempdir(), "soulsense")
    place.mkdir()  # another run has it, or did not end well: then it must be removed first
    display = Display(width=_WIDTH, height=_HEIGHT)
    try:
        studio = Studio(place, folder, display)
        for take in SCENES:
            take(studio)
    finally:
        display.close()
        shutil.rmtree(place)


if __name__ == "__main__":
    main(Path(*sys.argv[1:]) if sys.argv[1:] else IMAGES)
