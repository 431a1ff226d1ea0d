"""Lock all tables of some schemas, in a session of ``psql``: all at once, or none is kept.

Whoever waits for a lock that we wait for is let through before the server looks for a deadlock
(``deadlock_timeout``, a second by default).
"""

from __future__ import annotations

from soulsense_db.drivers.postgresql import autovacuum

NOT_FREE = "RAISE lock_not_available USING MESSAGE = 'canceling statement due to lock timeout'"
"""As the server says it when a lock is not free, whatever its language is."""
_ATTEMPT = "150ms"
_GAVE_UP = "soulsense_db.gave_up"  # a setting, which the end of the transaction takes back
_LOCK = """DO $$
DECLARE
    wanted text;
    deadline timestamptz := clock_timestamp() + interval '{seconds:.3f} s';
BEGIN
    LOOP
        SELECT string_agg(format('ONLY %I.%I', n.nspname, c.relname), ', ') INTO wanted
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p') AND n.oid IN ({schemas});
        BEGIN
            IF wanted IS NOT NULL THEN
                EXECUTE 'LOCK TABLE ' || wanted || ' IN {mode} MODE';
            END IF;
            {then}
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected OR undefined_table
                OR undefined_object THEN
            IF clock_timestamp() > deadline THEN
                {gives_up}
            END IF;
            {end_autovacuum}
            PERFORM set_config('lock_timeout', '{attempt}', true), pg_sleep(0.02);
        END;
    END LOOP;
END $$"""


def statements(
    mode: str, schemas: str, then: str, *, seconds: float, raises: bool, drops: bool
) -> tuple[str, ...]:
    """Return the statements, the last of which has one row: ``f``, or ``t`` when they gave up.

    ``schemas``: the query for their numbers; ``then``: what is done so long as all is locked;
    ``raises``: whether giving up, after ``seconds``, is an error; ``drops``: whether ``then`` does.
    """
    lock = _LOCK.format(
        mode=mode,
        schemas=schemas,
        seconds=seconds,
        then=then,
        attempt=_ATTEMPT,
        gives_up=f"{NOT_FREE};"
        if raises
        else f"PERFORM set_config('{_GAVE_UP}', 't', true); EXIT;",
        end_autovacuum=autovacuum.statements(schemas, drops=drops),
    )
    return (
        f"SET LOCAL lock_timeout = '{_ATTEMPT}'",
        f"SET LOCAL {_GAVE_UP} = 'f'",
        lock,
        "SET LOCAL lock_timeout = 0",
        f"SHOW {_GAVE_UP}",
    )
