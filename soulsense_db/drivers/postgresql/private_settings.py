"""What a private server has to have of the live one, so that statements mean the same there."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

# Those that change what a statement does, reads or writes; what makes it quicker or slower stays as
# it is. By their names: the server tells in its own language which kind of setting one is.
_NAMES = (
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "allow_alter_system",
    "array_nulls",
    "backslash_quote",
    "bytea_output",
    "check_function_bodies",
    "client_min_messages",
    "createrole_self_grant",
    "default_table_access_method",
    "default_tablespace",
    "default_text_search_config",
    "default_toast_compression",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "escape_string_warning",
    "event_triggers",
    "extra_float_digits",
    "icu_validation_level",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lo_compat_privileges",
    "lock_timeout",
    "max_locks_per_transaction",
    "quote_all_identifiers",
    "row_security",
    "search_path",
    "session_replication_role",
    "standard_conforming_strings",
    "statement_timeout",
    "synchronize_seqscans",
    "temp_tablespaces",
    "timezone_abbreviations",
    "track_commit_timestamp",
    "transaction_timeout",
    "transform_null_equals",
    "xmlbinary",
    "xmloption",
)
_DIFFERING = sa.text(
    "SELECT name, reset_val FROM pg_settings WHERE name = ANY (:names)"
    " AND reset_val IS DISTINCT FROM boot_val AND reset_val IS NOT NULL"
)


def read(connection: Connection) -> Mapping[str, str]:
    """Return the settings of the live server that are not those of a new one."""
    found = connection.execute(_DIFFERING, {"names": list(_NAMES)})
    return {str(name): str(value) for name, value in found}
