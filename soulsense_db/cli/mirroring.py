"""Commands about copies somewhere else: mirror add, list, sync, verify."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from soulsense_db.cli import commands
from soulsense_db.cli.drills import UpgradeToo, drill_checks, drill_upgrade
from soulsense_db.cli.facts import print_list
from soulsense_db.cli.grammar import ELSEWHERE, ProgramGroup
from soulsense_db.cli.mirror_output import check_json, set_exit_code, sync_json, synced
from soulsense_db.cli.output import backup_json, error_json, print_error
from soulsense_db.cli.policy_options import mirror_policy_options
from soulsense_db.cli.session import Session
from soulsense_db.errors import BackupError, MirrorNotFoundError
from soulsense_db.mirroring import NOT_MOUNTED, MirrorCheck, MirrorListing, list_mirror
from soulsense_db.retention import RetentionPolicy

T = TypeVar("T")

_GROUP = "mirror"

Url = Annotated[
    str | None,
    typer.Argument(metavar="URL", help="One mirror. By default, all that are configured."),
]


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    group = typer.Typer(
        cls=ProgramGroup,
        no_args_is_help=True,
        help="Keep copies of the backups somewhere else: in an object store, on an SFTP server, on "
        "another disk.",
        epilog="Example: soulsense-db mirror sync",
    )

    @group.callback()
    @commands.with_common_options(shown=False)
    def _options() -> None:
        """Hold the options that come before a command."""

    put = functools.partial(commands.add, group, group=_GROUP, panel=ELSEWHERE)
    put(add, example="mirror add file:///mnt/usb/soulsense")
    put(list_, "list", example="mirror list s3://my-bucket/soulsense")
    put(sync, example="mirror sync --mirror-keep-daily 90", policy=mirror_policy_options)
    put(verify, example="mirror verify --within-days 30")
    app.add_typer(group, name=_GROUP, rich_help_panel=ELSEWHERE)


def add(
    session: Session,
    place: Annotated[str, typer.Argument(metavar="URL", help="Where the mirror is to be.")],
) -> dict[str, Any]:
    """Set up a mirror, and try what it allows: write, read, list, create, delete."""
    mirrors = session.manager.mirrors
    try:
        trial = mirrors.add(place)
    except MirrorNotFoundError as missing:
        if missing.reason != NOT_MOUNTED:
            raise
        session.say(missing.what)
        hint = "Mount the drive. To set up a new one in its place, add --yes."
        session.confirm("Is this a new drive, to be set up?", hint=hint)
        trial = mirrors.add(place, anew=True)
    session.say(trial.address)
    for right, error in trial.rights:
        session.say(f"  {right:<8}{'ok' if error is None else f'NOT POSSIBLE: {error.cause}'}")
    if trial.ok and trial.is_append_only:
        session.say("Nothing can be removed there. That is fine: whoever takes over this machine")
        session.say("cannot remove the backups either.")
    if trial.ok:
        session.say(f"The mirror works. Backups of this database go to {trial.folder}.")
        if trial.address not in mirrors.addresses:
            session.say("To use it, name it in SOULSENSE_MIRROR, soulsense_mirrors or --mirror:")
            session.say(trial.address)
    else:
        needed = [error for right, error in trial.rights if error and right != "delete"]
        if not session.as_json:
            print_error(needed[0])
        session.exit_code = needed[0].exit_code
    return {
        "address": trial.address,
        "folder": trial.folder,
        "ok": trial.ok,
        "append_only": trial.is_append_only,
        "rights": {
            right: {"ok": error is None, "error": error_json(error) if error else None}
            for right, error in trial.rights
        },
    }


def list_(session: Session, place: Url = None) -> dict[str, Any]:
    """List what is at the mirrors, of all databases. With a URL, no database is needed."""
    listings, errors = _at_each(session, place, list_mirror)
    for number, listing in enumerate(listings):
        if session.talks:
            if number:
                session.say("")
            _print_listing(session, listing)
    if not (listings or errors):
        session.say("There are no backups there.")
    return {
        "folders": list(map(_listing_json, listings)),
        "errors": list(map(error_json, errors)),
    }


def _at_each(
    session: Session, place: str | None, work: Callable[[str], list[T]]
) -> tuple[list[T], list[BackupError]]:
    """Return what ``work`` finds at the mirror, or at each, and the errors of those that fail.

    One that is away must not hide what the others have.
    """
    if place is not None:
        return work(place), []
    session.manager.mirrors.require_any()
    found: list[T] = []
    errors: list[BackupError] = []
    for address in session.manager.mirrors.addresses:
        try:
            found += work(address)
        except BackupError as error:
            errors.append(error)
            if not session.as_json:
                print_error(error)
    if errors:
        session.exit_code = errors[0].exit_code
    return found, errors


def _print_listing(session: Session, listing: MirrorListing) -> None:
    session.say(f"{listing.address}/{listing.folder}")
    newest = next(iter(listing.backups), None)
    if newest is not None and (database := newest.database_path or newest.database):
        session.say(f"of {database}")
    if listing.backups:
        print_list(listing.backups)
    for name, reason in listing.damaged:
        session.say(f"DAMAGED {name}: {reason}")


def _listing_json(listing: MirrorListing) -> dict[str, Any]:
    return {
        "address": listing.address,
        "folder": listing.folder,
        "backups": list(map(backup_json, listing.backups)),
        "damaged": [{"name": name, "reason": reason} for name, reason in listing.damaged],
    }


def sync(session: Session, policy: RetentionPolicy | None, place: Url = None) -> dict[str, Any]:
    """Upload what the mirrors lack, then remove there what the mirrors' policy does not keep.

    Without a policy, nothing is removed.
    """
    session.keep_at_mirrors(policy)
    if place is None:
        session.manager.mirrors.require_any()
    reports = synced(session, url=place)
    set_exit_code(session, reports)
    return {"mirrors": list(map(sync_json, reports))}


def verify(
    session: Session,
    place: Url = None,
    within_days: Annotated[
        int | None,
        typer.Option(
            "--within-days",
            metavar="N",
            min=1,
            help="Only a share: with one run a day, all are read within N days.",
        ),
    ] = None,
    level: Annotated[
        str,
        typer.Option(
            "--level",
            metavar="LEVEL",
            help="full: all of it is read. drill: it is restored to a scratch folder, or to a "
            "scratch database of the server, as well.",
        ),
    ] = "full",
    upgrade: UpgradeToo = False,
) -> dict[str, Any]:
    """Download the backups of this database from the mirrors, and verify each in full."""
    if level not in {"full", "drill"}:
        raise typer.BadParameter(
            f"{level!r} is not a level. The levels are: full, drill", param_hint="--level"
        )
    if upgrade and level != "drill":
        raise typer.BadParameter("it is for --level drill", param_hint="--upgrade")
    mirrors = session.manager.mirrors
    own = drill_checks(session) if level == "drill" else []
    migrations = drill_upgrade(session, wanted=upgrade) if level == "drill" else None

    def check_at(url: str) -> list[MirrorCheck]:
        with session.progress("Verifying") as progress:
            return mirrors.verify(
                url=url,
                within_days=within_days,
                level="drill" if level == "drill" else "full",
                checks=own,
                upgrade=migrations,
                progress=progress,
            )

    checks, errors = _at_each(session, place, check_at)
    for check in checks:
        session.say(f"{check.address}: {_found(check)}")
        for name, error in check.damaged:
            if not session.as_json:
                print_error(error)
            session.say(f"DAMAGED {name}")
            session.exit_code = error.exit_code
    return {
        "mirrors": list(map(check_json, checks)),
        "errors": list(map(error_json, errors)),
    }


def _found(check: MirrorCheck) -> str:
    done = "drilled" if check.level == "drill" else "verified in full"
    parts = [f"{len(check.verified)} of {check.total} {done}"]
    if check.unopened:
        parts.append(f"the checksums of {len(check.unopened)} (no key opens them)")
    if check.damaged:
        parts.append(f"{len(check.damaged)} DAMAGED")
    return ", ".join(parts)
