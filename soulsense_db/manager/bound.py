"""What all parts of a manager have."""

from __future__ import annotations

from soulsense_db.mirroring import MirrorOperations
from soulsense_db.operations import Finder, Repository
from soulsense_db.retention import RetentionPolicy


class Bound:
    """A part of a manager, which is bound to one database and one backup directory."""

    mirrors: MirrorOperations
    _repository: Repository
    _finder: Finder
    _retention: RetentionPolicy | None
