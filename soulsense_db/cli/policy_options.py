"""The options of a retention policy, which prune and auto share."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, get_args, get_type_hints

import typer

from soulsense_db.cli.session import Session
from soulsense_db.retention import COUNTS, Period, RetentionPolicy, parse_size
from soulsense_db.settings import with_rules

_MIRROR_PANEL = "What to keep at the mirrors"
_PANEL = "What to keep (of each kind; a backup stays if any rule keeps it)"


def _count(flag: str, what: str) -> Any:
    return typer.Option(flag, metavar="N", help=what, rich_help_panel=_PANEL)


def policy_options(  # noqa: PLR0917 - Typer gives them by name
    keep_last: Annotated[
        int | None, _count("--keep-last", "The newest N backups; here and below, -1 means all.")
    ] = None,
    keep_hourly: Annotated[
        int | None,
        _count("--keep-hourly", "The newest of each hour, for the last N hours with a backup."),
    ] = None,
    keep_daily: Annotated[
        int | None,
        _count("--keep-daily", "The newest of each day, for the last N days with a backup."),
    ] = None,
    keep_weekly: Annotated[
        int | None,
        _count("--keep-weekly", "The newest of each ISO week, for the last N weeks with a backup."),
    ] = None,
    keep_monthly: Annotated[
        int | None,
        _count("--keep-monthly", "The newest of each month, for the last N months with a backup."),
    ] = None,
    keep_yearly: Annotated[
        int | None,
        _count("--keep-yearly", "The newest of each year, for the last N years with a backup."),
    ] = None,
    keep_within: Annotated[
        str | None,
        typer.Option(
            "--keep-within",
            metavar="PERIOD",
            help="All backups at most this much (1y6m, 14d, 12h) older than the newest.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    max_total_size: Annotated[
        str | None,
        typer.Option(
            "--max-total-size",
            metavar="SIZE",
            help="At most this much in total (500MB, 10GB), the newest first.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    allow_empty: Annotated[
        bool,
        typer.Option(
            "--allow-empty",
            help="Let --max-total-size remove the last backup of a kind.",
            rich_help_panel=_PANEL,
        ),
    ] = False,
) -> RetentionPolicy | None:
    """Declare the options of a policy; None when none of them is given."""
    rules: dict[str, Any] = {
        "keep_last": keep_last,
        "keep_hourly": keep_hourly,
        "keep_daily": keep_daily,
        "keep_weekly": keep_weekly,
        "keep_monthly": keep_monthly,
        "keep_yearly": keep_yearly,
        "keep_within": None if keep_within is None else Period.parse(keep_within),
        "max_total_size": None if max_total_size is None else parse_size(max_total_size),
    }
    given = {name: rule for name, rule in rules.items() if rule is not None}
    if not given:
        return RetentionPolicy(allow_empty=True) if allow_empty else None
    return with_rules(RetentionPolicy(**given, allow_empty=allow_empty))


def _for_mirrors() -> Callable[..., RetentionPolicy | None]:
    """Return :func:`policy_options` with other names: ``--mirror-keep-daily`` and so on.

    Names of their own, so that no rule for the backups here removes one at a mirror.
    """
    hints = get_type_hints(policy_options, include_extras=True)
    parameters = []
    for parameter in inspect.signature(policy_options).parameters.values():
        type_, option = get_args(hints[parameter.name])
        other = copy.copy(option)
        other.default = f"--mirror-{option.default.removeprefix('--')}"  # its first name
        other.help = option.help.replace("--", "--mirror-")
        other.rich_help_panel = _MIRROR_PANEL
        parameters.append(
            parameter.replace(name=f"mirror_{parameter.name}", annotation=Annotated[type_, other])
        )

    def options(**given: Any) -> RetentionPolicy | None:
        return policy_options(**{n.removeprefix("mirror_"): rule for n, rule in given.items()})

    options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return options


mirror_policy_options = _for_mirrors()
"""Declare the options of a policy for mirrors."""


def chosen_policy(session: Session, policy: RetentionPolicy | None) -> RetentionPolicy | None:
    """Return the policy of the options, else of the configuration; ``--allow-empty`` adds to it."""
    if policy is None or not policy.is_empty:
        return policy or session.retention
    configured = session.retention
    return replace(configured, allow_empty=True) if configured else None


def options_of(policy: RetentionPolicy) -> list[str]:
    """Return the options that :func:`policy_options` makes ``policy`` of."""
    rules = {name: getattr(policy, name) for name in (*COUNTS, "keep_within", "max_total_size")}
    given = {name: rule for name, rule in rules.items() if rule}
    words = [word for name, rule in given.items() for word in (_flag(name), str(rule))]
    return [*words, "--allow-empty"] if policy.allow_empty else words


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
