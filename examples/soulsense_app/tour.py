"""A tour of soulsense_db: a migration fails half-way on a full database, and nothing is lost.

    python3 examples/soulsense_app/tour.py [--url postgresql://... | mariadb://...]

It works in a temporary folder and removes it; with ``--url``, in an empty database of a server, and
leaves it empty. What it prints was read from the database a moment before, and checked: it ends
with exit code 1 and the reason when anything is not as it should be.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from datetime import datetime
from pathlib import Path

import sample_data
import sqlalchemy as sa
from alembic.util import CommandError
from app_copy import EXAMPLE, AppCopy
from models import JournalEntry, User
from server_copy import UnusableError, leave_empty, require_server
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from soulsense_db import BackupError, BackupInfo
from soulsense_db.drivers import engine_for
from soulsense_db.errors import MissingRightError

BROKEN = EXAMPLE / "broken_revision.py"
OLD, LATEST, FAILING = "0002_settings", "0004_entries_by_date", "0005_preferences"
TABLES = ("users", "journal_entries", "exam_scores", "settings")
WIDTH = 88


class TourError(Exception):
    """Something was not as the tour says."""


class Tour:
    """The steps, in their order; each checks what it prints, or what a command printed."""

    def __init__(self, folder: Path, engine: sa.Engine | None = None) -> None:
        self._folder = folder
        self._app = AppCopy(folder, engine)
        self._server = self._app.engine.dialect.name if engine is not None else ""
        self._failure = ""

    def run(self) -> None:
        """Run all steps."""
        if self._server:
            require_server(self._app.engine)
        try:
            self._fill()
            self._upgrade()
            self._fail_unprotected()
            self._fail_protected()
            self._go_on()
            self._list_and_verify()
            self._restore()
            self._undo()
        finally:
            if self._server:
                leave_empty(self._app.engine)
            self._app.close()

    def _fill(self) -> None:
        step("1. A journal app's database, two revisions behind", f"alembic upgrade {OLD}")
        self._app.upgrade(OLD)
        sample_data.fill(self._app.engine)
        counts = self._app.counts()
        check(sum(counts.values()) > 4000, "the database has thousands of rows")
        say(", ".join(f"{counts[name]:,} {name}" for name in TABLES))
        self._filled = self._say_state(OLD)

    def _upgrade(self) -> None:
        step("2. An upgrade that works", "alembic upgrade head")
        self._app.upgrade()
        self._before_upgrade = self._safety_backup(at=OLD, target=LATEST)
        say(f"Backed up first: {self._before_upgrade.filename}")
        with Session(self._app.engine) as session:
            entry = session.get_one(JournalEntry, 1)
            say(f"Then migrated: mood '{entry.mood}' and energy {entry.energy} are columns now.")
        self._app.check_models()
        self._upgraded = self._say_state(LATEST)
        check(self._upgraded != self._filled, "the upgrade changed rows")

    def _fail_unprotected(self) -> None:
        step("3. The next revision is broken: first on a copy, with plain Alembic")
        if self._server == "postgresql":
            say(
                "(PostgreSQL takes back what was one transaction. So here the revision makes an "
                "index CONCURRENTLY, as one does on a busy server: that commits half of it.)"
            )
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            try:
                with self._app.copied(Path(folder)) as copy:
                    check(copy.digest() == self._upgraded, "the copy has the same rows")
                    copy.remove_protection()
                    copy.add_revision(BROKEN, FAILING)
                    self._say_damage(copy)
            except MissingRightError as error:
                say(f"Left out: a copy needs a database of its own. {error}")

    def _say_damage(self, copy: AppCopy) -> None:
        before, columns = copy.counts(), copy.columns()
        self._failure = reason(failure_of(copy.upgrade))
        say(f"It dies of {self._failure}")
        after = copy.counts()
        check("settings" not in after, "without protection, settings is gone")
        for name in sorted(before.keys() - after.keys()):
            say(f"Gone: table {name} with its {before[name]:,} rows.")
        for name in sorted(after.keys() - before.keys()):
            say(f"Left behind: table {name} with {after[name]:,} rows.")
        for name in sorted(copy.columns() - columns):
            if name.partition(".")[0] in before:
                say(f"Left behind: column {name}.")
        say(f"alembic_version still says {copy.revision()}, but another try dies of")
        say(f"  {reason(failure_of(copy.upgrade))}")

    def _fail_protected(self) -> None:
        step("4. The same with safe_migrations(context) in env.py", "alembic upgrade head")
        self._app.add_revision(BROKEN, FAILING)
        before = self._app.digest()
        say(f"Digest before: {short(before)}")
        with redirect_stderr(io.StringIO()) as stderr:
            failure = reason(failure_of(self._app.upgrade))
        check(self._failure in {"", failure}, "the caller gets the error that it is without")
        say(f"It dies of {failure}")
        for line in stderr.getvalue().splitlines():
            say(line.replace(f"{self._folder}{os.sep}", ""))
        self._before_failure = self._safety_backup(at=LATEST, target=FAILING)
        check(self._before_failure.filename in stderr.getvalue(), "the message names the backup")
        digest = self._app.digest()
        check(digest == before, "the failed upgrade changed no row")
        say(f"Digest after:  {short(digest)}")

    def _go_on(self) -> None:
        step("5. The app goes on")
        with Session(self._app.engine) as session:
            user = session.get_one(User, 1)
            entry = JournalEntry(
                user=user,
                written_at=datetime(2026, 1, 15, 21, 30),
                content="The update did not work, but my journal is all here.",
                mood="calm",
                energy=7,
            )
            session.add(entry)
            session.commit()
            say(f"{user.name} writes journal entry {entry.id:,}.")
        self._written = self._say_state(LATEST)
        check(self._written != self._upgraded, "the new entry is in the digest")

    def _list_and_verify(self) -> None:
        step("6. The backups, newest first")
        listed = self._run("list")
        check(self._before_upgrade.id[:8] in listed, "the older backup is listed")
        check(self._before_failure.id[:8] in listed, "the newer backup is listed")
        verified = self._run("verify", self._before_upgrade.id)
        check("checksum matches" in verified, "a checksum was compared")
        check("Note:" not in verified, "every reference in the backup is good")

    def _restore(self) -> None:
        step("7. Restoring the older backup")
        restored = self._run("restore", self._before_upgrade.id, "--yes")
        check("Safety backup" in restored, "the previous database is kept")
        check(self._say_state(OLD) == self._filled, "the rows are those of step 1")

    def _undo(self) -> None:
        step("8. Undoing that")
        self._run("undo", "--yes")
        check(self._say_state(LATEST) == self._written, "the rows are those of step 5")
        newest = sa.select(JournalEntry).order_by(JournalEntry.id.desc()).limit(1)
        with Session(self._app.engine) as session:
            entry = session.scalars(newest).one()
            say(f"{entry.user.name}'s entry {entry.id:,}: '{entry.content}'")

    def _run(self, *words: str) -> str:
        """Run a command, print it and what it prints, and return that."""
        print(f"   $ soulsense-db {' '.join(words)}")
        done = subprocess.run(
            [sys.executable, "-m", "soulsense_db", *words],
            cwd=self._folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        check(done.returncode == 0, f"the command works: {done.stderr}")
        shown = (done.stdout + done.stderr).replace(f"{self._folder}{os.sep}", "")
        print(textwrap.indent(shown.rstrip(), "   "))
        return shown

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if "SOULSENSE" not in name}
        if self._server:
            url = self._app.engine.url.render_as_string(hide_password=False)
            kept["SOULSENSE_DATABASE_URL"] = url
        return kept

    def _say_state(self, revision: str) -> str:
        """Print the revision, which has to be ``revision``, and the digest; return the digest."""
        found = self._app.revision()
        check(found == revision, f"the database is at {revision}, not {found}")
        digest = self._app.digest()
        say(f"At {found}, digest of all rows: {short(digest)}")
        return digest

    def _safety_backup(self, *, at: str, target: str) -> BackupInfo:
        """Return the newest backup, which has to be from before a migration to ``target``."""
        info = self._app.manager.get("latest")
        check(info.kind == "pre_migration", "the migration took a backup")
        check(info.alembic_heads == (at,), f"the backup was taken at {at}")
        check(info.target_revision == target, f"the backup was taken before {target}")
        return info


def check(holds: bool, claim: str) -> None:
    """Raise :class:`TourError` unless ``claim`` holds."""
    if not holds:
        raise TourError(f"this does not hold: {claim}")


def step(title: str, shell: str = "") -> None:
    """Print the title of a step, and what one would type in a shell for it."""
    print(f"\n{title}")
    if shell:
        say(f"$ {shell}")


def say(text: str) -> None:
    """Print one indented line, wrapped where it is too long."""
    wrapped = textwrap.wrap(
        text,
        WIDTH,
        initial_indent="   ",
        subsequent_indent="     ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    print("\n".join(wrapped))


def failure_of(upgrade: Callable[[], None]) -> SQLAlchemyError:
    """Run an upgrade that has to die of a database error; return that."""
    try:
        upgrade()
    except SQLAlchemyError as error:
        return error
    raise TourError("this does not hold: the broken revision fails")


def reason(error: SQLAlchemyError) -> str:
    """Return what the database said, without the statement."""
    said = getattr(error, "orig", None) or error
    return f"{type(error).__name__}: {said}"


def short(digest: str) -> str:
    """Return as much of ``digest`` as a reader can compare."""
    return digest[:16]


def server_engine(url: str) -> sa.Engine:
    """Return an engine that connects again where a restore has ended its connections."""
    return sa.create_engine(engine_for(url).url, pool_pre_ping=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tour; return the exit code."""
    parser = argparse.ArgumentParser(description="A tour of soulsense_db.")
    parser.add_argument("--url", help="an empty database of a PostgreSQL or MariaDB server")
    url = parser.parse_args(arguments).url
    # Whatever the environment says, here env.py alone decides.
    os.environ.pop("SOULSENSE_BACKUP", None)
    # Without any handler, Python would write warnings to stderr.
    logging.getLogger("alembic").addHandler(logging.NullHandler())
    try:
        with tempfile.TemporaryDirectory(prefix="soulsense_tour_") as folder:
            Tour(Path(folder).resolve(), server_engine(url) if url else None).run()
    except (TourError, UnusableError, BackupError, CommandError, SQLAlchemyError, OSError) as error:
        print(f"\nThe tour failed: {error}", file=sys.stderr)
        return 1
    print("\nEverything above was read from the database and checked.")
    # Of a server, what a failed migration left is told once more when the program ends. Step 4 has.
    sys.stderr = io.StringIO()
    return 0


if __name__ == "__main__":
    sys.exit(main())
