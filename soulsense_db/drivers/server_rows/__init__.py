"""Bring chosen rows of a dump back into the live database of a server.

The dump is restored to a scratch database on the same server. What is here compares rows of that
with live ones and says what to write, for every server; how a server is asked is said by its
driver: :class:`~soulsense_db.drivers.server_rows.tables.Tables` and
:class:`~soulsense_db.drivers.server_rows.writing.Writer`.
"""
