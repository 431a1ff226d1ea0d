"""How a command is declared: with the common options, and a session made of them."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from soulsense_db.cli import defaults, output
from soulsense_db.cli.form_options import form_options
from soulsense_db.cli.grammar import COMMON_OPTIONS, ProgramCommand
from soulsense_db.cli.mirror_options import mirror_options
from soulsense_db.cli.session import Session
from soulsense_db.errors import OptionError
from soulsense_db.settings import URL_VARIABLE


def _session(  # noqa: PLR0917 - Typer gives them by name
    context: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help=f"Database URL or SQLite file. Default: ${URL_VARIABLE}, else what the current "
            "directory says; 'soulsense-db config' shows it.",
            rich_help_panel=COMMON_OPTIONS,
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            metavar="MODULE:NAME",
            help="The application's own engine, such as myapp.db:engine; or a function that "
            "returns it.",
            rich_help_panel=COMMON_OPTIONS,
        ),
    ] = None,
    app: Annotated[
        str | None,
        typer.Option(
            "--app",
            metavar="APP",
            help="A Flask application with Flask-SQLAlchemy, named as for flask --app.",
            rich_help_panel=COMMON_OPTIONS,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="alembic.ini or pyproject.toml with soulsense_ options. Default: both, in the "
            "current directory.",
            rich_help_panel=COMMON_OPTIONS,
            is_eager=True,
            callback=defaults.read_defaults,
        ),
    ] = None,
    directory: Annotated[
        str | None,
        typer.Option(
            "--directory",
            metavar="DIR",
            help="Backup directory. Default: 'backups' beside the database; for a server, "
            "'data/backups' in the current directory.",
            rich_help_panel=COMMON_OPTIONS,
        ),
    ] = None,
    catalog_table: Annotated[
        str | None,
        typer.Option(
            "--catalog-table",
            metavar="NAME",
            help="Table that lists the backups, or 'none'. Default: backups.",
            rich_help_panel=COMMON_OPTIONS,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            output.WANTS_JSON,
            help="Print one JSON object and nothing else, also for errors.",
            rich_help_panel=COMMON_OPTIONS,
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=COMMON_OPTIONS),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", help="Do not ask for confirmation.", rich_help_panel=COMMON_OPTIONS
        ),
    ] = False,
) -> Session:
    """Declare the options that every command takes."""
    if directory is not None and not directory.strip():  # a variable that is not set, say
        raise OptionError("--directory is empty.", hint="Name a directory.")
    for name, value in {"url": url, "engine": engine, "app": app}.items():
        if value is not None and not value.strip():  # an unset variable: no other one is meant
            raise OptionError(
                f"--{name} is empty.", hint="Name a database, or leave the option out."
            )
    typed = [name for name in defaults.DATABASE_OPTIONS if defaults.is_typed(context, name)]
    if len(typed) > 1:
        raise typer.BadParameter("give only one of --url, --engine and --app", param_hint="--url")
    if as_json:
        output.choose_json()
    output.show_warnings(shown=not quiet)
    folder = Path(directory) if directory else None
    return Session(
        url if "url" in typed else None,
        config,
        folder,
        catalog_table,
        as_json,
        quiet,
        yes,
        engine=engine if "engine" in typed else None,
        app=app if "app" in typed else None,
        context=context,
    )


Command = Callable[..., dict[str, Any]]
"""Takes a :class:`Session` and its own parameters; returns the ``result`` of ``--json``."""


def add(
    app: typer.Typer,
    command: Command,
    name: str | None = None,
    *,
    panel: str,
    example: str,
    group: str = "",
    **groups: Callable[..., Any],
) -> None:
    """Make ``command`` one of the program's.

    ``panel``: where it is in the program's help; ``example``: one call, for the command's own;
    ``group``: what comes before its name, where it is a command of a command.
    ``groups``: for a parameter of the command, a function whose own parameters are options of the
    program, and which makes the parameter's value of them. Every command has ``session``.
    """
    name = name or command.__name__
    full = f"{group} {name}".strip()
    groups = {**groups, "session": _session, "forms": form_options, "places": mirror_options}
    own = {key: p for key, p in _with_variables(command, full).items() if key not in groups}
    declared = {group: _with_variables(of, full) for group, of in groups.items()}

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        dropped = defaults.without_rules_of_another(arguments["context"], arguments)
        made = {
            group: groups[group](**{key: arguments.pop(key) for key in parameters})
            for group, parameters in declared.items()
        }
        session: Session = made["session"]
        session.forms = made.pop("forms")
        session.mirrors = made.pop("places")
        if dropped:
            session.warn_of_policy()
        with output.noting_interrupts():
            result = command(**made, **arguments)
        if session.as_json:
            output.print_json(full, result)
        if session.exit_code:
            raise typer.Exit(session.exit_code)

    parameters = [*own.values(), *(p for group in declared.values() for p in group.values())]
    # Typer reads both.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    app.command(
        name,
        cls=ProgramCommand,
        help=_help_of(command),
        rich_help_panel=panel,
        epilog=f"Example: soulsense-db {example}",
    )(run)


def _help_of(command: Command) -> str:
    """Return the docstring with a line per paragraph: the terminal wraps it."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def with_common_options(*, shown: bool = True) -> Callable[[Callable[..., None]], Any]:
    """Return a decorator for the callback of a group: it takes the common options.

    The commands of the group receive them. ``shown``: whether the group's help has them.
    """

    def decorate(callback: Callable[..., None]) -> Callable[..., None]:
        own = _parameters(callback)

        @functools.wraps(callback)
        def run(**arguments: Any) -> None:
            callback(**{p.name: arguments[p.name] for p in own})

        common = [p for of in (_session, form_options, mirror_options) for p in _parameters(of)]
        of_group = (_of_group(parameter, shown=shown) for parameter in common)
        parameters = [*own, *filter(None, of_group)]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _of_group(parameter: inspect.Parameter, *, shown: bool) -> inspect.Parameter | None:
    """Return an option for the help alone: its value comes to the command; None for no option."""
    type_, *metadata = get_args(parameter.annotation) or (parameter.annotation,)
    for position, one in enumerate(metadata):
        if isinstance(one, typer.models.OptionInfo):
            metadata[position] = option = copy.copy(one)
            option.callback = option.envvar = None
            option.hidden = not shown
            return parameter.replace(annotation=Annotated[(type_, *metadata)])
    return None


@functools.cache  # the same groups for every command, and it takes a while
def _parameters(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    hints = get_type_hints(function, include_extras=True)
    return tuple(
        parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(function).parameters.values()
    )


def _with_variables(function: Callable[..., Any], command: str) -> dict[str, inspect.Parameter]:
    found = (defaults.with_variables(parameter, command) for parameter in _parameters(function))
    return {parameter.name: parameter for parameter in found}
