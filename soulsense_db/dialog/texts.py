"""Every text of the window.

``locale/soulsense_db.pot`` is generated from this file (``python3 tests/messages.py``). Names in
braces are filled in and stay as they are.
"""

from __future__ import annotations

from soulsense_db.dialog.translation import N_, NN_
from soulsense_db.errors import Action, Outcome
from soulsense_db.operations import Doubt

# The window

TITLE = N_("Backups of {database}")
MANAGE = N_("Manage Backups")
CLOSE = N_("Close")
CANCEL = N_("Cancel")
FOLDER = N_("Backup folder: {directory}")

# Create

DESCRIPTION = N_("Description (optional)")
CREATE = N_("Create Backup")
COUNTER = N_("File name: {count} of {limit} characters")
COUNTER_OVER = N_("File name: the first {limit} of {count} characters")
CREATED = N_("Created {file} ({size}).")

# List

SEARCH = N_("Search")
WHEN = N_("When")
SIZE = N_("Size")
KIND = N_("Kind")
VERSION = N_("Version")
VERIFIED = N_("Verified")
DRILLED = N_("Drilled")
DRILL_FAILED = N_("failed {when}")
FORM = N_("Stored as")
PLACE = N_("Place")
ABOUT = N_("Description")
READING = N_("Loading the backups…")
NO_BACKUPS = N_("No backups yet.\nCreate the first one above.")
NO_MATCH = N_("No backup matches your search.")
BACKUPS = NN_("{count} backup", "{count} backups")
OF_BACKUPS = N_("{shown} of {all}")
TOTAL = N_("{backups}, {size} in total")
KIND_NAMES = {
    "manual": N_("manual"),
    "automatic": N_("automatic"),
    "pre_migration": N_("before an upgrade"),
    "pre_restore": N_("before a restore"),
    "imported": N_("imported"),
}
MARKED = N_("{marks}: {description}")
PINNED = N_("pinned")
# Why the program never chooses a backup by itself.
DOUBTS = {
    Doubt.ORIGIN: N_("unknown origin"),
    Doubt.HALF_RUN: N_("interrupted upgrade"),
    Doubt.FUTURE: N_("dated in the future"),
}

# Where a backup is, in the column for that.
PLACE_HERE = N_("here")
PLACE_BOTH = N_("here, mirror")
PLACE_MIRROR = N_("mirror only")

# What was done to a backup when it was stored.
ENCRYPTED = N_("encrypted")
DIFFERENTIAL = N_("differential")
COMPRESSED = N_("compressed")
# In the place of a description that is encrypted.
SEALED = N_("(encrypted)")

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

# Details

NOTHING_SELECTED = N_("Select a backup to see its details.")
FACT_WHEN = N_("Created")
FACT_PATH = N_("File")
FACT_CHECKSUM = N_("SHA-256")
FACT_NO_CHECKSUM = N_("not recorded")
FACT_VERSION_NOW = N_("{version} (now: {now})")
FACT_NO_VERSION = N_("none")
FACT_COMPRESSED = N_("{size} (decompressed: {plain})")
FACT_RESTORED = N_("{size} (restored: {plain})")
FACT_BASE = N_("Base")
FACT_BASE_MISSING = N_("{file} is missing; this backup cannot be restored without it")
FACT_NEEDED = N_("Needed by")
NEEDED_BY = NN_("{count} differential backup", "{count} differential backups")
FACT_NOT_VERIFIED = N_("not yet, or the last check failed")
FACT_DRILL_PASSED = N_("{date}: it comes back")
FACT_DRILL_FAILED = N_("The drill failed on {date}. Drill it again to see why: {command}")
FACT_PINNED = N_("Pinned")
FACT_ALSO_AT = N_("Also at")
FACT_ONLY_AT = N_("Only at")
FACT_YES = N_("yes")
FACT_PROBLEM = N_("Problem")
FACT_DATABASE = N_("Database")
FACT_UNKNOWN_ORIGIN = N_("unknown; there is no record of which database this is a backup of")
FACT_DOUBTS = N_("Note")
FACT_ROWS = N_("Entries")
ROWS_IN_BACKUP = N_("Backup")
ROWS_NOW = N_("Now")
ROWS_COUNTING = N_("Counting…")
ROWS_UNKNOWN = N_("The entries cannot be counted: {reason}")
ROWS_NONE = N_("There are no tables.")
ROWS_NOT_HERE = N_("They are counted once the backup is downloaded.")
ABSENT = N_("–")

# What can be done with a backup

RESTORE = N_("Restore…")
ROWS = N_("Bring back rows…")
VERIFY = N_("Verify")
DELETE = N_("Delete…")
IMPORT = N_("Import file…")
EXPORT = N_("Export…")
OPEN_FOLDER = N_("Open folder")
UNDO_RESTORE = N_("Undo last restore…")
PIN = N_("Pin")
UNPIN = N_("Unpin")

VERIFIED_NOW = N_("{file} is intact. It passed all checks.")
VERIFIED_REMARKS = NN_(
    "The backup is intact. The check reported {count} inconsistency in its data:",
    "The backup is intact. The check reported {count} inconsistencies in its data:",
)
MORE_REMARKS = NN_("… and {count} more.", "… and {count} more.")
DELETED = N_("Deleted {file}.")
DELETED_TOO = NN_(
    "Deleted with it: {count} backup that needed it.",
    "Deleted with it: {count} backups that needed it.",
)
IMPORTED = N_("Imported as {file} ({size}).")
EXPORTED = N_("Exported to {path}.")
FETCHED = N_("Downloaded {file} ({size}).")
NOT_HERE = N_(
    "This backup is only at a mirror. You can pin or delete it once it is downloaded: restore, "
    "verify or export it."
)
NOT_FOR = N_("{action} ({reason})")
PINNED_NOW = N_("{file} is pinned. It cannot be deleted until you unpin it.")
UNPINNED_NOW = N_("{file} is unpinned. It can be deleted again.")
DATABASE_FILES = N_("Databases and backups")
ALL_FILES = N_("All files")

# Work under way

CREATING = N_("Copying the database…")
CHECKING_COPY = N_("Checking the copy…")
VERIFYING = N_("Reading the backup…")
CHECKING = N_("Checking the backup…")
COMPARING = N_("Comparing the backup with the database…")
SAVING = N_("Checking the backup and saving the current database…")
RESTORING = N_("Restoring…")
DELETING = N_("Deleting…")
IMPORTING = N_("Importing the file…")
EXPORTING = N_("Exporting the backup…")
FETCHING = N_("Downloading the backup…")
PINNING = N_("Saving…")
AMOUNT = N_("{label} {done} of {total}")
STOPPING = N_("Stopping…")
CANCELLED = {
    "create": N_("Cancelled. No backup was created."),
    "verify": N_("Cancelled. The backup was not changed."),
    "restore": N_("Cancelled. The database was not changed."),
    "rows": N_("Cancelled. The database was not changed."),
    "import": N_("Cancelled. Nothing was imported."),
    "export": N_("Cancelled. Nothing was exported."),
    "fetch": N_("Cancelled. Nothing was downloaded."),
}

# Questions

DELETE_QUESTION = N_("Delete this backup?")
DELETE_MEANING = N_("You cannot undo this. The database itself does not change.")
DELETE_STAYS = N_(
    "It is deleted in the backup folder. It stays at the mirror for as long as the rules for the "
    "mirror keep it:"
)
DELETE_YES = N_("Delete")
DELETE_NEEDED = NN_(
    "{count} other backup needs it and cannot be restored without it. Delete both?",
    "{count} other backups need it and cannot be restored without it. Delete all of them?",
)
DELETE_ALL_YES = NN_("Delete {count} backup", "Delete {count} backups")
DELETE_CHANGED = N_("Other backups need this one now than those that you were asked about.")
DELETE_CHANGED_HINT = N_("Press “Delete…” again.")
FETCH_QUESTION = N_("This backup is only at a mirror")
FETCH_MEANING = N_("It is downloaded into the backup folder first ({size}), from:")
FETCH_YES = N_("Download")
DECRYPT_QUESTION = N_("Export this backup without encryption?")
DECRYPT_MEANING = N_(
    "The name is that of a plain database file: whoever can read the file can read all that is in "
    "the database. A name that ends in .db{ending} keeps it encrypted."
)
DECRYPT_YES = N_("Export decrypted")
KEY_QUESTION = N_("This backup is encrypted")
KEY_MEANING = N_(
    "Enter its passphrase, or choose the file with its private key. Either is kept until this "
    "window is closed, and is stored nowhere."
)
PASSPHRASE = N_("Passphrase")
KEY_FILE = N_("Key file…")
KEY_FILE_CHOSEN = N_("Key file: {path}")
KEY_YES = N_("Open")
KEY_TRYING = N_("Trying it…")
KEY_WRONG = N_("That does not open the backup.")
# Where a passphrase comes from: "The passphrase of this window does not open it."
THIS_WINDOW = N_("this window")
RESTORE_QUESTION = N_("Replace {database} with this backup?")
UNDO_QUESTION = N_("Undo the last restore?")
UNDO_CHANGED = N_("There has been another restore in the meantime.")
UNDO_CHANGED_HINT = N_("Press “Undo last restore…” again to see what undoing it would change.")
NO_UNDO = N_("There is no longer a restore to undo.")
RESTORE_YES = N_("Restore")
UNDO_YES = N_("Undo restore")
SAFETY = N_("The current database is saved first as a safety backup, so you can undo this.")
NO_SAFETY_MISSING = N_(
    "There is no database at the moment. Nothing is replaced, and you cannot undo this."
)
NO_SAFETY_DAMAGED = N_(
    "The current database cannot be read. Its files are moved aside, not deleted. You cannot undo "
    "this."
)
UNKNOWN_ORIGIN = N_(
    "There is no record that this backup is of this database. Compare what it has with what you "
    "have now:"
)
CHANGES = N_("What will change")
TABLE = N_("Table")
GAINED = N_("Added")
LOST = N_("Removed")
NEWER = N_("New since backup")
CHANGED = N_("Changed")
OTHER_COLUMNS = N_("columns differ")
NEWER_ENTRIES = NN_(
    "{count} entry is newer than this backup and will be removed.",
    "{count} entries are newer than this backup and will be removed.",
)
NEWER_AT_LEAST = NN_(
    "At least {count} entry is newer than this backup and will be removed.",
    "At least {count} entries are newer than this backup and will be removed.",
)
LOST_UNKNOWN = NN_(
    "{count} entry will be removed. It may be newer than this backup.",
    "{count} entries will be removed. They may be newer than this backup.",
)
ONLY_COUNTED = N_("Where columns differ, entries were only counted. All of them may change.")
NO_NEWER_ENTRIES = N_("None of the entries that will be removed is newer than this backup.")
NO_LOSS = N_("No entry will be removed.")
IDENTICAL = N_("The database already has the same content. Nothing would change.")
SAME_ROWS = N_("The entries are the same. Only the structure of the database differs.")
NOT_COMPARED = N_("The changes cannot be shown: {reason}")
VERSION_CHANGES = N_(
    "Database version: {version} in the backup, {now} now. Restart the application after the "
    "restore."
)
CLOSE_QUESTION = {
    "create": N_("A backup is being created. Stop and close?"),
    "verify": N_("A backup is being verified. Stop and close?"),
    "restore": N_("The database is being restored. Stop and close?"),
    "rows": N_("Rows are being brought back. Stop and close?"),
    "import": N_("A file is being imported. Stop and close?"),
    "export": N_("A backup is being exported. Stop and close?"),
    "fetch": N_("A backup is being downloaded. Stop and close?"),
}
CLOSE_MEANING = N_(
    "Nothing unfinished is left behind. If it is too late to stop, you will see the result."
)
CLOSE_YES = N_("Stop and close")
CLOSE_NO = N_("Continue")

# Rows

ROWS_QUESTION = N_("Bring back rows of this backup")
ROWS_MEANING = N_(
    "Choose a table, then tick the rows that you want back. All else stays as it is now."
)
ROWS_MISSING = N_("Missing")
ROWS_DIFFERENT = N_("Different")
ROWS_NOW = N_("Now")
ROWS_IS_MISSING = N_("missing")
ROWS_IS_DIFFERENT = N_("different")
ROWS_COMPARING = N_("Looking for rows that are missing now…")
ROWS_LOOKING = N_("Searching the backup…")
ROWS_LOOKED = N_("Searching the backup… {percent} %")
ROWS_NOTHING = N_("Nothing is missing: the database has every row of this backup, just like that.")
ROWS_ONLY_DIFFERENT = N_("No row is missing now. Some are different.")
ROWS_UNKNOWN_ORIGIN = N_(
    "There is no record that this backup is of this database. Look at the rows with care."
)
ROWS_NONE_MISSING = N_("No row of this table is missing now.")
ROWS_NONE_DIFFER = N_("No row of this table is missing or different now.")
ROWS_NO_MATCH = N_("No such row matches your search.")
ROWS_TOO_MANY = N_(
    "This table has no key, and too many rows to compare them all. Search for words that are in "
    "the row."
)
ROWS_REFUSED = N_("{happened}\n{hint}")
ROWS_DIFFERING = N_("Also show rows that are different now")
ROWS_TICK_ALL = N_("Tick all")
ROWS_TICK_NONE = N_("Untick all")
ROWS_SHOWN = NN_("{count} row", "{count} rows")
ROWS_FIRST = NN_(
    "Only the first row is shown. Search to see others.",
    "Only the first {count} rows are shown. Search to see others.",
)
ROWS_TICKED = NN_("{count} row ticked", "{count} rows ticked")
ROWS_VALUE_NOW = N_("{value} (now: {now})")
ROWS_BYTES = NN_("({count} byte)", "({count} bytes)")
ROWS_YES = N_("Bring back…")
ROWS_AGREED = N_("Bring back")
ROWS_SURE = NN_(
    "Bring back {count} row of {table}?",
    "Bring back {count} rows of {table}?",
)
ROWS_PLANNING = N_("Looking at what would change…")
ROWS_INSERTED = N_("Come back")
ROWS_REPLACED = N_("Replaced")
ROWS_SAME = N_("Already there")
ROWS_KEPT = N_("Stay as they are")
ROWS_PARENTS = N_("These rows refer to others that are missing now, and cannot come back without:")
ROWS_PARENTS_GONE = N_("The backup does not have all of them. Look into an earlier backup.")
ROWS_WITH_PARENTS = N_("Also bring back what they refer to")
ROWS_CHILDREN = NN_(
    "{count} row that belongs to these is missing now too ({tables}).",
    "{count} rows that belong to these are missing now too ({tables}).",
)
ROWS_WITH_CHILDREN = N_("Also bring back what belongs to them")
ROWS_LISTED = N_("{table}: {key}")
ROWS_TRIGGERS = N_("The triggers of these tables are not run: {names}.")
ROWS_NO_WRITES = N_("There is nothing to bring back: these rows are in the database already.")
ROWS_RETURNING = N_("Checking the backup and bringing back the rows…")
ROWS_BACK = NN_(
    "{count} row of the backup of {when} is back.",
    "{count} rows of the backup of {when} are back.",
)
ROWS_OVERWRITTEN = NN_("{count} of them replaced another.", "{count} of them replaced others.")
ROWS_NOT_NEEDED = N_("Nothing was changed: these rows were in the database already.")
ROWS_RELOAD = N_("If the application does not show them, restart it.")

# After a restore

RESTORED = N_("Restored {database} as of {when}.")
UNDO = N_("Undo")
RESTART_NONE = N_("You do not need to restart the application.")
RESTART = N_("Restart the application before you continue.")
RESTART_NEW_FILE = N_(
    "The database is in a new file. Restart every application that had the old one open."
)
NOT_READ_BACK = N_("The result could not be checked. Look at your data before you continue.")
HOST_NOT_READY = N_("The application could not close the database.")
HOST_NOT_RELOADED = N_("The application could not reload its data.")
WAS_RESTORED = N_("The database was restored.")
HOST_NOT_RELOADED_HINT = N_("Restart the application.")

# Errors

ERROR = N_("That did not work")
WHAT_TO_DO = N_("What to do")
SHOW_DETAILS = N_("Details")
OK = N_("OK")
UNEXPECTED = N_("An unexpected error occurred: {error}.")
UNEXPECTED_MEANING = N_("No data is known to be lost.")
UNEXPECTED_HINT = N_("Please report this error together with its details.")
IN_MEMORY = N_("The database is in memory and ends with the application.")
IN_MEMORY_HINT = N_("Use a database in a file.")
NO_FOLDER = N_("The folder {path} does not exist yet.")
NO_FOLDER_HINT = N_("Create the first backup. This also creates the folder.")
NOT_OPENED = N_("The folder {path} could not be opened ({reason}).")
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
    Action.ADOPT: N_("If you are sure that it is a backup of this database, run: {command}"),
    Action.LIST: N_("Look for the backup in the list."),
}
