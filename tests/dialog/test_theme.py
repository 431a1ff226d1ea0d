"""How the window looks: themes, scaling, languages; and what it is made of."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from helpers import add_child

import soulsense_db
from dialog.conftest import MakePerson
from dialog.display import Display
from dialog.host import RESTORE, RESTORE_TITLE, host, open_window, row, table
from dialog.person import Person
from dialog.seen import Widget
from soulsense_db import BackupManager

pytest.importorskip("tkinter", reason="the window needs tkinter")
from messages import TEMPLATE, template

THEMES = ("default", "clam", "alt", "classic", "light", "dark")
CONTRAST = 4.5  # WCAG 2.1, AA


def themed(theme: str) -> str:
    """Return the part of a setup that chooses a theme."""
    if theme in {"light", "dark"}:
        return (
            "from soulsense_db.dialog.standalone import use_colors\n"
            f"use_colors(root, dark={theme == 'dark'})"
        )
    return f"from tkinter import ttk\nttk.Style(root).theme_use({theme!r})"


def states(user: Person, database: Path) -> None:
    """Open the window, select a backup, and ask for a restore."""
    open_window(user)
    user.click(row(user, "A description"))
    user.waits_for("child\t300\t301")
    user.click(RESTORE)
    user.window(RESTORE_TITLE)
    user.waits_for("1 entry is newer")


def cut_off(user: Person) -> list[str]:
    """Return the texts that have less room than they need."""
    return [
        str(one)
        for one in user.look().widgets
        if one.text
        and one.kind in {"TLabel", "Label", "TButton"}
        and (one.width < one.wanted_width or one.height < one.wanted_height)
    ]


@pytest.mark.parametrize("theme", THEMES)
def test_nothing_is_cut_off_in_any_theme(person: MakePerson, database: Path, theme: str) -> None:
    """Labels and buttons have the room that they need, rows of the list the height of a line."""
    BackupManager.from_url(str(database)).create("A description")
    add_child(database)
    user = person(host(database, more=themed(theme)))
    states(user, database)
    assert cut_off(user) == []
    assert line_height(user) <= table(user).rows[0].height


def test_rows_are_as_high_as_the_font_of_the_list(person: MakePerson, database: Path) -> None:
    """A theme whose lists have a font of their own has rows for it."""
    BackupManager.from_url(str(database)).create("A description")
    large = "from tkinter import ttk\nttk.Style(root).configure('Treeview', font=('Noto Sans', 30))"
    user = person(host(database, more=large))
    open_window(user)
    row(user, "A description")
    line = user.run(
        "answer = int(root.tk.call('font', 'metrics', ('Noto Sans', 30), '-linespace'))"
    )
    assert table(user).rows[0].height >= line


def line_height(user: Person) -> int:
    """Return the height of a line of text in pixels."""
    return int(
        user.run("answer = int(root.tk.call('font', 'metrics', 'TkDefaultFont', '-linespace'))")
    )


def test_at_200_percent_everything_is_twice_as_large(
    person: MakePerson, database: Path, display: Display, display_192: Display
) -> None:
    """On a screen of twice as many dots per inch, rows, columns and distances grow with the font.

    Nothing is cut off, and the window is on the screen.
    """
    BackupManager.from_url(str(database)).create("A description")
    add_child(database)
    seen: list[tuple[Widget, int]] = []
    for screen in (display, display_192):
        user = person(host(database), screen=screen)
        states(user, database)
        assert cut_off(user) == []
        window = next(one for one in user.look().widgets if one.kind == "Toplevel")
        assert window.x >= 0 <= window.y
        assert window.x + window.width <= screen.width
        assert window.y + window.height <= screen.height
        seen.append((table(user), line_height(user)))
    (small, line), (large, large_line) = seen
    assert large_line / line == pytest.approx(2, abs=0.25)
    assert large.rows[0].height / small.rows[0].height == pytest.approx(large_line / line, rel=0.1)
    assert large.headings[0].width / small.headings[0].width == pytest.approx(2, abs=0.3)


def test_a_small_screen_still_has_all_buttons(person: MakePerson, database: Path) -> None:
    """Where there is room for little, the list gets less, and the buttons stay to be seen."""
    BackupManager.from_url(str(database)).create("A description")
    user = person(host(database))
    open_window(user)
    user.resize_window("Backups of", 900, 420)
    user.wait_until(lambda: user.window("Backups of").managed, "the window")
    user.click(row(user, "A description"))
    user.click("Verify")
    user.waits_for("is intact. It passed all checks.")
    for text in (RESTORE, "Undo last restore…", "Close", "Create Backup"):
        assert user.find(text, kind="button").uncovered, text


COLORS = """
def luminance(color):
    parts = [part / 65535 for part in root.winfo_rgb(color)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)

look = open_backup_dialog(root, manager).look
answer = [
    contrast(front, back)
    for front, back in (
        (look.foreground, look.background),
        (look.note, look.background),
        (look.bad, look.background),
        (look.bad, look.field),
        (look.field_foreground, look.field),
    )
]
"""


@pytest.mark.parametrize("theme", THEMES)
def test_texts_can_be_read_on_their_ground(person: MakePerson, database: Path, theme: str) -> None:
    """Every colour of ours has the contrast that the WCAG ask for, in light and dark themes."""
    user = person(host(database, more=themed(theme)))
    assert min(user.run(COLORS)) >= CONTRAST


SIGNS = """
look = open_backup_dialog(root, manager).look
answer = [
    [look.sign(one, "plain") for one in "aW–…"],
    [look.sign(one, "plain") for one in (chr(0x10FFFD), chr(0xE83A))],
    [
        (room, look.width(cut), cut)
        for room in (300, 120, 40)
        for cut in [look.fitted("A text with some words", room)]
    ],
]
"""


def test_what_no_font_has_is_shown_in_another_way(person: MakePerson, database: Path) -> None:
    """A sign that would be an empty box is replaced; a text that is cut has room for its "…"."""
    have, lack, texts = person(host(database)).run(SIGNS)
    assert "".join(have) == "aW–…"
    assert lack == ["plain", "plain"]
    whole, *cut = texts
    assert whole[2] == "A text with some words"
    for room, width, text in cut:
        assert width <= room
        assert whole[2].startswith(text.removesuffix("…"))
        assert text.endswith("…")


def test_a_change_of_theme_is_followed(person: MakePerson, database: Path) -> None:
    """When the application turns dark while the window is open, the window does too."""
    user = person(host(database, more=themed("light")))
    open_window(user)
    background = (
        "window = next(w for w in root.winfo_children() if w.winfo_class() == 'Toplevel')\n"
        "answer = [str(window.look.background), str(window['background']),"
        " sum(root.winfo_rgb(window.look.background)) < 90_000,"
        " str(window._details.text['background'])]"
    )
    before = user.run(background)
    user.run(themed("dark"))
    user.wait_until(lambda: user.run(background)[2], "the window to be dark")
    after = user.run(background)
    assert after[0] == after[1] == after[3] != before[0]


def test_the_window_speaks_other_languages(
    person: MakePerson, database: Path, tmp_path: Path
) -> None:
    """Every text comes from gettext: with a translation nothing is left in English.

    The one of this test turns each text around.
    """
    with TEMPLATE.open("rb") as stream:
        translated: Catalog = read_po(stream, locale="de")
    for message in translated:
        if message.id and isinstance(message.id, tuple):
            message.string = tuple(f"«{one}»" for one in message.id)
        elif message.id:
            message.string = f"«{message.id}»"
    path = tmp_path / "de.mo"
    with path.open("wb") as stream:
        write_mo(stream, translated)
    BackupManager.from_url(str(database)).create("A description")
    add_child(database)
    language = f"""
import gettext
from soulsense_db.dialog import use_translation
with open({str(path)!r}, "rb") as stream:
    use_translation(gettext.GNUTranslations(stream))
"""
    user = person(host(database, more=language))
    user.click("«Manage Backups»")
    user.waits_for("«Backups of app.db»")
    user.click_row("A description")
    user.waits_for("«Entries»")
    user.click("«Restore…»")
    user.waits_for("«1 entry is newer than this backup and will be removed.»")
    # What is not of ours: data, file names, and the bar of the host.
    own = [
        one.text
        for one in user.look().widgets
        if one.kind in {"TButton", "TLabel", "Label"} and one.text
    ]
    assert own
    data = "A description", "A_description.db"
    assert [one for one in own if "«" not in one and not any(map(one.count, data))] == []


def test_the_template_for_translators_has_every_text() -> None:
    """The .pot file is what ``tests/messages.py`` makes of the texts: nobody forgot to run it."""
    assert TEMPLATE.read_bytes() == template()


def test_the_texts_are_in_one_place() -> None:
    """No other module of the window has a text of its own to show."""
    package = Path(soulsense_db.__file__).parent / "dialog"
    shown = {"text", "title", "label", "message", "hint"}
    found = []
    for path in package.glob("*.py"):
        if path.name == "standalone.py":  # its error is one of the command line
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg in shown:
                value = node.value
                if isinstance(value, ast.Constant) and str(value.value).strip():
                    found.append(f"{path.name}:{value.lineno}: {value.value!r}")
    assert found == []


def test_nothing_that_calls_tk_when_it_is_collected() -> None:
    """No Tk variable, image or named font is made: Python may collect them in any thread."""
    package = Path(soulsense_db.__file__).parent / "dialog"
    forbidden = {"StringVar", "IntVar", "BooleanVar", "DoubleVar", "Variable", "PhotoImage", "Font"}
    used = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for path in package.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute | ast.Name)
    }
    assert used & forbidden == set()
