"""Commands about copies from and to other places: import, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from soulsense_db.backup_info import BackupInfo, Form
from soulsense_db.cli import commands
from soulsense_db.cli.choosing import fetched
from soulsense_db.cli.facts import dated, size_and_form
from soulsense_db.cli.grammar import KEEPING
from soulsense_db.cli.mirror_options import MirrorSource
from soulsense_db.cli.output import backup_json, warn
from soulsense_db.cli.session import Description, Ref, Session
from soulsense_db.errors import BackupError
from soulsense_db.meta_file import read_backup
from soulsense_db.notices import ignoring
from soulsense_db.operations import doubts_about


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    commands.add(app, import_, "import", panel=KEEPING, example="import /mnt/usb/app.db")
    commands.add(app, export, panel=KEEPING, example="export latest /mnt/usb/")


def import_(
    session: Session,
    path: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A database file or backup; with --from, a REF there."),
    ],
    description: Description = "",
    from_: MirrorSource = None,
) -> dict[str, Any]:
    """Copy a database file or backup into the backup directory, and verify it.

    With --from, download a backup from a mirror: it stays what it is, and becomes one of this
    database.
    """
    if from_ is not None:
        return _import_from(session, str(path), from_, description)
    if description and Path(description).is_file():  # as of a shell's *.db
        raise typer.BadParameter("import takes one file at a time", param_hint="FILE")
    session.prepare_new()
    with session.progress("Importing") as progress:
        info = session.manager.import_file(path, description, progress=progress)
    session.say(f"Imported {path} as {info.filename}")
    session.say(f"{size_and_form(info)}, id {info.id}, in {Path(info.path).parent}")
    if info.row_counts is not None:
        rows, tables = sum(info.row_counts.values()), len(info.row_counts)
        session.say(f"{rows:,} row(s) in {tables} table(s)")
    session.say(f"Taken {info.timestamp_display}, {dated(info)}")
    _warn_of_a_part(session, info)
    latest = next((one for one in session.manager.list() if not doubts_about(one)), None)
    if session.talks and latest != info:
        session.say("There are newer backups here: 'latest' does not mean this one, its id does.")
    return {"backup": backup_json(info)}


def _warn_of_a_part(session: Session, info: BackupInfo) -> None:
    """Warn where what was imported may be a dump of one table, or of the schema alone."""
    with ignoring(BackupError, what="The revision of the database is not known"):
        at = session.manager.live.alembic_heads()
        if at and not info.alembic_heads:
            warn(
                f"It has no revision of Alembic, and the database is at {', '.join(at)}: it may be "
                "a part of a database. 'restore --dry-run' shows what it would replace."
            )


def _import_from(session: Session, ref: str, url: str, description: str) -> dict[str, Any]:
    if description:
        raise typer.BadParameter("a backup from a mirror keeps its own", param_hint="DESCRIPTION")
    info = fetched(session, ref, url, "Import")
    session.say(f"{size_and_form(info)}, id {info.id}, in {Path(info.path).parent}")
    return {"backup": backup_json(info)}


def export(
    session: Session,
    ref: Ref,
    destination: Annotated[
        str, typer.Argument(metavar="PATH", help="A directory, or a file that does not exist yet.")
    ],
    plain: Annotated[
        bool,
        typer.Option("--plain", help="Decompress and decrypt: the copy is a database file."),
    ] = False,
) -> dict[str, Any]:
    """Copy a backup and its meta file to another place, and verify the copy.

    The copy has the form of the backup, unless PATH is a file whose name ends in .db, or with
    --plain; an encrypted one is decrypted only with --plain. The base of a differential is copied
    as well, beside it.
    """
    info = session.found_manager.get(ref)
    session.prepare_to_read(info)
    with session.progress("Exporting") as progress:
        path = session.manager.export(info, destination, plain=plain, progress=progress)
    session.say(f"Exported {info.filename}")
    session.say(f"to {path.parent.resolve() / path.name}")
    base = None
    if Form.of(path.name).is_differential:
        base = path.with_name(read_backup(path).base_name or "")
        session.say(f"and its base, without which it cannot be restored, to {base}")
    return {"backup": backup_json(info), "path": str(path), "base": base}
