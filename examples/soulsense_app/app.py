"""A journal with a settings page, and on that the button "Manage Backups".

    python3 examples/soulsense_app/app.py [FOLDER]

It keeps its database in FOLDER, or in a temporary one, and fills a new one with made-up people.
"""

from __future__ import annotations

import sys
import tempfile
import tkinter as tk
from datetime import datetime
from pathlib import Path
from tkinter import ttk

import sample_data
import sqlalchemy as sa
from app_copy import AppCopy
from models import JournalEntry, Setting, User
from sqlalchemy.orm import Session

from soulsense_db import RestoreReport
from soulsense_db.dialog import manage_backups_button

FIRST = "0002_settings"
ME = 17
COLUMNS = (("when", "When", 130), ("mood", "Mood", 80), ("energy", "Energy", 60))


class Journal(ttk.Frame):
    """The page with the entries; they belong to one session, which is open as long as the page."""

    def __init__(self, parent: tk.Misc, app: AppCopy) -> None:
        super().__init__(parent, padding=12)
        self._app = app
        self._session = Session(app.engine)
        self._heading = ttk.Label(self, font=("TkDefaultFont", 13, "bold"))
        self._heading.pack(anchor="w")
        columns = [name for name, *_ in COLUMNS]
        self._list = ttk.Treeview(self, columns=[*columns, "text"], show="headings", height=12)
        for name, title, width in (*COLUMNS, ("text", "Entry", 360)):
            self._list.heading(name, text=title, anchor="w")
            self._list.column(name, width=width, stretch=name == "text")
        row = ttk.Frame(self)
        self._text = ttk.Entry(row)
        self._text.bind("<Return>", lambda _: self.write())
        self._text.pack(side="left", fill="x", expand=True)
        ttk.Button(row, text="Write", command=self.write).pack(side="left", padx=(8, 0))
        row.pack(side="bottom", fill="x")
        self._list.pack(fill="both", expand=True, pady=12)
        self.load()
        self._text.focus_set()

    def load(self) -> None:
        """Read the entries, and show them from the newest to the oldest."""
        newest = JournalEntry.written_at.desc(), JournalEntry.id.desc()
        found = sa.select(JournalEntry).where(JournalEntry.user_id == ME).order_by(*newest)
        entries = self._session.scalars(found).all()
        name = self._session.get_one(User, ME).name
        self._heading.configure(text=f"{name}'s journal: {len(entries):,} entries")
        self._list.delete(*self._list.get_children())
        for entry in entries:
            when = f"{entry.written_at:%Y-%m-%d %H:%M}"
            self._list.insert("", "end", values=(when, entry.mood, entry.energy, entry.content))

    def write(self) -> None:
        """Add what was typed."""
        if text := self._text.get().strip():
            entry = {"content": text, "written_at": datetime.now(), "mood": "calm", "energy": 7}
            self._session.add(JournalEntry(user_id=ME, **entry))
            self._session.commit()
            self._text.delete(0, "end")
            self.load()

    def let_go(self) -> None:
        """Before a restore: end the transaction, and forget what was read in it."""
        self._session.close()

    def reload(self, report: RestoreReport | None) -> None:
        """After a restore: what an older version wrote becomes what this one reads."""
        if report is not None:
            self._app.upgrade()
        self.load()


class Settings(ttk.Frame):
    """The page with what the user has chosen, and with the backups."""

    def __init__(self, parent: tk.Misc, app: AppCopy, journal: Journal) -> None:
        super().__init__(parent, padding=12)
        chosen = ttk.LabelFrame(self, text="Preferences", padding=12)
        with Session(app.engine) as session:
            found = session.scalars(sa.select(Setting).where(Setting.user_id == ME)).all()
            values = [(setting.name.capitalize(), setting.value) for setting in found]
        for number, (name, value) in enumerate(values):
            ttk.Label(chosen, text=name).grid(row=number, column=0, sticky="w", pady=3)
            ttk.Label(chosen, text=value).grid(row=number, column=1, sticky="w", padx=24)
        data = ttk.LabelFrame(self, text="Your data", padding=12)
        ttk.Label(data, text=f"Your journal is stored in {app.database}").pack(anchor="w")
        manage_backups_button(
            data, app.manager, before_restore=journal.let_go, after_restore=journal.reload
        ).pack(anchor="w", pady=(12, 0))
        chosen.pack(fill="x")
        data.pack(fill="x", pady=12)


def run(folder: Path) -> None:
    """Show the application until its window is closed."""
    is_new = not (folder / "data").exists()
    app = AppCopy(folder)
    if is_new:
        app.upgrade(FIRST)
        sample_data.fill(app.engine)
    app.upgrade()
    root = tk.Tk()
    root.title("SoulSense")
    if root.tk.call("tk", "windowingsystem") == "x11":  # elsewhere Tk has the system's theme
        ttk.Style(root).theme_use("clam")
    pages = ttk.Notebook(root)
    journal = Journal(pages, app)
    pages.add(journal, text="Journal", underline=0)
    pages.add(Settings(pages, app, journal), text="Settings", underline=0)
    pages.enable_traversal()  # Alt+J and Alt+S
    pages.pack(fill="both", expand=True)
    root.mainloop()
    journal.let_go()
    app.close()


def main(arguments: list[str]) -> None:
    """Run in the folder that is named, or in a temporary one."""
    if arguments:
        run(Path(arguments[0]).resolve())
        return
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
