"""Have the server end an autovacuum that is in the way of a lock.

It does so for whoever has waited for ``deadlock_timeout``, a second by default: with the short
attempts by which we keep others from waiting, never. So we wait for a lock that an autovacuum alone
is in the way of, and that is in the way of nobody who reads or writes.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from soulsense_db.drivers.postgresql.statements import OF_USERS, execute

# A process without a user is the server's own.
_VACUUMED = """SELECT DISTINCT format('{statement}', n.nspname, c.relname)
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        JOIN pg_class c ON c.{relation} = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'ShareUpdateExclusiveLock'
        AND a.usesysid IS NULL AND c.relkind IN ({kinds}) AND c.relnamespace IN ({{schemas}})"""
_TABLES = _VACUUMED.format(
    statement="LOCK TABLE ONLY %I.%I IN SHARE UPDATE EXCLUSIVE MODE",
    relation="oid",
    kinds="'r', 'p'",
)
# No statement locks what belongs to a table, or a materialized view: to take a setting of it back,
# which it mostly has not, waits for the same lock, and only its owner may.
_BELONGINGS = " UNION ALL ".join(
    _VACUUMED.format(
        statement=f"ALTER TABLE ONLY %I.%I RESET ({setting})", relation=relation, kinds=kinds
    )
    for setting, relation, kinds in (
        ("toast.autovacuum_enabled", "reltoastrelid", "'r', 'm'"),
        ("autovacuum_enabled", "oid", "'m'"),
    )
)
# Within a transaction, a process that has begun since the first look would not be seen.
_STATEMENTS = """PERFORM pg_catalog.pg_stat_clear_snapshot();
FOR wanted IN {wanted}
LOOP
    BEGIN
        PERFORM set_config('lock_timeout', (1000 + 1000 * extract(epoch FROM
            current_setting('deadlock_timeout')::interval))::int::text, true);
        EXECUTE wanted;
        RAISE lock_not_available;  -- it is not kept
    EXCEPTION WHEN lock_not_available OR deadlock_detected OR undefined_table THEN NULL;
    END;
END LOOP;"""


def statements(schemas: str, *, drops: bool) -> str:
    """Return statements of PL/pgSQL, with a variable ``wanted``; ``lock_timeout`` is changed.

    ``schemas``: the query for the numbers of those whose tables are to be locked; ``drops``: they
    are dropped as well, with all that belongs to them.
    """
    wanted = f"{_TABLES} UNION ALL {_BELONGINGS}" if drops else _TABLES
    return _STATEMENTS.format(wanted=wanted.format(schemas=schemas))


_ALL = f"SELECT n.oid FROM pg_namespace n WHERE {OF_USERS}"  # noqa: S608 - a constant
_BLOCK = f"DO $$ DECLARE wanted text; BEGIN {statements(_ALL, drops=False)} END $$"


def end_autovacuum(connection: Connection) -> None:
    """End those of all tables of users, in a transaction, or a part of one, that is taken back."""
    execute(connection, _BLOCK)
