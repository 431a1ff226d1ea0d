"""The applications whose own chains are rehearsed, and the faults that are planted in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_HEADER = '''"""Planted: {name}"""

import sqlalchemy as sa
from alembic import op

revision = "planted"
down_revision = {head!r}
branch_labels = None
depends_on = None


def upgrade():
    {body}


def downgrade():
    pass
'''


@dataclass(frozen=True, slots=True)
class Fault:
    """A step that is put behind the head of a chain, and the finding that must name it.

    ``finding``: its kind, and the table that it must name; ``body``: of its ``upgrade``.
    """

    name: str
    finding: tuple[str, str]
    body: str

    def source(self, head: str) -> str:
        """Return the text of the migration behind ``head``."""
        body = self.body.strip().replace("\n", "\n    ")
        return _HEADER.format(name=self.name, head=head, body=body)


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """An application with an Alembic chain of its own, and how its chain is rehearsed.

    ``why``: what it is here for; ``requirement``: what pip installs; ``ini``: its alembic.ini below
    site-packages; ``versions``: the folder of its migrations, beside the ini; ``target``: up to
    where it upgrades; ``head``: the last revision of that; ``environment``: what leads it to the
    databases in a folder; ``build``: the commands, below the bin/ of its environment, that make
    ``databases`` at an old revision; ``arguments``: for ``env.py``; ``runs_in``: below
    site-packages, where its operators run Alembic, if not anywhere; ``left_empty``: tables that
    have no rows at that revision, and why; ``true``: what its chain really does to rows, by kind
    and table, and why that is right.
    """

    name: str
    why: str
    requirement: str
    ini: str
    versions: str
    target: str
    head: str
    environment: Callable[[Path], dict[str, str]]
    build: tuple[tuple[str, ...], ...]
    faults: tuple[Fault, ...]
    databases: tuple[str, ...] = ("app.db",)
    arguments: Callable[[Path], tuple[str, ...]] = lambda _: ()
    runs_in: str = ""
    left_empty: Mapping[str, str] = field(default_factory=dict)
    true: Mapping[tuple[str, str], str] = field(default_factory=dict)


def _cascade(parent: str, child: str) -> Fault:
    """Return a fault that takes the rows of ``child`` along, which refer to ``parent``."""
    body = f"""
with op.get_context().autocommit_block():
    op.execute("PRAGMA foreign_keys = ON")
    with op.batch_alter_table({parent!r}, recreate="always") as batch:
        batch.add_column(sa.Column("planted", sa.Integer))
"""
    return Fault("a cascade that no statement shows", ("cascade", child), body)


def _truncation(table: str, column: str) -> Fault:
    body = f"""op.execute('UPDATE "{table}" SET "{column}" = substr("{column}", 2)')"""
    return Fault("a truncation", ("values_shortened", table), body)


def _failure(table: str, column: str) -> Fault:
    body = f"""op.execute('CREATE UNIQUE INDEX planted ON "{table}" (length("{column}") > 0)')"""
    return Fault("a step that fails", ("failed", ""), body)


def _environment_of_dstack(folder: Path) -> dict[str, str]:
    return {
        "DSTACK_SERVER_DIR": str(folder / "home"),
        "DSTACK_DATABASE_URL": f"sqlite+aiosqlite:///{folder}/app.db",
    }


def _environment_of_airflow(folder: Path) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/app.db",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }


def _arguments_of_galaxy(folder: Path) -> tuple[str, ...]:
    names = ("gxy", "tsi")
    return tuple(
        part for name in names for part in ("-x", f"{name}_url=sqlite:///{folder}/{name}.db")
    )


# Galaxy's env.py passes over every OperationalError that is no deadlock of PostgreSQL.
_SWALLOWED = Fault(
    "a step whose error env.py passes over",
    ("failed", ""),
    """op.execute('INSERT INTO nowhere VALUES (1)')""",
)
# 'airflow db migrate' itself loses them on SQLite, seen on a copy: with foreign keys switched on,
# 3ac9e5732b1f creates task_instance anew.
_BATCH_OF_AIRFLOW = "3ac9e5732b1f drops task_instance to create it anew, with foreign keys on"
_GO_WITH_TASK_INSTANCE = (
    "rendered_task_instance_fields",
    "task_instance_history",
    "task_instance_note",
    "task_map",
    "task_reschedule",
    "xcom",
)
_GALAXY = "galaxy/model/migrations/alembic.ini"
_MAKE_GALAXY = """
from pathlib import Path
from galaxy.model.migrations import DatabaseConfig, verify_databases_via_script
urls = [f"sqlite:///{Path.cwd()}/{name}.db" for name in ("gxy", "tsi")]
verify_databases_via_script(*(DatabaseConfig(url, None, None) for url in urls), False)
"""

REHEARSED = (
    Rehearsed(
        name="dstack",
        why="an async engine on aiosqlite, made by its own settings",
        requirement="dstack[server]==0.22.5",
        ini="dstack/_internal/server/alembic.ini",
        versions="migrations/versions",
        target="head",
        head="40f19bea9d2a",
        environment=_environment_of_dstack,
        build=(("alembic", "-c", "{ini}", "upgrade", "c48df7985d57"),),
        runs_in="dstack/_internal/server",
        true={("column_dropped", "instances"): "its chain drops instances.job_id"},
        faults=(_truncation("projects", "name"), _failure("projects", "name")),
    ),
    Rehearsed(
        name="Airflow",
        why="an engine of its own settings; the URL of alembic.ini is a placeholder",
        requirement="apache-airflow-core==3.1.8",
        ini="airflow/alembic.ini",
        versions="migrations/versions",
        target="head",
        head="509b94a1042d",
        environment=_environment_of_airflow,
        build=(
            ("airflow", "db", "migrate"),
            ("airflow", "db", "downgrade", "-y", "-n", "3.0.0"),
        ),
        left_empty={"deadline": "3.0 never writes to it; 808787349f22 fails where it has rows"},
        true={
            ("rows_lost", "import_error"): "fe199e1abd77 deletes them",
            **{("cascade", table): _BATCH_OF_AIRFLOW for table in _GO_WITH_TASK_INSTANCE},
        },
        faults=(
            _cascade("asset", "asset_trigger"),
            _truncation("dag", "fileloc"),
            _failure("dag", "fileloc"),
        ),
    ),
    Rehearsed(
        name="Galaxy",
        why="two databases, of which env.py takes one by the revision that is asked for",
        requirement="galaxy-data==26.1.2",
        ini=_GALAXY,
        versions="alembic/versions_gxy",
        target="gxy@head",
        head="fac9c76612f9",
        databases=("gxy.db", "tsi.db"),
        environment=lambda _: {},
        arguments=_arguments_of_galaxy,
        build=(
            ("python", "-c", _MAKE_GALAXY),
            ("alembic", "-c", "{ini}", "{arguments}", "downgrade", "c14a3c93d66b"),
        ),
        true={
            ("table_dropped", "cloudauthz"): "570bce1e82f9 drops it",
            ("table_dropped", "custos_authnz_token"): "724237cc4cf0 moves its rows elsewhere",
            ("column_dropped", "job"): "a5c5455b849a drops job.params",
        },
        faults=(_SWALLOWED, _truncation("galaxy_user", "email"), _failure("galaxy_user", "email")),
    ),
)
