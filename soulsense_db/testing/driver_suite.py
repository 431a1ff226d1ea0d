"""The suite that every driver has to pass."""

from __future__ import annotations

from soulsense_db.testing.access import AccessPromises
from soulsense_db.testing.checks import CheckPromises
from soulsense_db.testing.diffs import DiffPromises
from soulsense_db.testing.loads import LoadPromises
from soulsense_db.testing.snapshots import SnapshotPromises


class DriverSuite(SnapshotPromises, CheckPromises, DiffPromises, LoadPromises, AccessPromises):
    """All that a driver owes its callers, as tests of pytest.

    Write a class whose name begins with ``Test``, with the hooks of
    :class:`~soulsense_db.testing.hooks.DriverHooks` that your database needs::

        from soulsense_db.testing import DriverSuite

        class TestMyDriver(DriverSuite):
            def make_engine(self, folder):
                return sqlalchemy.create_engine(f"mydialect:///{folder}/live.db")

    What a database cannot do is told by ``has_file`` and ``reachable_by_others``: the tests that
    need it are skipped then, with that attribute as the reason.
    """
