"""Commands about copies somewhere else: mirror add, list, sync, verify."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Annotated, Any

import typer

from soulsense_db.cli import commands
from soulsense_db.cli.facts import print_list
from soulsense_db.cli.grammar import ELSEWHERE, ProgramGroup
from soulsense_db.cli.mirror_output import sync_json, synced
from soulsense_db.cli.output import backup_json, error_json, print_error
from soulsense_db.cli.policy_options import policy_options
from soulsense_db.cli.session import Session
from soulsense_db.mirroring import MirrorCheck, MirrorListing, list_mirror
from soulsense_db.retention import RetentionPolicy

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
    put(sync, example="mirror sync --keep-daily 90", policy=policy_options)
    put(verify, example="mirror verify --within-days 30")
    app.add_typer(group, name=_GROUP, rich_help_panel=ELSEWHERE)


def add(
    session: Session,
    place: Annotated[str, typer.Argument(metavar="URL", help="Where the mirror is to be.")],
) -> dict[str, Any]:
    """Set up a mirror, and try what it allows: write, read, list, create, delete."""
    mirrors = session.manager.mirrors
    trial = mirrors.add(place)
    session.say(trial.address)
    for right, error in trial.rights:
        session.say(f"  {right:<8}{'ok' if error is None else f'NOT POSSIBLE: {error.cause}'}")
    if trial.is_append_only:
        session.say("Nothing can be removed there. That is fine: whoever takes over this machine")
        session.say("cannot remove the backups either.")
    if trial.ok:
        session.say(f"The mirror works. Backups of this database go to {trial.folder}.")
        if trial.address not in mirrors.addresses:
            session.say(f"To use it, set: soulsense_mirrors = {trial.address}")
    else:
        missing = [error for right, error in trial.rights if error and right != "delete"]
        if not session.as_json:
            print_error(missing[0])
        session.exit_code = missing[0].exit_code
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
    listings = session.manager.mirrors.list() if place is None else list_mirror(place)
    for number, listing in enumerate(listings):
        if session.talks:
            if number:
                session.say("")
            _print_listing(session, listing)
    if not listings:
        session.say("There are no backups there.")
    return {"folders": list(map(_listing_json, listings))}


def _print_listing(session: Session, listing: MirrorListing) -> None:
    session.say(f"{listing.address}/{listing.folder}")
    newest = next(iter(listing.backups), None)
    if newest is not None and newest.database_path:
        session.say(f"of {newest.database_path}")
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


def sync(session: Session, policy: RetentionPolicy | None) -> dict[str, Any]:
    """Upload what the mirrors lack, then remove there what the policy does not keep.

    The policy is that of the mirrors (soulsense_mirror_keep_daily and the like), or the one given
    here. Without one, nothing is removed.
    """
    if policy is not None:
        session.mirrors = replace(session.mirrors, retention=policy)
    session.manager.mirrors.require_any()
    reports = synced(session)
    for report in reports:
        for error in filter(None, (report.error, *report.problems)):
            session.exit_code = session.exit_code or error.exit_code
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
) -> dict[str, Any]:
    """Download the backups of this database from the mirrors, and verify each in full."""
    with session.progress("Verifying") as progress:
        checks = session.manager.mirrors.verify(
            url=place, within_days=within_days, progress=progress
        )
    for check in checks:
        session.say(f"{check.address}: {_found(check)}")
        for name, error in check.damaged:
            if not session.as_json:
                print_error(error)
            session.say(f"DAMAGED {name}")
            session.exit_code = error.exit_code
    return {"mirrors": list(map(_check_json, checks))}


def _found(check: MirrorCheck) -> str:
    parts = [f"{len(check.verified)} of {check.total} verified in full"]
    if check.unopened:
        parts.append(f"the checksums of {len(check.unopened)} (no key opens them)")
    if check.damaged:
        parts.append(f"{len(check.damaged)} DAMAGED")
    return ", ".join(parts)


def _check_json(check: MirrorCheck) -> dict[str, Any]:
    return {
        "address": check.address,
        "folder": check.folder,
        "total": check.total,
        "verified": list(map(backup_json, check.verified)),
        "unopened": list(map(backup_json, check.unopened)),
        "damaged": [{"name": name, "error": error_json(error)} for name, error in check.damaged],
    }
