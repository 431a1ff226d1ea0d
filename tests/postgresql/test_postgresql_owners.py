"""What others own, and who else is connected, when a plain user restores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic_project import Project
from sqlalchemy.pool import NullPool

from postgresql import content
from postgresql.newest import on_newest
from postgresql.owned import Owned
from postgresql.projects import project_on
from postgresql.server import NOBODY, Server
from soulsense_db import BackupManager
from soulsense_db.alembic.errors import MigrationRefusedError
from soulsense_db.errors import MissingRightError

pytestmark = on_newest


@pytest.fixture
def shop(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Owned]:
    """Return a database that is the administrator's, and in which the user may make tables."""
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
    with Owned(server) as made:
        made.maintain("ALTER DATABASE {} OWNER TO postgres")
        made.administer(f"GRANT CREATE ON SCHEMA public TO {made.user}")
        made.execute("CREATE TABLE note (id int)", "INSERT INTO note VALUES (1)")
        yield made
        made.administer(f"REASSIGN OWNED BY {made.user} TO postgres")
        made.administer(f"DROP OWNED BY {made.user}")


def test_the_page_s_statements_keep_earlier_backups_restorable(shop: Owned, tmp_path: Path) -> None:
    """The user gets ``public`` for restores within the database: earlier backups come back, too."""
    manager = BackupManager(shop.engine, tmp_path / "backups")
    manager.create()
    shop.execute("DELETE FROM note")
    shop.maintain(f"GRANT CREATE ON DATABASE {{}} TO {shop.user}")
    shop.administer(f"ALTER SCHEMA public OWNER TO {shop.user}")
    report = manager.restore("latest")
    assert report.verified
    assert shop.scalar("SELECT count(*) FROM note") == 1
    manager.undo_restore()
    assert shop.scalar("SELECT count(*) FROM note") == 0


@pytest.fixture
def owned(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Owned]:
    """Return a database whose owner may make others, and one more role."""
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
    with Owned(server) as made:
        made.maintain(f"ALTER ROLE {made.user} CREATEDB")
        made.maintain(f"CREATE ROLE {made.user}_other LOGIN")
        made.execute("CREATE TABLE note (id int)", "INSERT INTO note VALUES (1)")
        yield made
        made.engine.dispose()
        content.drop_kept(server)
        for user in (made.user, f"{made.user}_other"):
            made.administer(f"REASSIGN OWNED BY {user} TO postgres", f"DROP OWNED BY {user}")
        made.maintain(f"DROP ROLE {made.user}_other")


@pytest.mark.parametrize(
    "thing",
    [
        "TABLE thing (id int)",
        "VIEW thing AS SELECT 1 AS id",
        "TYPE thing AS ENUM ('a')",
        "DOMAIN thing AS int",
        "SEQUENCE thing",
    ],
)
def test_what_another_role_owns_is_said_before_anything_is_done(
    owned: Owned, tmp_path: Path, thing: str
) -> None:
    """With the statement that helps; or that only a superuser can restore it."""
    other, kind = f"{owned.user}_other", thing.split(maxsplit=1)[0]
    owned.administer(
        f"CREATE SCHEMA theirs AUTHORIZATION {other}",
        f"CREATE {thing.replace('thing', 'theirs.thing')}",
        f"ALTER {kind} theirs.thing OWNER TO {other}",
        f"GRANT USAGE ON SCHEMA theirs TO {owned.user}",
    )
    if kind in ("TABLE", "VIEW", "SEQUENCE"):
        owned.administer(f"GRANT SELECT ON theirs.thing TO {owned.user}")
    manager = BackupManager(owned.engine, tmp_path / "backups")
    backup = manager.create()
    (problem,) = manager.can_restore(backup).problems
    assert problem.hint == f"As an administrator: GRANT {other} TO {owned.user};"
    with pytest.raises(MissingRightError):
        manager.restore(backup)
    owned.maintain(f"GRANT {other} TO {owned.user}")
    assert manager.can_restore(backup).ok
    assert manager.restore(backup).verified
    owned.administer(f"CREATE {thing}", f"ALTER {kind} thing OWNER TO {other}")
    (problem,) = manager.can_restore(manager.create()).problems
    assert f"{other} owns thing, and may not create anything in the schema public" in str(problem)
    owned.maintain(f"ALTER ROLE {owned.user} SUPERUSER")
    assert manager.can_restore("latest").ok
    assert manager.restore("latest").verified


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE theirs (id int)",
        'CREATE COLLATION theirs FROM "C"',
        "CREATE TEXT SEARCH CONFIGURATION theirs (COPY = simple)",
        "CREATE STATISTICS theirs ON id, more FROM note",
        "CREATE PUBLICATION theirs FOR TABLE note",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    ],
)
def test_what_a_superuser_owns_is_said_before_anything_is_done(
    owned: Owned, tmp_path: Path, made: str
) -> None:
    """Nobody is advised to become a member of a superuser's role."""
    owned.execute("ALTER TABLE note ADD COLUMN more int")
    owned.administer(made, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC")
    manager = BackupManager(owned.engine, tmp_path / "backups")
    (problem,) = manager.can_restore(manager.create()).problems
    assert "postgres owns " in str(problem)
    assert "GRANT postgres" not in problem.hint
    assert "with ALTER ... OWNER TO." in problem.hint
    owned.administer("DROP PUBLICATION IF EXISTS theirs")


def test_a_large_object_that_the_user_may_not_read_keeps_a_restore_from_being_made(
    owned: Owned, tmp_path: Path
) -> None:
    """It was made after the backup: the replaced database could not be copied, nor undone."""
    manager = BackupManager(owned.engine, tmp_path / "backups")
    backup = manager.create()
    owned.administer("SELECT lo_from_bytea(0, 'theirs')")
    owned.execute("UPDATE note SET id = 2")
    (problem,) = manager.can_restore(backup).problems
    assert "postgres owns large object" in str(problem)
    with pytest.raises(MissingRightError, match="postgres owns large object"):
        manager.restore(backup)
    assert owned.scalar("SELECT id FROM note") == 2
    owned.administer("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
    assert manager.restore(backup).verified
    assert owned.scalar("SELECT id FROM note") == 1
    manager.undo_restore()
    assert owned.scalar("SELECT id FROM note") == 2


HIDES = (
    "ALTER TABLE note ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE note FORCE ROW LEVEL SECURITY",
)
DENIES = ("REVOKE SELECT ON note FROM CURRENT_USER",)
HELPS = {
    HIDES: (
        "ALTER ROLE {} BYPASSRLS;",
        "   Or, as its owner: ALTER TABLE public.note NO FORCE ROW LEVEL SECURITY;",
    ),
    DENIES: ("GRANT pg_read_all_data TO {};", ""),
}


@pytest.mark.parametrize("may_create", [True, False])
@pytest.mark.parametrize("done", HELPS, ids=["hidden", "denied"])
def test_a_table_that_the_user_may_not_read_keeps_a_restore_from_being_made(
    owned: Owned, tmp_path: Path, done: tuple[str, ...], may_create: bool
) -> None:
    """It may be the owner's own: the replaced rows could not be copied, nor undone."""
    given, otherwise = (one.format(owned.user) for one in HELPS[done])
    owned.administer(f"ALTER SCHEMA public OWNER TO {owned.user}")
    owned.maintain(f"ALTER ROLE {owned.user} {'CREATEDB' if may_create else 'NOCREATEDB'}")
    manager = BackupManager(owned.engine, tmp_path / "backups")
    backup = manager.create()
    owned.execute("UPDATE note SET id = 2", *done)
    (problem,) = manager.can_restore(backup).problems
    assert problem.hint == f"As an administrator: {given}{otherwise}"
    with pytest.raises(MissingRightError, match=r"public\.note, and what a restore replaces"):
        manager.restore(backup)
    with pytest.raises(MissingRightError) as caught:
        manager.create()
    assert given in caught.value.hint
    owned.maintain(given)
    assert owned.scalar("SELECT id FROM note") == 2
    assert manager.restore(backup).verified
    assert owned.scalar("SELECT id FROM note") == 1
    manager.undo_restore()
    assert owned.scalar("SELECT id FROM note") == 2


@pytest.mark.parametrize("of_database", [True, False])
@pytest.mark.parametrize("may_create", [True, False])
def test_a_tablespace_that_the_user_may_not_use_is_said_before_anything_is_done(
    owned: Owned, tmp_path: Path, may_create: bool, of_database: bool
) -> None:
    """A restore makes what is in it again, and where databases are made, one in its tablespace."""
    space, place = f"space_{owned.name}", owned.server.folder / owned.name
    place.mkdir()
    if os.geteuid() == 0:
        os.chown(place, NOBODY, NOBODY)
    owned.maintain(f"CREATE TABLESPACE {space} LOCATION '{place}'")
    owned.administer(f"ALTER SCHEMA public OWNER TO {owned.user}")
    owned.engine.dispose()
    if of_database:
        owned.maintain(f"ALTER DATABASE {{}} SET TABLESPACE {space}")
    else:
        owned.administer(f"ALTER TABLE note SET TABLESPACE {space}")
    owned.maintain(f"ALTER ROLE {owned.user} {'CREATEDB' if may_create else 'NOCREATEDB'}")
    manager = BackupManager(owned.engine, tmp_path / "backups")
    backup = manager.create()
    if not of_database or may_create:
        (problem,) = manager.can_restore(backup).problems
        assert problem.hint == (
            f"As an administrator: GRANT CREATE ON TABLESPACE {space} TO {owned.user};"
        )
        with pytest.raises(MissingRightError, match=f"something in tablespace {space}"):
            manager.restore(backup)
        owned.maintain(f"GRANT CREATE ON TABLESPACE {space} TO {owned.user}")
    assert manager.restore(backup).verified
    manager.undo_restore()
    owned.engine.dispose()
    content.drop_kept(owned.server)
    owned.administer("DROP TABLE note CASCADE")
    owned.engine.dispose()
    if of_database:
        owned.maintain("ALTER DATABASE {} SET TABLESPACE pg_default")
    owned.maintain(f"DROP TABLESPACE {space}")


def test_a_limit_that_is_too_low_for_a_dump_keeps_no_safety_backup_from_being_made(
    owned: Owned, tmp_path: Path
) -> None:
    """The replaced database gets room; an undo brings the limit back with the rows."""
    manager = BackupManager(owned.engine, tmp_path / "backups")
    backup = manager.create()
    owned.engine.dispose()
    owned.maintain("ALTER DATABASE {} CONNECTION LIMIT 2")
    manager.restore(backup)
    room = f"SELECT datconnlimit FROM pg_database WHERE datname = '{owned.kept()}'"
    assert owned.scalar(room) == -1
    assert manager.undo_restore().verified
    limit = f"SELECT datconnlimit FROM pg_database WHERE datname = '{owned.name}'"
    assert owned.scalar(limit) == 2


def _project_of(owned: Owned, folder: Path) -> Project:
    """Return a protected project of the user, whose first migration adds a row."""
    project = project_on(owned, folder / "project")
    url = owned.url.replace("%", "%%")
    ini = project.ini.read_text().splitlines()
    project.ini.write_text(
        "\n".join(f"sqlalchemy.url = {url}" if "sqlalchemy.url =" in one else one for one in ini)
    )
    project.protect()
    project.set_option("soulsense_backup_directory", str(folder / "backups"))
    project.revision("first", None, 'op.execute("INSERT INTO note VALUES (2)")')
    return project


def test_who_may_not_restore_migrates_where_nothing_is_put_back(
    owned: Owned, tmp_path: Path
) -> None:
    """Else the hook refuses, since it could not put the database back."""
    owned.maintain(f"ALTER ROLE {owned.user} NOCREATEDB")
    owned.maintain("ALTER DATABASE {} OWNER TO postgres")
    owned.administer(f"GRANT CREATE ON SCHEMA public TO {owned.user}")
    project = _project_of(owned, tmp_path)
    with pytest.raises(MigrationRefusedError, match="A right is missing"):
        project.upgrade("first")
    assert owned.scalar("SELECT count(*) FROM note") == 1
    project.set_option("soulsense_on_failure", "keep")
    project.upgrade("first")
    assert owned.scalar("SELECT count(*) FROM note") == 2
    (backup,) = BackupManager(owned.engine, tmp_path / "backups").list()
    assert backup.kind == "pre_migration"


@pytest.mark.parametrize("is_super", [False, True])
def test_a_login_that_takes_on_the_owner_s_role_is_nobody_else(
    owned: Owned, tmp_path: Path, is_super: bool
) -> None:
    """Our own session is the login's, and no right is needed to end it."""
    login, word = f"{owned.user}_other", "SUPERUSER" if is_super else "NOSUPERUSER"
    owned.maintain(f"GRANT {owned.user} TO {login}")
    owned.maintain(f"ALTER ROLE {login} {word}")
    owned.maintain(f"ALTER ROLE {login} SET role = '{owned.user}'")
    engine = sa.create_engine(owned.server.url(owned.name, user=login), poolclass=NullPool)
    manager = BackupManager(engine, tmp_path / "backups")
    backup = manager.create()
    owned.execute("UPDATE note SET id = 2")
    owned.engine.dispose()
    assert manager.can_restore(backup).ok
    assert manager.restore(backup).verified
    assert owned.scalar("SELECT id FROM note") == 1
    with sa.create_engine(engine.url, poolclass=NullPool).connect():
        (problem,) = manager.can_restore(backup).problems
        assert login in str(problem)


def test_sessions_of_others_are_said_before_anything_is_done(owned: Owned, tmp_path: Path) -> None:
    """A restore would have to end them."""
    manager = BackupManager(owned.engine, tmp_path / "backups")
    backup = manager.create()
    other = f"{owned.user}_other"
    engine = sa.create_engine(owned.server.url(owned.name, user=other), poolclass=NullPool)
    with engine.connect():
        (problem,) = manager.can_restore(backup).problems
        assert f"the sessions of others: {other})" in str(problem)
        assert problem.hint == f"As an administrator: GRANT pg_signal_backend TO {owned.user};"
        owned.maintain(f"GRANT pg_signal_backend TO {owned.user}")
        assert manager.can_restore(backup).ok
        assert manager.restore(backup).verified
        owned.maintain(f"REVOKE pg_signal_backend FROM {owned.user}")


def test_a_superuser_who_is_connected_is_said_before_anything_is_done(
    owned: Owned, tmp_path: Path
) -> None:
    """Nobody else may end his session, and no right would do: the hook runs no migration either."""
    owned.maintain(f"GRANT pg_signal_backend TO {owned.user}")
    manager = BackupManager(owned.engine, tmp_path / "backups")
    backup = manager.create()
    project = _project_of(owned, tmp_path)
    administrator = sa.create_engine(owned.server.url(owned.name), poolclass=NullPool)
    try:
        with administrator.connect() as connection:
            number = connection.scalar(sa.text("SELECT pg_backend_pid()"))
            (problem,) = manager.can_restore(backup).problems
            assert f"only a superuser may end those of postgres (process {number})." in str(problem)
            assert f"pg_terminate_backend({number})" in problem.hint
            with pytest.raises(MissingRightError, match="Nothing was changed"):
                manager.restore(backup)
            with pytest.raises(MigrationRefusedError, match="only a superuser may end"):
                project.upgrade("first")
        assert owned.scalar("SELECT count(*) FROM note") == 1
        project.upgrade("first")
        assert manager.restore(backup).verified
    finally:
        owned.maintain(f"REVOKE pg_signal_backend FROM {owned.user}")


def test_a_missing_database_that_the_user_may_not_make(owned: Owned, tmp_path: Path) -> None:
    """The dry run says so; made empty by somebody else, it takes the backup."""
    manager = BackupManager(owned.engine, tmp_path / "backups")
    backup = manager.create()
    owned.engine.dispose()
    owned.maintain("DROP DATABASE {} WITH (FORCE)")
    owned.maintain(f"ALTER ROLE {owned.user} NOCREATEDB")
    (problem,) = manager.can_restore(backup).problems
    making = f'CREATE DATABASE "{owned.name}" OWNER {owned.user};'
    assert making in problem.hint
    with pytest.raises(MissingRightError):
        manager.restore(backup)
    owned.maintain(making)
    assert manager.can_restore(backup).ok
    assert manager.restore(backup).verified
    assert owned.scalar("SELECT count(*) FROM note") == 1


@pytest.mark.parametrize("may_create", [True, False])
def test_a_null_in_an_array_stays_one(owned: Owned, tmp_path: Path, may_create: bool) -> None:
    """Where the user's sessions read it as a text, ours do not."""
    if not may_create:
        owned.maintain(f"ALTER ROLE {owned.user} NOCREATEDB")
        owned.administer(f"ALTER SCHEMA public OWNER TO {owned.user}")
    owned.execute("CREATE TABLE few (id int PRIMARY KEY, x text[])")
    owned.execute("INSERT INTO few VALUES (1, ARRAY['x', NULL])")
    owned.maintain(f"ALTER ROLE {owned.user} SET array_nulls = off")
    owned.engine.dispose()
    manager = BackupManager(owned.engine, tmp_path / "backups")
    backup = manager.create()
    asked = "SELECT x[2] IS NULL FROM few"
    manager.restore(backup)
    assert owned.scalar(asked)
    owned.execute("DELETE FROM few")
    manager.restore_rows(backup, "few")
    assert owned.scalar(asked)


@pytest.mark.parametrize("first", ["postgres", "{}_other"])
def test_whoever_makes_the_first_backup_keeps_nobody_from_the_next(
    owned: Owned, tmp_path: Path, first: str
) -> None:
    """The table ``backups`` is of use to whom the other tables belong, whoever made it."""
    first = first.format(owned.user)
    owned.maintain(f"GRANT pg_read_all_data TO {owned.user}_other")
    owned.administer(f"GRANT CREATE, USAGE ON SCHEMA public TO {owned.user}_other")
    engine = sa.create_engine(owned.server.url(owned.name, user=first), poolclass=NullPool)
    BackupManager(engine, tmp_path / "backups").create()
    manager = BackupManager(owned.engine, tmp_path / "backups")
    manager.create()
    assert owned.scalar("SELECT count(*) FROM backups") == 2
    if first != "postgres":  # it is still theirs: only a member of both roles can give it away
        (problem,) = manager.can_restore("latest").problems
        assert f"what others own is restored as theirs: {first}" in str(problem)
        owned.administer(f"REASSIGN OWNED BY {first} TO {owned.user}")
        manager.create()
    assert manager.restore("latest").verified


def test_the_statements_that_help_are_those_that_are_needed(owned: Owned, tmp_path: Path) -> None:
    """Who comes to be a member of a table's owner needs no right on the table besides."""
    reader = f"{owned.user}_other"
    owned.maintain(f"ALTER ROLE {owned.user} NOCREATEDB")
    owned.maintain(f"GRANT pg_read_all_data TO {reader}")
    backup = BackupManager(owned.engine, tmp_path / "backups").create()
    engine = sa.create_engine(owned.server.url(owned.name, user=reader), poolclass=NullPool)
    manager = BackupManager(engine, tmp_path / "backups")
    with pytest.raises(MissingRightError) as raised:
        manager.restore(backup)
    _, _, within = raised.value.hint.partition("within the database: ")
    given = [one.strip() for one in within.split(";") if one.strip()]
    assert given == [
        f"GRANT CREATE ON DATABASE {owned.name} TO {reader}",
        f"GRANT {owned.user} TO {reader}",
    ]
    owned.administer(*given)
    owned.engine.dispose()
    assert manager.restore(backup).verified
