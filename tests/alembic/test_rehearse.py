"""What a rehearsal finds: failures, losses, and nothing where there is nothing to find."""

from __future__ import annotations

import json
import sqlite3
import textwrap
from contextlib import closing
from pathlib import Path

import pytest
from alembic_project import Project, needs_plugins
from rehearsals import TABLES, kinds, manager_of, one, project, rehearsed, run_sql, untouched

from soulsense_db import BackupManager
from soulsense_db.alembic import rehearse
from soulsense_db.cli.rehearsal_page import rehearsal_page
from soulsense_db.errors import DataLossError, OptionError, RehearsalFailedError

pytestmark = pytest.mark.slow

FOREIGN_KEYS_ON = """
    from sqlalchemy import event
    @event.listens_for(connectable, "connect")
    def switch_on(connection, record):
        connection.execute("PRAGMA foreign_keys = ON")

    with connectable.connect() as connection:
"""

CONNECTS = "    with connectable.connect() as connection:\n"
HALF_WAY = 'op.create_table("half", sa.Column("id", sa.Integer))\nop.execute("OH NO")'


@pytest.fixture
def made(tmp_path: Path) -> Project:
    """Return a project at revision ``first``."""
    return project(tmp_path / "project")


def with_foreign_keys(made: Project) -> None:
    """Have env.py switch foreign keys on."""
    made.edit_env(CONNECTS, FOREIGN_KEYS_ON.lstrip("\n"))


def test_a_good_migration_gives_no_finding(made: Project) -> None:
    """A migration that adds and changes without loss: its step, its time, and nothing else."""
    made.revision(
        "second",
        "first",
        'op.add_column("entry", sa.Column("note", sa.Text))\n'
        "op.execute(\"UPDATE entry SET note = text || '!'\")",
    )
    report = rehearsed(made)
    assert report.findings == ()
    assert (report.ok, report.loses_data, report.failure) == (True, False, None)
    (step,) = report.steps
    assert (step.revision, step.direction, step.database) == ("second", "upgrade", made.database)
    assert step.seconds is not None
    assert step.locked_seconds is not None
    assert 0 < step.locked_seconds <= step.seconds
    (database,) = report.databases
    assert (database.heads_before, database.alembic_heads) == (("first",), ("second",))
    assert [(t.table, t.before, t.after) for t in database.tables] == [
        ("entry", 3, 3),
        ("person", 2, 2),
    ]
    assert report.live_unchanged
    report.require_ok()


def test_there_may_be_nothing_to_do(made: Project) -> None:
    """A database that is at the revision already: no steps, and that is fine."""
    report = rehearsed(made)
    assert (report.steps, report.findings, report.ok) == ((), (), True)
    assert "nothing to migrate" in report.verdict


def test_a_failing_step_is_named(made: Project) -> None:
    """A step that fails: its revision, what the database said, where, and what it would leave."""
    made.revision("second", "first", 'op.create_table("mood", sa.Column("id", sa.Integer))')
    made.revision(
        "third",
        "second",
        'op.create_table("half", sa.Column("id", sa.Integer))\n'
        "op.execute(\"INSERT INTO nowhere VALUES ('a secret')\")",
    )
    report = rehearsed(made)
    assert report.failure is not None
    assert report.failure.revision == "third"
    assert report.failure.exception == "OperationalError"
    assert report.error.startswith("Step third fails: OperationalError: no such table: nowhere (")
    assert "third.py, line" in report.error
    assert "nowhere" in report.failure.traceback
    assert report.steps[-1].seconds is None
    assert "stop half-way, with the database at second and changes to table half" in (
        one(report, "state").sentence
    )
    with pytest.raises(RehearsalFailedError) as caught:
        report.require_ok()
    assert caught.value.exit_code == 76
    assert "was not touched" in caught.value.message


def test_a_left_over_table_of_a_batch_operation_is_said(made: Project) -> None:
    """What would block each later upgrade, the table that a failed batch leaves, is named."""
    made.revision(
        "second",
        "first",
        'op.create_table("_alembic_tmp_entry", sa.Column("id", sa.Integer))\nop.execute("OH NO")',
    )
    sentence = one(rehearsed(made), "state").sentence
    assert "_alembic_tmp_entry would be left over" in sentence
    assert "recreates entry would fail" in sentence


def test_a_step_that_is_rolled_back_leaves_nothing(made: Project) -> None:
    """Where the database would be as before, nobody need put it back: it is a note, and all."""
    made.revision("second", "first", 'op.execute("DELETE FROM entry")\nop.execute("OH NO")')
    report = rehearsed(made)
    assert kinds(report) == [("error", "failed"), ("notice", "state")]
    assert one(report, "state").sentence == (
        "The failed step changed nothing: the database would be as it was before the upgrade."
    )


def test_what_a_second_try_would_meet_is_said(made: Project) -> None:
    """A step stops half-way: what it made itself is named, not what the step before it made."""
    made.revision("second", "first", 'op.add_column("entry", sa.Column("note", sa.Text))')
    made.revision(
        "third",
        "second",
        'op.add_column("entry", sa.Column("vip", sa.Integer))\n'
        'op.create_table("half", sa.Column("id", sa.Integer))\nop.execute("OH NO")',
    )
    sentence = one(rehearsed(made), "state").sentence
    assert sentence.endswith(
        "begins the failed step anew, and may fail because of what it made before: "
        "column entry.vip, table half."
    )


def test_what_cannot_be_listed_fails_no_step(made: Project) -> None:
    """A look at what a step finds is no part of the migration: with a name that is no text too."""
    view = "x'4352454154452056494557202276ff222041532053454c4543542031'"  # CREATE VIEW "v\xff" ...
    with closing(sqlite3.connect(made.database)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "INSERT INTO sqlite_master (type, name, tbl_name, rootpage, sql) VALUES ('view', "
            f"CAST(x'76ff' AS TEXT), CAST(x'76ff' AS TEXT), 0, CAST({view} AS TEXT))"
        )
        connection.commit()
    made.revision("second", "first", 'op.execute("UPDATE entry SET mood = 1")')
    assert rehearsed(made).failure is None


@pytest.mark.parametrize(
    ("left", "body"),
    [
        pytest.param(
            "ALTER TABLE entry ADD COLUMN vip INTEGER",
            'op.add_column("entry", sa.Column("vip", sa.Integer))',
            id="column entry.vip",
        ),
        pytest.param("CREATE TABLE half (id)", HALF_WAY, id="table half"),
    ],
)
def test_what_an_earlier_try_left_is_told_as_such(
    made: Project, left: str, body: str, request: pytest.FixtureRequest
) -> None:
    """The database is half-way already: nothing says that it is as it should be."""
    run_sql(made.database, left)
    made.revision("second", "first", body)
    sentence = one(rehearsed(made), "state").sentence
    assert sentence.startswith(
        "What the failed step wants to create was there before the upgrade began: "
        f"{request.node.callspec.id}. An earlier upgrade may have stopped half-way."
    )
    assert "as before" not in sentence


def test_a_step_that_stands_in_its_own_way_had_no_earlier_try(made: Project) -> None:
    """What a step creates twice was not there before the upgrade."""
    made.revision("second", "first", 2 * 'op.create_table("half", sa.Column("id", sa.Integer))\n')
    assert "earlier" not in one(rehearsed(made), "state").sentence


def test_what_alembic_logs_is_left_out_of_what_was_printed(made: Project) -> None:
    """The last lines are those of the migration; where it printed none, there are none."""
    logs = 'import logging; logging.basicConfig(level="INFO")\n'
    made.edit_env("from alembic import context", f"{logs}from alembic import context")
    made.revision("second", "first", 'op.execute("OH NO")')
    assert not rehearsed(made).output
    made.revision("second", "first", 'print("Running on 3 rows")\nop.execute("OH NO")')
    assert rehearsed(made).output == "Running on 3 rows"


def test_a_cascade_is_found(made: Project) -> None:
    """A batch operation with foreign keys on deletes the rows of another table: found and said."""
    with_foreign_keys(made)
    made.revision(
        "second",
        "first",
        'with op.batch_alter_table("person") as batch:\n'
        '    batch.alter_column("name", nullable=True, type_=sa.String(300))',
    )
    report = rehearsed(made)
    assert kinds(report) == [("loss", "cascade")]
    sentence = one(report, "cascade").sentence
    assert sentence.startswith("Table entry loses all its 3 rows. No statement of the migration")
    assert "person with ON DELETE CASCADE" in sentence
    assert "drops person to create it anew" in sentence
    assert report.loses_data
    with pytest.raises(DataLossError) as caught:
        report.require_ok()
    assert caught.value.exit_code == 77


def test_a_cascade_over_two_tables_begins_at_its_cause(tmp_path: Path) -> None:
    """What goes with the rows of a recreated table comes first, with the remedy; then the rest."""
    made = Project(tmp_path / "project", "none")
    made.revision(
        "first",
        None,
        TABLES + '    op.create_table("a_tag", sa.Column("id", sa.Integer, primary_key=True), '
        'sa.Column("entry_id", sa.Integer, sa.ForeignKey("entry.id", ondelete="CASCADE")))\n'
        '    op.execute("INSERT INTO a_tag (entry_id) VALUES (1), (2)")',
    )
    made.upgrade("first")
    with_foreign_keys(made)
    made.revision(
        "second",
        "first",
        'with op.batch_alter_table("person") as batch:\n'
        '    batch.alter_column("name", type_=sa.String(300))',
    )
    report = rehearsed(made)
    assert [found.table for found in report.findings] == ["entry", "a_tag"]
    first, second = report.findings
    assert not second.remedy
    lines = textwrap.indent(first.remedy, "    ")
    made.edit_env(CONNECTS, f"{lines}\n{CONNECTS}")  # as they are
    assert rehearsed(made).findings == ()


BEGINS = """
    @event.listens_for(connectable, "connect")
    def leave_transactions(connection, record):
        connection.isolation_level = None

    @event.listens_for(connectable, "begin")
    def begin(connection):
        connection.exec_driver_sql("BEGIN")

"""


@pytest.mark.parametrize(
    ("mode", "is_kept"),
    [
        pytest.param("", True, id="as Alembic does by default"),
        pytest.param("transactional_ddl", False, id="all steps in one transaction"),
        pytest.param("begin", False, id="BEGIN at once"),
    ],
)
def test_a_switch_in_the_migration_holds_by_default_only(
    made: Project, mode: str, *, is_kept: bool
) -> None:
    """The guide says so: a PRAGMA at the beginning of a second step keeps the rows, or is late."""
    with_foreign_keys(made)
    if mode == "transactional_ddl":
        made.edit_env("context.configure(", "context.configure(transactional_ddl=True, ")
    if mode == "begin":
        made.edit_env(CONNECTS, f"{BEGINS}{CONNECTS}")
    made.revision("second", "first", 'op.execute("UPDATE entry SET mood = 1")')
    made.revision(
        "third",
        "second",
        'op.execute("PRAGMA foreign_keys=OFF")\n'
        'with op.batch_alter_table("person") as batch:\n'
        '    batch.alter_column("name", type_=sa.String(300))',
    )
    found = {kind for _, kind in kinds(rehearsed(made))}
    assert ("cascade" not in found) is is_kept
    assert ("no_effect" not in found) is is_kept


@pytest.mark.parametrize("schema", ["", 'version_table_schema="main", '])
def test_an_env_py_that_saves_nothing_is_found(made: Project, schema: str) -> None:
    """A statement before Alembic's transaction begins one that nobody commits: no upgrade."""
    made.edit_env("        context.configure(", f"        context.configure({schema}")
    made.edit_env(
        "        context.configure(",
        '        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")\n'
        "        context.configure(",
    )
    made.revision("second", "first", 'op.execute("UPDATE entry SET mood = 1")')
    report = rehearsed(made)
    assert kinds(report) == [("error", "not_saved")]
    sentence = one(report, "not_saved").sentence
    assert "the data is at first, and should be at second" in sentence
    assert "does not save" in report.verdict
    made.edit_env(
        'exec_driver_sql("PRAGMA foreign_keys = OFF")\n',
        'exec_driver_sql("PRAGMA foreign_keys = OFF")\n        connection.commit()\n',
    )
    assert kinds(rehearsed(made)) == [("notice", "values_changed")]


def test_a_version_table_elsewhere_is_not_looked_for(tmp_path: Path) -> None:
    """Where the version table is in an attached database, nothing is said of what was saved."""
    made = Project(tmp_path / "project", "none")
    run_sql(made.database, "CREATE TABLE entry (id INTEGER PRIMARY KEY)")
    made.edit_env(
        "        context.configure(",
        """        connection.exec_driver_sql("ATTACH ':memory:' AS versions")
        connection.commit()
        context.configure(version_table_schema="versions",""",
    )
    made.revision("first", None, 'op.add_column("entry", sa.Column("mood", sa.Integer))')
    report = rehearsed(made)
    assert (len(report.steps), report.findings) == (1, ())


def test_a_switch_inside_a_transaction_is_said(made: Project) -> None:
    """Foreign keys that stay on, because a PRAGMA came too late: a warning names the step."""
    with_foreign_keys(made)
    made.revision(
        "second",
        "first",
        'op.execute("UPDATE entry SET mood = 1")\nop.execute("PRAGMA foreign_keys = OFF")',
    )
    made.revision("third", "second", 'op.execute("PRAGMA foreign_keys = OFF")')
    report = rehearsed(made)
    assert one(report, "no_effect").sentence == (
        "Step second runs 'PRAGMA foreign_keys = OFF' inside a transaction, where SQLite ignores "
        "it: foreign keys stay on."
    )
    assert report.verdict.endswith("Values changed: see the notes. Read the warning first.")


def test_deleted_rows_are_no_cascade(made: Project) -> None:
    """Rows that a statement of the migration deletes are lost, and not called a cascade."""
    made.revision("second", "first", 'op.execute("DELETE FROM entry WHERE id > 1")')
    report = rehearsed(made)
    assert kinds(report) == [("loss", "rows_lost")]
    assert one(report, "rows_lost").sentence == "Table entry loses 2 rows of 3."


@pytest.mark.parametrize(
    "statement",
    [
        "-- old ones\nDELETE FROM entry WHERE id > 1",
        "/* old ones */ DELETE FROM entry WHERE id > 1",
        "DELETE /* the old ones -- not all */ FROM entry WHERE id > 1",
        "\n  -- one\n  -- two\n  DELETE FROM entry -- WHERE id = 1\n WHERE id > 1",
    ],
)
def test_a_comment_hides_no_statement(made: Project, statement: str) -> None:
    """What a migration deletes under a comment was deleted by it, and by no trigger."""
    made.revision("second", "first", f"op.execute({statement!r})")
    assert one(rehearsed(made), "rows_lost").sentence == "Table entry loses 2 rows of 3."


def test_what_looks_like_a_comment_in_a_name_or_text_is_none(made: Project) -> None:
    """Dashes in a name and in a text are part of the statement."""
    run_sql(made.database, 'CREATE TABLE "a--b" (id INTEGER PRIMARY KEY)')
    run_sql(made.database, 'INSERT INTO "a--b" VALUES (1), (2)')
    made.revision("second", "first", "op.execute('DELETE FROM \"a--b\" WHERE id = 1')")
    assert one(rehearsed(made), "rows_lost").sentence == "Table a--b loses 1 row of 2."


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DROP TABLE note_fts", "Virtual table note_fts is dropped, with all that was in it."),
        (
            "DELETE FROM note_fts WHERE rowid = 1",
            "In virtual table note_fts, table note_fts_content loses 1 row of 2.",
        ),
        (
            "UPDATE note_fts SET body = 'xyz' WHERE rowid = 1",
            "What virtual table note_fts stores changed.",
        ),
    ],
)
def test_a_full_text_index_is_one_thing(made: Project, statement: str, found: str) -> None:
    """It is named, with the worst that is found, and not each table in which it keeps its data."""
    run_sql(
        made.database,
        "CREATE VIRTUAL TABLE note_fts USING fts5(body)",
        "INSERT INTO note_fts (body) VALUES ('a b'), ('c d')",
    )
    made.revision("second", "first", f"op.execute({statement!r})")
    (finding,) = rehearsed(made).findings
    assert (finding.table, finding.sentence) == ("note_fts", found)


def test_a_table_with_a_name_like_that_of_an_index_is_no_part_of_it(made: Project) -> None:
    """What only begins as the index does is named by itself, and its loss is said."""
    run_sql(
        made.database,
        "CREATE VIRTUAL TABLE note_fts USING fts5(body)",
        "CREATE TABLE note_fts_archive (id INTEGER PRIMARY KEY)",
        "INSERT INTO note_fts_archive VALUES (1), (2)",
    )
    made.revision(
        "second", "first", 'op.execute("DROP TABLE note_fts")\nop.drop_table("note_fts_archive")'
    )
    assert sorted(found.sentence for found in rehearsed(made).findings) == [
        "Table note_fts_archive is dropped, with its 2 rows.",
        "Virtual table note_fts is dropped, with all that was in it.",
    ]


def test_a_module_that_only_the_application_loads_is_not_needed(made: Project) -> None:
    """The rest is rehearsed, where a virtual table's module is an extension that is not loaded."""
    run_sql(
        made.database,
        "PRAGMA writable_schema = ON",
        "INSERT INTO sqlite_master (type, name, tbl_name, rootpage, sql) VALUES ('table', 'near',"
        " 'near', 0, 'CREATE VIRTUAL TABLE near USING vec0 (place float[4])')",
        "CREATE TABLE near_chunks (id INTEGER PRIMARY KEY, data BLOB)",
        "INSERT INTO near_chunks (data) VALUES ('a'), ('b')",
    )
    made.revision("second", "first", 'op.execute("DELETE FROM near_chunks WHERE id = 1")')
    assert [found.sentence for found in rehearsed(made).findings] == [
        "Table near_chunks loses 1 row of 2."
    ]


def test_truncated_values_are_found(made: Project) -> None:
    """A migration that shortens values: which column, and how many of them."""
    made.revision("second", "first", 'op.execute("UPDATE person SET name = substr(name, 1, 5)")')
    report = rehearsed(made)
    assert kinds(report) == [("loss", "values_shortened")]
    assert one(report, "values_shortened").sentence == (
        "2 values of person.name became shorter (where id is 1: from a length of 12 to 5)."
    )


def test_a_key_that_may_be_private_is_not_shown(made: Project) -> None:
    """An example has no words out of the data, also none of a key."""
    run_sql(
        made.database,
        "CREATE TABLE account (email TEXT PRIMARY KEY, about TEXT)",
        "INSERT INTO account VALUES ('ada@example.org', 'mathematics')",
    )
    made.revision("second", "first", "op.execute(\"UPDATE account SET about = 'x'\")")
    assert one(rehearsed(made), "values_shortened").sentence == (
        "1 value of account.about became shorter (in one of them: from a length of 11 to 1)."
    )


def test_values_that_become_null_are_found(made: Project) -> None:
    """A migration after which values are NULL: which column, and how many."""
    made.revision("second", "first", 'op.execute("UPDATE entry SET mood = NULL WHERE id = 3")')
    report = rehearsed(made)
    assert one(report, "values_lost").sentence == (
        "Column entry.mood loses 1 value of 2: they are NULL now."
    )
    assert (one(report, "values_lost").table, one(report, "values_lost").column) == (
        "entry",
        "mood",
    )


def test_what_is_dropped_is_counted(made: Project) -> None:
    """A column and a table that are dropped: with how many values and rows."""
    made.revision("second", "first", 'op.drop_column("entry", "mood")\nop.drop_table("person")')
    report = rehearsed(made)
    assert one(report, "column_dropped").sentence == (
        "Column entry.mood is dropped, with its 2 values."
    )
    assert one(report, "table_dropped").sentence == ("Table person is dropped, with its 2 rows.")


def test_what_is_renamed_is_not_lost(made: Project) -> None:
    """A column and a table under new names, with all their values, are a note and no loss."""
    made.revision(
        "second",
        "first",
        'op.rename_table("person", "human")\n'
        'op.execute("ALTER TABLE entry RENAME COLUMN text TO body")',
    )
    report = rehearsed(made)
    assert kinds(report) == [("notice", "renamed"), ("notice", "renamed")]
    assert report.ok


def test_a_new_name_in_another_case_is_no_loss(made: Project) -> None:
    """SQLite takes both names for one; what goes at the same time is found."""
    rename = 'op.rename_table("entry", "passing")\nop.rename_table("passing", "Entry")'
    made.revision("second", "first", rename)
    report = rehearsed(made)
    assert one(report, "renamed").sentence == "Table entry is renamed to Entry."
    assert report.ok
    made.revision("second", "first", f"{rename}\nop.execute('DELETE FROM Entry WHERE id = 1')")
    assert one(rehearsed(made), "rows_lost").sentence == "Table entry loses 1 row of 3."


def test_a_rename_after_thousands_of_updates_is_seen(made: Project) -> None:
    """Statements that differ in their values do not push out one that tells of a new name."""
    made.revision(
        "second",
        "first",
        "for number in range(2100):\n"
        '    op.execute(f"UPDATE entry SET mood = {number} WHERE id = 1")\n'
        "op.execute(\"UPDATE entry SET text = text || '!'\")\n"
        'op.rename_table("entry", "diary")',
    )
    assert one(rehearsed(made), "renamed").sentence == "Table entry is renamed to diary."


def test_numbers_in_the_place_of_text_are_no_loss(made: Project) -> None:
    """A column that changes its type has no characters any more, and all its values."""
    made.revision("before", "first", "op.execute(\"UPDATE person SET name = '12345'\")")
    made.upgrade("before")
    made.revision(
        "second",
        "before",
        'with op.batch_alter_table("person") as batch:\n'
        '    batch.alter_column("name", type_=sa.Integer)',
    )
    report = rehearsed(made)
    assert kinds(report) == [("notice", "values_changed")]
    assert report.ok


LOST_AFTER_RENAME = {
    "rows of a table": ["ALTER TABLE entry RENAME TO note", "DELETE FROM note"],
    "a row of a table": ["ALTER TABLE entry RENAME TO note", "DELETE FROM note WHERE id = 1"],
    "values of a table": [
        "ALTER TABLE entry RENAME TO note",
        "UPDATE note SET text = substr(text, 1, 1)",
    ],
    "a column of a table": [
        "ALTER TABLE entry RENAME TO note",
        "ALTER TABLE note DROP COLUMN text",
    ],
    "values of a column": [
        "ALTER TABLE entry RENAME COLUMN text TO body",
        "UPDATE entry SET body = ''",
    ],
    "a column that is made anew": [
        "ALTER TABLE person DROP COLUMN lang",
        "ALTER TABLE person ADD COLUMN lang TEXT DEFAULT 'unknown'",
    ],
    "a column that another only adds up to": [
        "ALTER TABLE person ADD COLUMN unit TEXT NOT NULL DEFAULT 'kg'",
        "ALTER TABLE person DROP COLUMN lang",
    ],
    "a table that another only adds up to": [
        "CREATE TABLE audit (a, b)",
        "INSERT INTO audit VALUES (2, 'x'), (1, 'y')",
        "DROP TABLE place",
    ],
    "the data of a batch operation that failed": ["DROP TABLE _alembic_tmp_place"],
}


@pytest.mark.parametrize("what", LOST_AFTER_RENAME)
def test_what_is_lost_under_a_new_name_is_lost(made: Project, what: str) -> None:
    """A rename hides nothing, and columns that only add up to the same are no rename."""
    run_sql(
        made.database,
        "ALTER TABLE person ADD COLUMN lang TEXT",
        "UPDATE person SET lang = 'en'",
        "CREATE TABLE place (a, b)",
        "INSERT INTO place VALUES (1, 'x'), (2, 'y')",
        "CREATE TABLE _alembic_tmp_place AS SELECT * FROM place",
    )
    statements = LOST_AFTER_RENAME[what]
    made.revision("second", "first", "\n".join(f"op.execute({text!r})" for text in statements))
    report = rehearsed(made)
    losses = [finding for finding in report.findings if finding.severity == "loss"]
    assert losses, report.findings
    with pytest.raises(DataLossError):
        report.require_ok()


LESS_EXACT = {
    "leading zeros": ("'00001'", "CAST(a AS INTEGER)"),
    "a house number": ("'12 Main Street'", "CAST(a AS INTEGER)"),
    "words": ("'a long text'", "CAST(a AS INTEGER)"),
    "more digits than a number has": ("'12345678901234567890123'", "CAST(a AS REAL)"),
    "a fraction": ("1.5", "CAST(a AS INTEGER)"),
    "cents": ("19.99", "round(a)"),
    "a large integer": ("9007199254740993", "CAST(a AS REAL)"),
}
AS_EXACT = {
    "a number that was text": ("'1.50'", "CAST(a AS REAL)"),
    "cents of euros": ("19.99", "CAST(round(a * 100) AS INTEGER)"),
    "a word that has a number": ("'good'", "CASE WHEN id = 1 THEN 5 ELSE 0 END"),
    "another price": ("19.99", "a * 1.1"),
    "a float of the same value": ("5", "CAST(a AS REAL)"),
}


@pytest.mark.parametrize("what", [*LESS_EXACT, *AS_EXACT])
def test_a_number_that_says_less_is_a_loss(made: Project, what: str) -> None:
    """Rounded, or made of a text that had more in it; what somebody computed is no loss."""
    value, expression = (LESS_EXACT | AS_EXACT)[what]
    run_sql(
        made.database,
        "CREATE TABLE thing (id INTEGER PRIMARY KEY, a)",
        f"INSERT INTO thing (a) VALUES ({value}), ({value})",
    )
    made.revision("second", "first", f'op.execute("UPDATE thing SET a = {expression}")')
    report = rehearsed(made)
    expected = ("loss", "values_rounded") if what in LESS_EXACT else ("notice", "values_changed")
    assert kinds(report) == [expected]


@pytest.mark.parametrize(
    ("values", "less"),
    [
        ("(1.5), (2.5)", "2 values of thing.a became less exact: numbers were rounded."),
        ("(1.5), (2)", "1 value of thing.a became less exact: a number was rounded."),
        (
            "('007'), ('12 Main Street')",
            "2 values of thing.a became less exact: text became a number, and had more in it, such "
            "as leading zeros or words behind the number.",
        ),
    ],
)
def test_what_a_number_lost_is_said_by_what_was_there(
    made: Project, values: str, less: str
) -> None:
    """Of a column of numbers nobody speaks of leading zeros."""
    run_sql(
        made.database,
        "CREATE TABLE thing (id INTEGER PRIMARY KEY, a)",
        f"INSERT INTO thing (a) VALUES {values}",
    )
    made.revision("second", "first", 'op.execute("UPDATE thing SET a = CAST(a AS INTEGER)")')
    assert one(rehearsed(made), "values_rounded").sentence == less


UNMATCHED = {
    "another key": (
        "CREATE TABLE thing (id INTEGER PRIMARY KEY, a)",
        "CREATE TABLE new (id INTEGER, a, PRIMARY KEY (id, a))",
        "INSERT INTO new SELECT * FROM thing {}",
    ),
    "a key at last": (
        "CREATE TABLE thing (id, a)",
        "CREATE TABLE new (id INTEGER PRIMARY KEY, a)",
        "INSERT INTO new SELECT * FROM thing {}",
    ),
    "no key": (
        "CREATE TABLE thing (id, a)",
        "CREATE TABLE new (id, a)",
        "INSERT INTO new SELECT * FROM thing {}",
    ),
}


@pytest.mark.parametrize("loses", [True, False])
@pytest.mark.parametrize("what", UNMATCHED)
def test_rows_that_nothing_matches_are_there_or_lost(made: Project, what: str, loses: bool) -> None:
    """In a table that was created anew, a new row does not make up for one that is gone."""
    table, new, copied = UNMATCHED[what]
    rows = "(1, 'one'), (2, 'two'), (3, 'six')"
    run_sql(made.database, table, f"INSERT INTO thing VALUES {rows}")
    statements = [
        new,
        copied.format("WHERE id <> 2" if loses else ""),
        "INSERT INTO new VALUES (2, 'ten')" if loses else "SELECT 1",
        "DROP TABLE thing",
        "ALTER TABLE new RENAME TO thing",
    ]
    made.revision("second", "first", "\n".join(f"op.execute({text!r})" for text in statements))
    report = rehearsed(made)
    assert kinds(report) == ([("loss", "rows_not_found")] if loses else [])
    assert report.loses_data is loses


RENAMED = {
    "a table, without a statement": [
        "CREATE TABLE note (id INTEGER PRIMARY KEY, person_id INTEGER, text TEXT, mood INTEGER)",
        "INSERT INTO note SELECT id, person_id, text, mood FROM entry",
        "DROP TABLE entry",
    ],
    "a column, without a statement": [
        "ALTER TABLE entry ADD COLUMN body TEXT",
        "UPDATE entry SET body = text",
        "ALTER TABLE entry DROP COLUMN text",
    ],
    "a table, twice, and its column": [
        "ALTER TABLE entry RENAME TO note",
        "ALTER TABLE note RENAME COLUMN text TO body",
        "ALTER TABLE note RENAME TO page",
    ],
    "with views and triggers on it": [
        "CREATE VIEW moods AS SELECT mood FROM entry",
        "CREATE TRIGGER t AFTER DELETE ON entry BEGIN DELETE FROM person WHERE 0; END",
        "ALTER TABLE entry RENAME TO note",
        "ALTER TABLE note RENAME COLUMN text TO body",
    ],
}


@pytest.mark.parametrize("how", RENAMED)
def test_what_has_all_its_values_under_a_new_name_is_no_loss(made: Project, how: str) -> None:
    """Row by row it is the same; whether a statement says so or not."""
    made.revision("second", "first", "\n".join(f"op.execute({text!r})" for text in RENAMED[how]))
    report = rehearsed(made)
    assert {one.kind for one in report.findings} == {"renamed"}, report.findings
    assert report.ok


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (
            [
                "DELETE FROM entry WHERE id = 1",
                "INSERT INTO entry (person_id, text) VALUES (1, 'a')",
            ],
            [
                (
                    "loss",
                    "rows_lost",
                    "Table entry loses 1 row of 3, and gets 1 that it did not have.",
                )
            ],
        ),
        (
            [
                "UPDATE person SET name = 'x' WHERE id = 1",
                "UPDATE person SET name = name || ' the great' WHERE id = 2",
            ],
            [
                (
                    "loss",
                    "values_shortened",
                    "1 value of person.name became shorter (where id is 1: from a length of 12 "
                    "to 1).",
                ),
                ("notice", "values_changed", "1 value of person.name changed."),
            ],
        ),
        (
            ["UPDATE entry SET mood = NULL WHERE id = 1", "UPDATE entry SET mood = 1 WHERE id = 2"],
            [
                ("loss", "values_lost", "Column entry.mood loses 1 value of 2: they are NULL now."),
                ("notice", "values_changed", "1 value of entry.mood changed."),
            ],
        ),
        (
            ["UPDATE entry SET mood = 0"],
            [("notice", "values_changed", "3 values of entry.mood changed.")],
        ),
    ],
    ids=["rows", "text", "NULL", "numbers"],
)
def test_a_loss_that_a_gain_makes_up_for_is_found(
    made: Project, statements: list[str], found: list[tuple[str, str, str]]
) -> None:
    """Rows are compared with themselves: that there are as many as before proves nothing."""
    made.revision("second", "first", "\n".join(f"op.execute({text!r})" for text in statements))
    report = rehearsed(made)
    assert [(one.severity, one.kind, one.sentence) for one in report.findings] == found


def test_a_reference_that_breaks_is_found(made: Project) -> None:
    """Rows that refer to nothing afterwards; those that did before are not told of."""
    run_sql(made.database, "INSERT INTO entry (person_id, text) VALUES (99, 'orphan')")
    made.revision("second", "first", 'op.execute("UPDATE person SET name = upper(name)")')
    assert kinds(rehearsed(made)) == [("notice", "values_changed")]
    made.revision("second", "first", 'op.execute("UPDATE entry SET person_id = 77 WHERE id = 1")')
    report = rehearsed(made)
    assert kinds(report) == [("error", "reference"), ("notice", "values_changed")]
    assert (
        "2 row(s) of table entry refer to rows of person that do not exist, by person_id"
        in report.findings[0].sentence
    )
    with pytest.raises(RehearsalFailedError):
        report.require_ok()


def test_a_constraint_that_rows_break_is_found(made: Project) -> None:
    """A constraint that a migration adds past SQLite's checks, and that rows break."""
    made.revision(
        "second",
        "first",
        'op.execute("PRAGMA ignore_check_constraints = ON")\n'
        'with op.batch_alter_table("entry") as batch:\n'
        '    batch.create_check_constraint("short", "length(text) < 4")',
    )
    report = rehearsed(made)
    assert ("error", "constraint") in kinds(report)


def test_a_slow_step_is_seen(made: Project) -> None:
    """A step that holds the lock of writers: so long others would wait."""
    made.revision("second", "first", 'op.execute("UPDATE entry SET mood = 1")\ntime.sleep(0.3)')
    report = rehearsed(made)
    (step,) = report.steps
    assert step.locked_seconds is not None
    assert 0.3 <= step.locked_seconds < 5
    assert report.writers_wait_seconds is not None
    assert report.writers_wait_seconds >= step.locked_seconds


def test_a_wait_that_writers_give_up_is_a_warning(made: Project) -> None:
    """A lock held for longer than Python's connections wait: a warning, also in the verdict."""
    # The time itself is what is measured: longer than the 5 s of a connection's default.
    made.revision("second", "first", 'op.execute("UPDATE entry SET mood = 1")\ntime.sleep(5.1)')
    report = rehearsed(made)
    assert "gives up after 5 s with 'database is locked'" in one(report, "writers_wait").sentence
    assert report.ok
    assert report.verdict.endswith("Read the warning first.")
    assert '<p class="verdict warned">' in rehearsal_page(report)


def test_a_pause_without_a_lock_is_no_wait(made: Project) -> None:
    """A step that takes long and only reads meanwhile would keep nobody waiting."""
    made.revision(
        "second",
        "first",
        "connection = op.get_bind()\n"
        'connection.exec_driver_sql("BEGIN")\n'
        'connection.exec_driver_sql("SELECT count(*) FROM entry").all()\n'
        "time.sleep(1)",
    )
    (step,) = rehearsed(made).steps
    assert step.seconds is not None
    assert step.seconds >= 1
    assert step.locked_seconds is not None
    assert step.locked_seconds < 0.9


def test_the_models_are_compared(made: Project) -> None:
    """What 'alembic check' would still find is a note; with equal models there is none."""
    models = (
        "import sqlalchemy as sa\n"
        "target_metadata = sa.MetaData()\n"
        'sa.Table("person", target_metadata, sa.Column("id", sa.Integer, primary_key=True),\n'
        '         sa.Column("name", sa.String(200)))\n'
        'sa.Table("entry", target_metadata, sa.Column("id", sa.Integer, primary_key=True),\n'
        '         sa.Column("person_id", sa.Integer,\n'
        '                   sa.ForeignKey("person.id", ondelete="CASCADE")),\n'
        '         sa.Column("text", sa.Text, nullable=False), sa.Column("mood", sa.Integer))\n'
    )
    made.edit_env("target_metadata = None\n", models)
    made.revision("second", "first", "pass")
    assert rehearsed(made).findings == ()
    made.edit_env('sa.Column("mood", sa.Integer))\n', 'sa.Column("wind", sa.Integer))\n')
    report = rehearsed(made)
    assert kinds(report) == [("notice", "models_differ")]
    sentence = report.findings[0].sentence
    assert sentence.startswith("After the upgrade, the database is not as the models describe it: ")
    assert "wind" in sentence
    assert report.ok


def test_a_round_trip_compares_the_data(made: Project) -> None:
    """Down again: the data is compared with what it was, row by row."""
    made.revision(
        "second",
        "first",
        'op.add_column("entry", sa.Column("note", sa.Text))',
        'op.drop_column("entry", "note")',
    )
    report = rehearsed(made, round_trip=True)
    assert report.ok
    assert report.verdict.endswith("After the way back, all data is as it was.")
    assert [step.direction for step in report.steps] == ["upgrade", "downgrade"]
    made.revision("second", "first", 'op.execute("UPDATE person SET name = upper(name)")', "pass")
    report = rehearsed(made, round_trip=True)
    assert one(report, "round_trip").sentence == (
        "The data does not survive the way back: in person, 2 rows changed."
    )
    with pytest.raises(DataLossError):
        report.require_ok()


def test_a_way_back_that_fails_is_said(made: Project) -> None:
    """A downgrade that fails is found by a round trip alone."""
    made.revision("second", "first", "pass", "raise NotImplementedError('no way back')")
    assert rehearsed(made).ok
    report = rehearsed(made, round_trip=True)
    sentence = one(report, "round_trip").sentence
    assert sentence.startswith(
        "On the way back: Step second fails: NotImplementedError: no way back"
    )


def test_a_backup_can_be_rehearsed_on(made: Project) -> None:
    """The data of a backup, not that of the live database, is what is migrated."""
    manager = manager_of(made)
    manager.create("with three")
    run_sql(made.database, "DELETE FROM entry WHERE id = 1")
    made.revision("second", "first", 'op.execute("DELETE FROM entry")')
    report = rehearsed(made, manager=manager, on="latest")
    assert report.backup.startswith("soulsense_backup_")
    assert one(report, "rows_lost").sentence == "Table entry loses all its 3 rows."
    assert one(rehearsed(made, manager=manager), "rows_lost").sentence.endswith("all its 2 rows.")


def test_the_catalog_is_none_of_the_tables(made: Project) -> None:
    """The table of the backups is no table of the application's."""
    manager = manager_of(made)
    manager.create()
    made.revision("second", "first", 'op.execute("DELETE FROM backups")')
    report = rehearsed(made, manager=manager)
    assert report.findings == ()
    assert {table.table for table in report.databases[0].tables} == {"entry", "person"}


def test_a_change_from_outside_is_said(made: Project) -> None:
    """Somebody writes to the live database meanwhile: the report says so."""
    made.revision(
        "second",
        "first",
        "import subprocess, sys\n"
        'subprocess.run([sys.executable, "-c", "import sqlite3; '
        f"c = sqlite3.connect('{made.database}'); c.execute('DELETE FROM entry'); "
        'c.commit()"], check=True)',
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        report = rehearse(made.config(), manager=manager_of(made))
    assert not report.live_unchanged
    assert ("warning", "live_changed") in kinds(report)
    assert "not touched" not in report.verdict


def test_the_database_is_found_by_the_configuration(made: Project) -> None:
    """Without a manager, the database is the one that env.py configures."""
    made.revision("second", "first", 'op.execute("DELETE FROM entry")')
    report = rehearsed(made, manager=None)
    assert report.databases[0].path == made.database
    assert one(report, "rows_lost")


def test_the_report_is_plain_values(made: Project) -> None:
    """What to_json returns is JSON, with verdict and exit code."""
    made.revision("second", "first", 'op.execute("DELETE FROM entry")')
    found = json.loads(json.dumps(rehearsed(made).to_json()))
    assert (found["ok"], found["loses_data"], found["exit_code"]) == (False, True, 77)
    assert found["findings"][0]["kind"] == "rows_lost"


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_a_timeout_is_a_time(made: Project, timeout: float) -> None:
    """A timeout that is no time is refused at once."""
    with pytest.raises(OptionError, match="no time limit"):
        rehearsed(made, timeout=timeout)


def test_arguments_for_env_py_reach_it(made: Project) -> None:
    """What alembic -x gives, and what a program sets in the configuration, is there."""
    made.revision(
        "second",
        "first",
        "arguments = context.get_x_argument(as_dictionary=True)\n"
        "assert arguments == {'tenant': 'one'}, arguments\n"
        "assert context.config.get_main_option('own') == 'value %'\n"
        "assert context.config.attributes == {'plain': 1}, context.config.attributes",
    )
    config = made.config()
    from argparse import Namespace

    config.cmd_opts = Namespace(x=["tenant=one"])
    config.set_main_option("own", "value %%")
    config.attributes.update(plain=1, connection=object())
    with untouched(made.folder):
        report = rehearse(config, manager=manager_of(made))
    assert report.error == ""


def test_a_database_in_memory_cannot_be_rehearsed(made: Project) -> None:
    """There is no file to copy: a clear error."""
    with pytest.raises(Exception, match="in memory"):
        rehearse(made.config(), manager=BackupManager.from_url("sqlite://", made.folder / "b"))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (None, "Nothing would put the data back."),
        ("soulsense_backup = true", "the real run would put the backup back"),
        ("soulsense_backup = true\nsoulsense_on_failure = keep", "would leave it so"),
    ],
)
@needs_plugins
def test_what_becomes_of_a_real_run_that_fails(
    tmp_path: Path, option: str | None, said: str
) -> None:
    """Beside what a failure leaves, it is said whether a backup would be put back, and by what."""
    made = project(tmp_path / "project")
    made.revision("second", "first", HALF_WAY)
    if option:
        made.set_option(*option.split(" = ", 1))
    sentence = one(rehearsed(made), "way_back").sentence
    assert said in sentence
    assert sentence.endswith("Correct the migration, and rehearse it again.")


@pytest.mark.parametrize("ending", ["os._exit(3)", "os.kill(os.getpid(), signal.SIGKILL)"])
@needs_plugins
def test_what_becomes_of_a_real_run_that_is_ended_at_once(tmp_path: Path, ending: str) -> None:
    """Nothing puts the backup back then, and it is said how a person does."""
    made = project(tmp_path / "project")
    made.set_option("soulsense_backup", "true")
    made.revision("second", "first", HALF_WAY.replace('op.execute("OH NO")', ending))
    sentence = one(rehearsed(made), "way_back").sentence
    assert "cannot put it back" in sentence
    assert "would put the backup back" not in sentence


@needs_plugins
def test_a_signal_that_ends_a_real_run_in_order(tmp_path: Path) -> None:
    """SIGTERM ends a migration as an error does: the backup would be put back."""
    made = project(tmp_path / "project")
    made.set_option("soulsense_backup", "true")
    ending = "os.kill(os.getpid(), signal.SIGTERM)"
    made.revision("second", "first", HALF_WAY.replace('op.execute("OH NO")', ending))
    assert "would put the backup back" in one(rehearsed(made), "way_back").sentence


def test_the_line_in_env_py_puts_it_back(tmp_path: Path) -> None:
    """The other door is known as well; where nothing was left, nothing is said of it."""
    made = Project(tmp_path / "project", "env.py")
    made.revision("first", None, TABLES)
    made.upgrade("first")
    made.revision("second", "first", HALF_WAY)
    assert "would put the backup back" in one(rehearsed(made), "way_back").sentence
    assert "way_back" not in {found.kind for found in rehearsed(made, "nosuch").findings}


def test_each_broken_reference_is_named(tmp_path: Path) -> None:
    """A table with two foreign keys: which column refers to rows of which table."""
    made = project(tmp_path / "project")
    made.revision(
        "second",
        "first",
        """
        op.execute("CREATE TABLE link (a INTEGER REFERENCES person, b INTEGER, c INTEGER, "
                   "FOREIGN KEY (b) REFERENCES entry (id))")
        op.execute("INSERT INTO link VALUES (77, 1, 1), (1, 88, 1), (1, 89, 1)")
        """,
    )
    found = [finding.sentence for finding in rehearsed(made).findings]
    assert found == [
        "After the migration, 2 row(s) of table link refer to rows of entry that do not exist, "
        "by b.",
        "After the migration, 1 row(s) of table link refer to rows of person that do not exist, "
        "by a.",
    ]
