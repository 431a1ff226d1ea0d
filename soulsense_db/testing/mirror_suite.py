"""The suite that every kind of mirror has to pass."""

from __future__ import annotations

from soulsense_db.testing.mirror_places import PlacePromises
from soulsense_db.testing.mirror_small_objects import SmallObjectPromises
from soulsense_db.testing.mirror_writes import WritePromises


class MirrorSuite(PlacePromises, WritePromises, SmallObjectPromises):
    """All that a mirror owes its callers, as tests of pytest.

    Write a class whose name begins with ``Test``, with the hooks of
    :class:`~soulsense_db.testing.mirror_hooks.MirrorHooks` that your kind of mirror needs::

        from soulsense_db.testing import MirrorSuite

        class TestMyMirror(MirrorSuite):
            @pytest.fixture(autouse=True)
            def server(self, tmp_path):
                with my_server(tmp_path) as self.server:
                    yield

            def make_mirror(self):
                return MyMirror(MirrorUrl.of(f"mine://{self.server.address}/{uuid4().hex}"))

    What a place cannot do is told by ``supports_resume`` and ``compares_contents``: the tests that
    need it are skipped then, with that attribute as the reason.
    """
