"""For tests where versions of the server cannot differ: the newest one that is there."""

from __future__ import annotations

import pytest

from postgresql.server import versions

on_newest = pytest.mark.parametrize("server", versions()[-1:] or [0], indirect=True)
