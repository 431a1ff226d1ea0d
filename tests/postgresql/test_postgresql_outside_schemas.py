"""A migration that leaves what is in no schema, where the user may replace schemas alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from alembic_project import DOORS, FIRST, Project
from printed_commands import printed_commands, run_printed

from postgresql.newest import on_newest
from postgresql.owned import Owned, dumped
from postgresql.server import Server

# What the owner of a database makes without any other right.
MADE = {
    "extension": "CREATE EXTENSION vector",
    "large object": "SELECT lo_create(4711)",
    "publication": 'CREATE PUBLICATION "The news"',
    "cast": "CREATE CAST (mood AS date) WITH INOUT",
}


@on_newest
@pytest.mark.parametrize("kind", MADE)
def test_what_a_failed_migration_made_is_named_with_what_drops_it(
    server: Server, tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """It cannot be put back: who executes what the message says, and its command, has it back."""
    with Owned(server) as database:
        trusted = "SELECT count(*) FROM pg_available_extension_versions WHERE name = 'vector'"
        if kind == "extension" and not database.scalar(f"{trusted} AND trusted"):
            pytest.skip("the server has no extension that its users may make")
        database.execute("CREATE TYPE mood AS ENUM ('fine', 'bad')")
        project = Project(tmp_path / "project", DOORS[-1])
        lines = project.ini.read_text().splitlines()
        lines = [
            f"sqlalchemy.url = {database.url}" if "sqlalchemy.url =" in one else one
            for one in lines
        ]
        project.ini.write_text("\n".join(lines) + "\n")
        project.set_option("soulsense_tools", str(server.bin))
        project.revision("first", None, FIRST)
        project.upgrade("first")
        before = dumped(database)
        statement = f"op.execute({MADE[kind]!r})"
        project.revision(
            "second",
            "first",
            f"with op.get_context().autocommit_block():\n    {statement}\nraise ValueError('half')",
        )
        with pytest.raises(ValueError, match="half"):
            project.upgrade("second")
        told = capfd.readouterr().err
        assert f"could NOT be put back: A right is missing on {database.server.socket}" in told
        assert f"it has {kind} " in told
        assert f"ALTER ROLE {database.user} CREATEDB;" in told
        (drop,) = re.findall("If a migration made it and it may go, as its owner: (.*?;)", told)
        (back,) = printed_commands(told)
        refused = run_printed(back, project.folder)
        assert drop in refused.stderr
        database.execute(drop)
        done = run_printed(back, project.folder)
        assert done.returncode == 0, done.stderr
        assert dumped(database) == before
