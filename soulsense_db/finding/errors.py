"""Why the application's code, or its configuration, leads to no database."""

from __future__ import annotations

from collections.abc import Sequence

from soulsense_db.errors import (
    ApplicationCodeError,
    DatabaseNotNamedError,
    OptionError,
    Remedy,
)

_SEE_FOR_YOURSELF = "Run it by itself to see more"
_NAME_IT = "name the database with --url"


def misspelt(reference: str) -> OptionError:
    """Return the error for an ``--engine`` that is not of the form ``module:attribute``."""
    return OptionError(
        f"'{reference}' does not name an engine.",
        hint="Write the module, a colon and the name of the engine: --engine myapp.db:engine",
    )


def misspelt_function(reference: str) -> OptionError:
    """Return the error for a function that is not named in the form ``module:function``."""
    return OptionError(
        f"'{reference}' does not name a function.",
        hint="Write the module, a colon and the name of the function: myapp.checks:after_restore",
    )


def no_function(reference: str, kind: str) -> ApplicationCodeError:
    """Return the error for what cannot be called, or only awaited; ``kind``: its type."""
    return ApplicationCodeError(
        f"{reference} cannot be called with an engine (it is of type {kind}).",
        hint="Name a plain function that takes an engine, and raises or returns False if something "
        "is wrong.",
    )


def not_importable(module: str, reason: str, *, missing: str, hidden: bool) -> ApplicationCodeError:
    """Return the error for a module that is not there; ``missing``: what was not found.

    ``hidden``: the application has a module of this name, and Python has one as well.
    """
    what = f"The module {module} cannot be imported ({reason})."
    top = module.partition(".")[0]
    if hidden:
        hint = f"{top} is also a module of Python, which is found first. Rename that of the "
        hint += "application."
    elif missing and not f"{module}.".startswith(f"{missing}."):
        hint = f"{module} needs {missing}: install it, or run this program in the environment of "
        hint += "the application."
    else:
        hint = "Modules are found in the current directory, in ./src and in the environment that "
        hint += "this program is installed in. Change to the directory in which the application is "
        hint += "started."
    return ApplicationCodeError(what, hint=hint, reason=reason)


def no_attribute(module: str, name: str, candidates: Sequence[str]) -> ApplicationCodeError:
    """Return the error for an attribute that is not there; ``candidates``: engines that are."""
    found = ", ".join(f"{module}:{candidate}" for candidate in candidates)
    return ApplicationCodeError(
        f"The module {module} has no '{name}'.",
        hint=f"It has: {found}" if found else "Give the name that the module itself uses.",
        candidates=candidates,
    )


def no_engine(reference: str, reason: str) -> ApplicationCodeError:
    """Return the error for an attribute that is something else."""
    return ApplicationCodeError(
        f"{reference} is not an engine ({reason}).",
        hint="Name an Engine or AsyncEngine, a session or sessionmaker that is bound to one, or a "
        "function without arguments that returns one.",
        reason=reason,
    )


def flask_object(reference: str) -> ApplicationCodeError:
    """Return the error for an object of Flask's, whose engine takes an application."""
    return ApplicationCodeError(
        f"{reference} is not an engine: it belongs to a Flask application.",
        hint="Name the application instead, as flask does: --app myapp",
    )


def failed(what: str, reason: str) -> ApplicationCodeError:
    """Return the error for code that raises. ``what``: a clause, "importing myapp.db"."""
    return ApplicationCodeError(
        f"{_capital(what)} failed ({reason}).",
        hint=f"{_SEE_FOR_YOURSELF}, fix it, or {_NAME_IT}.",
        reason=reason,
    )


def exited(what: str, code: object) -> ApplicationCodeError:
    """Return the error for code that ends the program."""
    return ApplicationCodeError(
        f"{_capital(what)} failed: it calls sys.exit({code!r}).",
        hint=f"{_SEE_FOR_YOURSELF}; set what it asks for, or {_NAME_IT}.",
    )


def asked(what: str) -> ApplicationCodeError:
    """Return the error for code that waits for somebody to type."""
    return ApplicationCodeError(
        f"{_capital(what)} failed: it asks for input, and nobody can answer here.",
        hint=f"Let it ask only when the application itself is started, or {_NAME_IT}.",
    )


def connected(what: str, database: str) -> ApplicationCodeError:
    """Return the error for code that connects to a database that is not there."""
    return ApplicationCodeError(
        f"{_capital(what)} failed: it connects to {database}, which is not there.",
        hint=f"Let it connect when the application is started, not when it is imported; or "
        f"{_NAME_IT}.",
    )


def writing(what: str, statement: str) -> ApplicationCodeError:
    """Return the error for code that would change the database."""
    return ApplicationCodeError(
        f"{_capital(what)} would change the database ({statement} ...), so it was stopped.",
        hint=f"Let it do so when the application is started, not when it is imported; or "
        f"{_NAME_IT}.",
        state="The database was not changed.",  # but perhaps a backup was made, or another file
    )


def migrating(what: str) -> ApplicationCodeError:
    """Return the error for an env.py that runs migrations of its own accord."""
    return ApplicationCodeError(
        f"{_capital(what)} would run migrations, so it was stopped.",
        hint=f"Let env.py do no more than its template does, or {_NAME_IT}.",
    )


def template_url(what: str) -> ApplicationCodeError:
    """Return the error for an env.py with a URL of no database, as that of Alembic's template."""
    return ApplicationCodeError(
        f"{_capital(what)} led to no database: its URL is that of a template, or of a "
        "database that is not known here.",
        hint=f"Write the real one into sqlalchemy.url of Alembic's configuration, or {_NAME_IT}.",
    )


def nothing_configured(what: str) -> ApplicationCodeError:
    """Return the error for an env.py that tells Alembic of no database."""
    return ApplicationCodeError(
        f"{_capital(what)} led to no database: it does not call context.configure().",
        hint=f"Compare it with Alembic's template, or {_NAME_IT}.",
    )


def without_server(hint: str, env_py: str) -> Remedy:
    """Return what helps where env.py did not reach the server; ``hint``: what is said of that."""
    return Remedy(
        f"{hint} The database is named by {env_py}, which connects. For what needs no server, such "
        "as list, verify, export and config, name it yourself: export SOULSENSE_DATABASE_URL=... "
        "or --url."
    )


def several(what: str, databases: Sequence[str]) -> ApplicationCodeError:
    """Return the error for an env.py that migrates more than one database."""
    return ApplicationCodeError(
        f"{_capital(what)} led to {len(databases)} databases: {', '.join(databases)}.",
        hint="Name one of them with --url.",
        candidates=databases,
    )


def no_flask(reason: str) -> ApplicationCodeError:
    """Return the error for a Flask application that cannot be loaded here."""
    return ApplicationCodeError(
        f"The Flask application cannot be loaded ({reason}).",
        hint="Install soulsense-db in the environment of the application, or name the database "
        "with --url.",
        reason=reason,
    )


def no_flask_database(application: str) -> ApplicationCodeError:
    """Return the error for a Flask application without Flask-SQLAlchemy."""
    return ApplicationCodeError(
        f"The Flask application {application} has no database of Flask-SQLAlchemy.",
        hint="Name its engine with --engine module:attribute, or the database with --url.",
    )


def nothing_found(looked: Sequence[str]) -> DatabaseNotNamedError:
    """Return the error for a folder in which nothing says which database is meant.

    ``looked``: each place, with why it leads to none.
    """
    return DatabaseNotNamedError(
        "No option, variable or file names the database.",
        hint="Add --url sqlite:///app.db (of a server: postgresql://user@host/name or "
        "mariadb://user@host/name), or --engine myapp.db:engine. Or, once for all commands, write "
        'url = "sqlite:///app.db" below [tool.soulsense-db] in pyproject.toml.',
        candidates=looked,
    )


def _capital(clause: str) -> str:
    return clause[:1].upper() + clause[1:]
