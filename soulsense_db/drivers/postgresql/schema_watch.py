"""See what others commit to the catalogs while all schemas are replaced.

No lock of an ordinary user keeps somebody from making a schema, a function or a view, or from
changing one. So the catalogs are looked at before the safety backup and before the commit: of each
that a dump is made of, how many rows it has and which transactions wrote them. ``VACUUM``,
``ANALYZE`` and what makes an index write their numbers into a row in place, and change neither.
"""

from __future__ import annotations

from soulsense_db.drivers.postgresql.schema_lock import NOT_FREE

# What is temporary is in no dump, and made all the time. What is in a table or another relation is
# left out with it.
_TEMPORARY = "SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_'"
_OF_TEMPORARY = f"SELECT oid FROM pg_class WHERE relnamespace IN ({_TEMPORARY})"  # noqa: S608 - a constant
# By the column that names the schema, or the relation.
_OF_SCHEMAS = {
    "pg_class": "relnamespace",
    "pg_type": "typnamespace",
    "pg_proc": "pronamespace",
    "pg_constraint": "connamespace",
    "pg_collation": "collnamespace",
    "pg_conversion": "connamespace",
    "pg_operator": "oprnamespace",
    "pg_opclass": "opcnamespace",
    "pg_opfamily": "opfnamespace",
    "pg_statistic_ext": "stxnamespace",
    "pg_ts_config": "cfgnamespace",
    "pg_ts_dict": "dictnamespace",
    "pg_ts_parser": "prsnamespace",
    "pg_ts_template": "tmplnamespace",
}
_OF_RELATIONS = {
    "pg_attribute": "attrelid",
    "pg_attrdef": "adrelid",
    "pg_index": "indexrelid",
    "pg_inherits": "inhrelid",
    "pg_policy": "polrelid",
    "pg_rewrite": "ev_class",
    "pg_sequence": "seqrelid",
    "pg_trigger": "tgrelid",
}
_OTHERS = (
    "pg_aggregate",
    "pg_am",
    "pg_amop",
    "pg_amproc",
    "pg_cast",
    "pg_default_acl",
    "pg_description",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_language",
    "pg_largeobject_metadata",
    "pg_partitioned_table",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_range",
    "pg_seclabel",
    "pg_transform",
    "pg_ts_config_map",
)


def _looked_at(catalog: str, condition: str = "true") -> str:
    # A sum does not depend on the order. The number of a transaction has 32 bits, and says little
    # of the next one's without a hash. All that is put in stands in this module.
    return (
        f"SELECT '{catalog} ' || count(*) || ' ' || coalesce(sum(hashint8extended("  # noqa: S608 - ours
        f"xmin::text::bigint, 0)::numeric), 0) FROM pg_catalog.{catalog} WHERE {condition}"
    )


_PARTS = (
    _looked_at("pg_namespace", f"oid NOT IN ({_TEMPORARY})"),
    *(_looked_at(one, f"{column} NOT IN ({_TEMPORARY})") for one, column in _OF_SCHEMAS.items()),
    *(
        _looked_at(one, f"{column} NOT IN ({_OF_TEMPORARY})")
        for one, column in _OF_RELATIONS.items()
    ),
    *(_looked_at(one) for one in _OTHERS),
)
CATALOGS = (
    f"SELECT md5(string_agg(one, ' ' ORDER BY one)) FROM ({' UNION ALL '.join(_PARTS)}) AS s (one)"  # noqa: S608 - ours
)
"""The query of one text, which is another one when somebody has committed to the catalogs."""

# Prepared transactions have no session.
_PREPARED = "SELECT FROM pg_prepared_xacts WHERE database = current_database()"
_IN_DATABASE = "l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())"
# Who has made, or changes, a relation in a schema has locked that until his transaction ends.
_OF_SCHEMA = f"""l.locktype = 'object' AND l.classid = 'pg_namespace'::regclass AND l.granted
    AND {_IN_DATABASE} AND l.pid <> pg_backend_pid() AND l.objid IN """
MAKERS = f"SELECT l.pid FROM pg_locks l WHERE {_OF_SCHEMA} ({{old}})"  # noqa: S608 - ours
"""The query with a row for each who makes a relation in schemas, whose numbers ``old`` finds."""
# A transaction with a number has written something: it may have made a function, which no lock
# tells. Who makes one with a body of ``BEGIN ATOMIC`` has found its schema, and waits for tables of
# the body, before he has a number: only his statement tells, where the user may see it.
_WRITES = "w.locktype = 'transactionid' AND w.granted AND w.mode = 'ExclusiveLock'"
_MAKES_ROUTINE = """NOT w.granted AND a.query ~*
    'create[[:space:]]+(or[[:space:]]+replace[[:space:]]+)?(function|procedure)[[:space:]]'"""
_IS_ANOTHER = "a.datname = current_database() AND w.pid <> pg_backend_pid()"
# What one has written that waits, and has a temporary table, is mostly that.
_WAITS_WITH_TEMPORARY = f"""(EXISTS (SELECT FROM pg_locks l WHERE l.pid = w.pid AND NOT l.granted)
    AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = w.pid
        AND (l.locktype = 'relation' AND l.relation IN ({_OF_TEMPORARY})
            OR {_OF_SCHEMA} ({_TEMPORARY})))
    AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = w.pid AND {_OF_SCHEMA} ({{old}})))"""  # noqa: S608 - ours
WRITING = f"""SELECT w.transactionid FROM pg_locks w JOIN pg_stat_activity a USING (pid)
    WHERE {_WRITES} AND {_IS_ANOTHER}"""  # noqa: S608 - ours
"""The query for the numbers of other transactions of the database that have written something."""
# Within a transaction, sessions are those of the first look at them: who has connected since would
# not be seen.
LOOK_ANEW = "PERFORM pg_catalog.pg_stat_clear_snapshot();"


def _writers(old: str, *, overlooks: bool) -> str:
    """Return the query with a row for each who may have made something that is not seen yet.

    ``overlooks``: not those who wait, and have written to a temporary table. A function of theirs
    would be replaced, and not what they do next; or in no schema, and ``pg_dump`` fails then.
    """
    others = f" AND NOT {_WAITS_WITH_TEMPORARY.format(old=old)}" if overlooks else ""
    return f"""SELECT FROM pg_locks w JOIN pg_stat_activity a USING (pid)
        WHERE {_IS_ANOTHER} AND ({_WRITES}{others} OR {_MAKES_ROUTINE})"""


def waiting(old: str, *, overlooks: bool) -> tuple[str, str]:
    """Return the statements that tell whether such a one waits for us: one row, ``t`` or ``f``."""
    writers = _writers(old, overlooks=overlooks)
    return (
        f"DO $$ BEGIN {LOOK_ANEW} END $$",
        f"SELECT EXISTS ({writers} AND pg_backend_pid() = ANY (pg_blocking_pids(w.pid)))",
    )


def require_no_writers(old: str, *, overlooks: bool) -> str:
    """Return the statement of PL/pgSQL that fails where there is any."""
    writers = _writers(old, overlooks=overlooks)
    return f"{LOOK_ANEW} IF EXISTS ({writers}) OR EXISTS ({_PREPARED}) THEN {NOT_FREE}; END IF;"


# No statement locks a sequence as such: this one keeps its next number and setval() back, and lets
# pg_dump read it. It leaves all as it is. A temporary one is in no schema that is replaced.
LOCK_SEQUENCES = """FOR wanted IN
    SELECT format('%I.%I', n.nspname, c.relname)
        || CASE WHEN s.seqcycle THEN ' CYCLE' ELSE ' NO CYCLE' END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_sequence s ON s.seqrelid = c.oid WHERE n.oid IN ({old})
LOOP
    EXECUTE 'ALTER SEQUENCE ' || wanted;
END LOOP;"""

_INSIDE = " UNION ALL ".join(
    f"SELECT '{catalog}'::regclass, oid FROM pg_catalog.{catalog} WHERE {column} IN ({{old}})"  # noqa: S608 - ours
    for catalog, column in _OF_SCHEMAS.items()
)
_PARTS_OF_RELATIONS = {
    "pg_attrdef": "adrelid",
    "pg_constraint": "conrelid",
    "pg_policy": "polrelid",
    "pg_rewrite": "ev_class",
    "pg_trigger": "tgrelid",
}
_OF_A_RELATION = ", ".join(f"'{one}'::regclass" for one in _PARTS_OF_RELATIONS)
_RELATION_OF = " ".join(
    f"WHEN '{one}'::regclass THEN (SELECT x.{column} FROM pg_catalog.{one} x WHERE x.oid = d.objid)"  # noqa: S608 - ours
    for one, column in _PARTS_OF_RELATIONS.items()
)
DEPENDENTS = f"""WITH inside (class, object) AS ({_INSIDE}),
    dependent (class, object) AS (SELECT DISTINCT d.classid, CASE d.classid {_RELATION_OF}
        ELSE d.objid END FROM pg_depend d JOIN inside i
        ON d.refclassid = i.class AND d.refobjid = i.object)
    SELECT c.oid::regclass::text FROM dependent d JOIN pg_class c ON c.oid = d.object
        WHERE d.class IN ('pg_class'::regclass, {_OF_A_RELATION})
        AND c.relnamespace NOT IN ({{old}}) AND c.relkind NOT IN ('t', 'i', 'I', 'S')
        AND NOT (c.relkind = 'v' AND c.relnamespace IN ({_TEMPORARY}))
    UNION SELECT p.oid::regprocedure::text FROM dependent d JOIN pg_proc p ON p.oid = d.object
        WHERE d.class = 'pg_proc'::regclass AND p.pronamespace NOT IN ({{old}})
    UNION SELECT t.oid::regtype::text FROM dependent d JOIN pg_type t ON t.oid = d.object
        WHERE d.class = 'pg_type'::regclass AND t.typnamespace NOT IN ({{old}})
        AND t.typtype IN ('d', 'r')
    ORDER BY 1"""  # noqa: S608 - ours
"""The query for what would go, or would lose a column, with the schemas, and is in none of them.

The temporary view of a session is none: a statement that uses it fails then.
"""

LEADING_OUT = """SELECT format('ALTER ROUTINE %s SET SCHEMA %s', p.oid::regprocedure,
        min(r.schema::text)) FROM pg_proc p JOIN pg_depend d
        ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid JOIN (
        SELECT 'pg_class'::regclass, oid, relnamespace::regnamespace FROM pg_class
        UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace::regnamespace FROM pg_proc
        UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace::regnamespace FROM pg_type
    ) AS r (class, object, schema) ON d.refclassid = r.class AND d.refobjid = r.object
    WHERE p.pronamespace IN ({old}) AND r.schema::oid NOT IN ({old})
        AND r.schema::text !~ '^"?pg_' AND r.schema::text <> 'information_schema'
    GROUP BY p.oid ORDER BY 1"""
"""The query for functions in the schemas that lead to what is in none of them: what moves each."""

REQUIRE_NOTHING_TEMPORARY = f"""IF EXISTS (
    SELECT FROM ({DEPENDENTS}) AS d (one) WHERE one ~ '^pg_temp_') THEN
    {NOT_FREE};
END IF;"""

_PATIENCE = "1 s"
# Two looks with nobody at work after the second, and nobody done in between on the whole server,
# are one moment. On a server that is never that quiet, the last look has to do.
_LAST_LOOK = """DO $$
DECLARE
    deadline timestamptz := clock_timestamp() + interval '{patience}';
    before xid8;
    quiet boolean;
BEGIN
    LOOP
        before := pg_snapshot_xmax(pg_current_snapshot());
        IF ({catalogs}) <> '{expected}' THEN
            {not_free};
        END IF;
        {look_anew}
        quiet := NOT EXISTS ({prepared}) AND NOT EXISTS ({writers});
        EXIT WHEN quiet AND (before = pg_snapshot_xmax(pg_current_snapshot())
            OR clock_timestamp() > deadline);
        IF clock_timestamp() > deadline THEN
            {not_free};
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$"""


def commit(expected: str, *, old: str, overlooks: bool) -> str:
    r"""Return what commits if :data:`CATALOGS` is ``expected`` in the session that executes it.

    ``old``: the query for the numbers of the schemas that are replaced.

    Both statements are sent at once (``\;`` of psql): nothing comes in between but what the server
    does in that moment.
    """
    look = _LAST_LOOK.format(
        patience=_PATIENCE,
        look_anew=LOOK_ANEW,
        catalogs=CATALOGS,
        expected=expected,
        not_free=NOT_FREE,
        prepared=_PREPARED,
        writers=_writers(old, overlooks=overlooks),
    )
    return f"{look} \\; COMMIT"
