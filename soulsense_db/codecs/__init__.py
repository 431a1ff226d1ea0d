"""Forms that a database is stored in: streams in, streams out, in memory that does not grow.

Nothing here knows a database, a backup directory or a meta file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from soulsense_db._lazy import names_from

if TYPE_CHECKING:
    from soulsense_db.codecs.age import decrypt, encrypt, opens
    from soulsense_db.codecs.age_library import require_age
    from soulsense_db.codecs.age_secrets import Secret
    from soulsense_db.codecs.compression import Compression
    from soulsense_db.codecs.errors import (
        DamagedStreamError,
        StreamError,
        TooLongError,
        TruncatedStreamError,
    )
    from soulsense_db.codecs.identities import Identities
    from soulsense_db.codecs.recipients import Recipients
    from soulsense_db.codecs.streams import Reader, Transform, Writer, piped
    from soulsense_db.codecs.zstandard import (
        DEFAULT_LEVEL,
        compress,
        decompress,
        require_level,
        require_zstd,
    )

__all__ = [
    "DEFAULT_LEVEL",
    "Compression",
    "DamagedStreamError",
    "Identities",
    "Reader",
    "Recipients",
    "Secret",
    "StreamError",
    "TooLongError",
    "Transform",
    "TruncatedStreamError",
    "Writer",
    "compress",
    "decompress",
    "decrypt",
    "encrypt",
    "opens",
    "piped",
    "require_age",
    "require_level",
    "require_zstd",
]

_HOMES = {
    "Compression": "soulsense_db.codecs.compression",
    "DEFAULT_LEVEL": "soulsense_db.codecs.zstandard",
    "DamagedStreamError": "soulsense_db.codecs.errors",
    "Identities": "soulsense_db.codecs.identities",
    "Reader": "soulsense_db.codecs.streams",
    "Recipients": "soulsense_db.codecs.recipients",
    "Secret": "soulsense_db.codecs.age_secrets",
    "StreamError": "soulsense_db.codecs.errors",
    "TooLongError": "soulsense_db.codecs.errors",
    "Transform": "soulsense_db.codecs.streams",
    "TruncatedStreamError": "soulsense_db.codecs.errors",
    "Writer": "soulsense_db.codecs.streams",
    "compress": "soulsense_db.codecs.zstandard",
    "decompress": "soulsense_db.codecs.zstandard",
    "decrypt": "soulsense_db.codecs.age",
    "encrypt": "soulsense_db.codecs.age",
    "opens": "soulsense_db.codecs.age",
    "piped": "soulsense_db.codecs.streams",
    "require_age": "soulsense_db.codecs.age_library",
    "require_level": "soulsense_db.codecs.zstandard",
    "require_zstd": "soulsense_db.codecs.zstandard",
}

if not TYPE_CHECKING:  # else a misspelt name would pass the type checker
    __getattr__ = names_from(_HOMES, __name__)
