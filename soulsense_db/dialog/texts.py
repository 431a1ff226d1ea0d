"""Every text of the window, and its translation by gettext.

The texts are marked here with ``N_`` (``NN_`` for one that counts) and translated where they are
shown, with :func:`_` and :func:`plural`. ``locale/soulsense_db.pot`` is made of this file
(``python3 tests/messages.py``); a translation is
``locale/<language>/LC_MESSAGES/soulsense_db.mo`` or what the application gives to
:func:`use_translation`. Names in braces are filled in and stay as they are.
"""

from __future__ import annotations

import gettext
from pathlib import Path

from soulsense_db.errors import Action, Outcome
from soulsense_db.operations import Doubt

DOMAIN = "soulsense_db"
LOCALE = Path(__file__).parent / "locale"

Plural = tuple[str, str]


def N_(text: str) -> str:  # noqa: N802 - gettext's own name for it
    """Mark ``text`` for translation."""
    return text


def NN_(one: str, many: str) -> Plural:  # noqa: N802 - gettext's own name for it
    """Mark a text that counts ``{count}`` things."""
    return one, many


_translation: gettext.NullTranslations | None = None


def use_translation(translation: gettext.NullTranslations | None) -> None:
    """Show the window's texts in another language.

    Args:
        translation: The texts; None goes back to the language of the environment.

    Example:
        >>> import gettext
        >>> use_translation(gettext.translation("soulsense_db", "locale", fallback=True))
        >>> use_translation(None)
    """
    global _translation  # noqa: PLW0603 - one language for all windows, as gettext has it
    _translation = translation


def _current() -> gettext.NullTranslations:
    global _translation  # noqa: PLW0603 - see use_translation
    if _translation is None:
        _translation = gettext.translation(DOMAIN, LOCALE, fallback=True)
    return _translation


def _(text: str) -> str:
    """Return ``text`` in the language of the user."""
    return _current().gettext(text)


def plural(texts: Plural, count: int) -> str:
    """Return the form for ``count``, with the number filled in."""
    return _current().ngettext(*texts, count).format(count=f"{count:,}")


# The window

TITLE = N_("Backups of {database}")
MANAGE = N_("💾 Manage Backups")
CLOSE = N_("Close")
CANCEL = N_("Cancel")
KEPT_IN = N_("Backups are kept in {directory}")

# Create

DESCRIPTION = N_("Description (optional)")
CREATE = N_("📦 Create Backup")
COUNTER = N_("{count}/{limit} in the file name")
COUNTER_OVER = N_("{count} characters, the first {limit} are in the file name")
CREATED = N_("Created {file} ({size}).")

# List

SEARCH = N_("Search")
WHEN = N_("When")
SIZE = N_("Size")
KIND = N_("Kind")
REVISION = N_("Revision")
VERIFIED = N_("Verified")
ABOUT = N_("Description")
READING = N_("Reading the backups…")
NO_BACKUPS = N_("There is no backup yet.\nCreate the first one above.")
NO_MATCH = N_("No backup matches your search.")
BACKUPS = NN_("{count} backup", "{count} backups")
OF_BACKUPS = N_("{shown} of {all}")
TOTAL = N_("{backups}, {size} in all")
KIND_NAMES = {
    "manual": N_("by hand"),
    "automatic": N_("automatic"),
    "pre_migration": N_("before migration"),
    "pre_restore": N_("before restore"),
    "imported": N_("imported"),
}
PINNED_NOTE = N_("📌 {description}")
# Why a backup is never meant unless somebody chooses it.
DOUBTS = {
    Doubt.ORIGIN: N_("of unknown origin"),
    Doubt.HALF_RUN: N_("half-run"),
    Doubt.FUTURE: N_("dated in the future"),
}
DOUBT_NOTE = N_("⚠ {doubts}")
DOUBT_AND_DESCRIPTION = N_("{doubts}: {description}")

TODAY = N_("today {time}")
YESTERDAY = N_("yesterday {time}")
ON_WEEKDAY = N_("{weekday} {time}")
FULL_DATE = N_("{weekday}, {date}")
WEEKDAYS = (
    N_("Monday"),
    N_("Tuesday"),
    N_("Wednesday"),
    N_("Thursday"),
    N_("Friday"),
    N_("Saturday"),
    N_("Sunday"),
)
NEVER = N_("–")
VERIFIED_AT = N_("✔ {when}")

# Details

NOTHING_SELECTED = N_("Select a backup to see what is in it.")
FACT_WHEN = N_("Taken")
FACT_PATH = N_("File")
FACT_CHECKSUM = N_("SHA-256")
FACT_NO_CHECKSUM = N_("none recorded")
FACT_REVISION_NOW = N_("{revision} (now: {now})")
FACT_NO_REVISION = N_("none")
FACT_NOT_VERIFIED = N_("no, or it failed since")
FACT_PINNED = N_("Pinned")
FACT_YES = N_("yes")
FACT_PROBLEM = N_("Problem")
FACT_DATABASE = N_("Database")
FACT_UNKNOWN_ORIGIN = N_("unknown: nothing says of which database this is a backup")
FACT_DOUBTS = N_("Note")
FACT_ROWS = N_("Rows per table")
ROWS_IN_BACKUP = N_("Backup")
ROWS_NOW = N_("Now")
ROWS_COUNTING = N_("Counting…")
ROWS_UNKNOWN = N_("They cannot be counted: {reason}")
ROWS_NONE = N_("There are no tables.")
ABSENT = N_("–")

# What can be done with a backup

RESTORE = N_("🔄 Restore…")
VERIFY = N_("Verify")
DELETE = N_("Delete…")
IMPORT = N_("Import file…")
EXPORT = N_("Export…")
OPEN_FOLDER = N_("Open folder")
UNDO_RESTORE = N_("Undo last restore…")
PIN = N_("Pin")
UNPIN = N_("Unpin")

VERIFIED_NOW = N_("{file} is whole: every check passed.")
VERIFIED_REMARKS = NN_(
    "The backup is what it was when it was taken. {count} remark on its data:",
    "The backup is what it was when it was taken. {count} remarks on its data:",
)
MORE_REMARKS = NN_("… and {count} more.", "… and {count} more.")
DELETED = N_("Deleted {file}.")
IMPORTED = N_("Imported as {file} ({size}).")
EXPORTED = N_("Exported to {path}.")
PINNED_NOW = N_("{file} stays until it is unpinned.")
UNPINNED_NOW = N_("{file} may be deleted again.")
DATABASE_FILES = N_("Databases and backups")
ALL_FILES = N_("All files")

# Work under way

CREATING = N_("Copying the database…")
CHECKING_COPY = N_("Checking the copy…")
VERIFYING = N_("Reading the backup…")
CHECKING = N_("Checking the backup…")
COMPARING = N_("Comparing it with the database…")
KEEPING = N_("Checking the backup and keeping the current database…")
RESTORING = N_("Restoring…")
DELETING = N_("Deleting…")
IMPORTING = N_("Copying the file…")
EXPORTING = N_("Reading and copying the backup…")
PINNING = N_("Writing…")
AMOUNT = N_("{label} {done} of {total}")
STOPPING = N_("Stopping…")
CANCELLED = {
    "create": N_("Cancelled. No backup was made."),
    "verify": N_("Cancelled. The backup was not changed."),
    "restore": N_("Cancelled. The database is what it was."),
    "import": N_("Cancelled. Nothing was imported."),
    "export": N_("Cancelled. Nothing was exported."),
}

# Questions

DELETE_QUESTION = N_("Delete this backup?")
DELETE_MEANING = N_("It cannot be brought back. The database itself stays as it is.")
DELETE_YES = N_("Delete")
RESTORE_QUESTION = N_("Replace {database} by this backup?")
UNDO_QUESTION = N_("Go back to the database from before the last restore?")
UNDO_CHANGED = N_("The last restore is another one by now.")
UNDO_CHANGED_HINT = N_("Look at what undoing it would change, and decide anew.")
NO_UNDO = N_("There is nothing to undo any more.")
RESTORE_YES = N_("🔄 Restore")
UNDO_YES = N_("Go back")
SAFETY = N_("The current database is kept first, as a safety backup: you can undo this.")
NO_SAFETY_MISSING = N_("There is no database now: nothing is replaced, and there is no undo.")
NO_SAFETY_DAMAGED = N_(
    "The database cannot be read: its files are moved aside and kept. There is no undo."
)
UNKNOWN_ORIGIN = N_(
    "This backup is of unknown origin: nothing says that it is one of this database. Its tables, "
    "in rows:"
)
CHANGES = N_("What it changes, in rows")
TABLE = N_("Table")
GAINED = N_("Come back")
LOST = N_("Go away")
NEWER = N_("Of these newer")
CHANGED = N_("Change back")
OTHER_COLUMNS = N_("other columns")
NEWER_ENTRIES = NN_(
    "{count} entry is newer than this backup and goes away.",
    "{count} entries are newer than this backup and go away.",
)
NEWER_AT_LEAST = NN_(
    "At least {count} entry is newer than this backup and goes away.",
    "At least {count} entries are newer than this backup and go away.",
)
LOST_UNKNOWN = NN_(
    "{count} row goes away; whether it is newer than this backup cannot be told.",
    "{count} rows go away; whether they are newer than this backup cannot be told.",
)
ONLY_COUNTED = N_("Where columns differ, rows are only counted: all of them may change.")
NO_NEWER_ENTRIES = N_("No entry that goes away is newer than this backup.")
NO_LOSS = N_("No row goes away.")
IDENTICAL = N_("The database has the same rows: nothing would change.")
SAME_ROWS = N_("The rows are the same; tables or indexes differ.")
NOT_COMPARED = N_("What would change cannot be shown: {reason}")
REVISION_CHANGES = N_(
    "The backup is at Alembic revision {revision}, the database at {now}: restart the application "
    "afterwards."
)
CLOSE_QUESTION = {
    "create": N_("A backup is being made. Stop it and close?"),
    "verify": N_("A backup is being verified. Stop that and close?"),
    "restore": N_("The database is being restored. Stop that and close?"),
    "import": N_("A file is being imported. Stop that and close?"),
    "export": N_("A backup is being exported. Stop that and close?"),
}
CLOSE_MEANING = N_(
    "Nothing half done stays behind. If it is done before it can be stopped, you are told."
)
CLOSE_YES = N_("Stop and close")
CLOSE_NO = N_("Go on")

# After a restore

RESTORED = N_("Restored {database} as of {when}.")
UNDO = N_("Undo")
RESTART_NONE = N_("The application need not be restarted.")
RESTART = N_("Restart the application before you go on.")
RESTART_NEW_FILE = N_(
    "The database file is a new one: restart every application that had the old one open."
)
NOT_READ_BACK = N_("It could not be read back: look at your data before you go on.")
HOST_NOT_READY = N_("The application could not close the database.")
HOST_NOT_RELOADED = N_("The application could not load its data again.")
WAS_RESTORED = N_("The database was restored.")
HOST_NOT_RELOADED_HINT = N_("Restart the application.")

# Errors

ERROR = N_("That did not work")
WHAT_TO_DO = N_("What to do")
SHOW_DETAILS = N_("Details")
OK = N_("OK")
UNEXPECTED = N_("Something happened that should not: {error}.")
UNEXPECTED_MEANING = N_("Nothing is known to be lost.")
UNEXPECTED_HINT = N_("Please report it, with the details.")
IN_MEMORY = N_("The database is in memory: it ends with the application.")
IN_MEMORY_HINT = N_("Use a database in a file.")
NO_FOLDER = N_("There is no folder {path} yet.")
NO_FOLDER_HINT = N_("Create the first backup: it makes the folder.")
NOT_OPENED = N_("No program of this computer opened the folder {path} ({reason}).")
NOT_OPENED_HINT = N_("Open it in your file manager.")
# What a failed operation did to the data.
OUTCOMES = {
    Outcome.UNCHANGED: N_("Nothing was changed."),
    Outcome.DONE: N_("The operation was completed."),
    Outcome.PARTLY: N_("It was only partly completed."),
    Outcome.PUT_BACK: N_("The previous database was put back."),
    Outcome.UNSURE: N_("It is not certain whether the change was saved."),
    Outcome.HALF_RUN: N_("The database may be half migrated."),
    Outcome.BROKEN: N_("The live database is not usable."),
}
WAY_BACK = N_("The previous database is in {backup}.")
# What to do, where an error knows a command for it.
ACTIONS = {
    Action.RESTORE: N_("Restore the backup {backup}."),
    Action.UNDO: N_("Press “Undo last restore…”."),
    Action.ACCEPT: N_("To keep the database as it is, run: {command}"),
    Action.ADOPT: N_("If you know that it is one of this database, run: {command}"),
    Action.LIST: N_("Look for it in the list of backups."),
}
