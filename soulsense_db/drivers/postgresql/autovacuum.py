"""Have the server end an autovacuum that is in the way of a lock.

It does so for whoever has waited for ``deadlock_timeout``, a second by default: with the short
attempts by which we keep others from waiting, never. So we wait for a lock that an autovacuum alone
is in the way of, and that is in the way of nobody who reads or writes.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from soulsense_db.drivers.postgresql.statements import OF_USERS, execute

# A process without a user is the server's own.
STATEMENTS = """FOR wanted IN SELECT DISTINCT format('%I.%I', n.nspname, c.relname)
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'ShareUpdateExclusiveLock'
        AND a.usesysid IS NULL AND c.relkind IN ('r', 'p') AND c.relnamespace IN ({schemas})
LOOP
    BEGIN
        PERFORM set_config('lock_timeout', (1000 + 1000 * extract(epoch FROM
            current_setting('deadlock_timeout')::interval))::int::text, true);
        EXECUTE 'LOCK TABLE ONLY ' || wanted || ' IN SHARE UPDATE EXCLUSIVE MODE';
        RAISE lock_not_available;  -- it is not kept
    EXCEPTION WHEN lock_not_available OR deadlock_detected OR undefined_table THEN NULL;
    END;
END LOOP;"""
"""Statements of PL/pgSQL, with a variable ``wanted``; ``lock_timeout`` is another one afterwards.

``schemas``: the query for the numbers of those whose tables are to be locked.
"""
_ALL = f"SELECT n.oid FROM pg_namespace n WHERE {OF_USERS}"  # noqa: S608 - a constant
_BLOCK = f"DO $$ DECLARE wanted text; BEGIN {STATEMENTS.format(schemas=_ALL)} END $$"


def end_autovacuum(connection: Connection) -> None:
    """End those of all tables of users, in a transaction, or a part of one, that is taken back."""
    execute(connection, _BLOCK)
