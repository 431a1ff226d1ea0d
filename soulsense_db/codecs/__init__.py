"""Forms that a database is stored in: streams in, streams out, in memory that does not grow.

Nothing here knows a database, a backup directory or a meta file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from soulsense_db._lazy import names_from

if TYPE_CHECKING:
    from soulsense_db.codecs.age import decrypt, encrypt, require_opens
    from soulsense_db.codecs.age_library import require_age
    from soulsense_db.codecs.age_secrets import Secret, holds_secret
    from soulsense_db.codecs.compression import Compression
    from soulsense_db.codecs.differential import (
        WINDOW,
        DifferentialHeader,
        decode_differential,
        encode_differential,
        largest_differential,
        read_differential_header,
    )
    from soulsense_db.codecs.errors import (
        DamagedStreamError,
        NewerStreamError,
        StreamError,
        TooLongError,
        TruncatedStreamError,
        WrongBaseError,
    )
    from soulsense_db.codecs.identities import Identities
    from soulsense_db.codecs.pull import pulled
    from soulsense_db.codecs.recipients import PASSPHRASE, Recipients
    from soulsense_db.codecs.streams import Reader, Transform, WholeWriter, Writer, piped
    from soulsense_db.codecs.zstandard import (
        DEFAULT_LEVEL,
        compress,
        decompress,
        require_level,
        require_zstd,
    )

__all__ = [
    "DEFAULT_LEVEL",
    "PASSPHRASE",
    "WINDOW",
    "Compression",
    "DamagedStreamError",
    "DifferentialHeader",
    "Identities",
    "NewerStreamError",
    "Reader",
    "Recipients",
    "Secret",
    "StreamError",
    "TooLongError",
    "Transform",
    "TruncatedStreamError",
    "WholeWriter",
    "Writer",
    "WrongBaseError",
    "compress",
    "decode_differential",
    "decompress",
    "decrypt",
    "encode_differential",
    "encrypt",
    "holds_secret",
    "largest_differential",
    "piped",
    "pulled",
    "read_differential_header",
    "require_age",
    "require_level",
    "require_opens",
    "require_zstd",
]

_HOMES = {
    "PASSPHRASE": "soulsense_db.codecs.recipients",
    "DEFAULT_LEVEL": "soulsense_db.codecs.zstandard",
    "WINDOW": "soulsense_db.codecs.differential",
    "Compression": "soulsense_db.codecs.compression",
    "DamagedStreamError": "soulsense_db.codecs.errors",
    "DifferentialHeader": "soulsense_db.codecs.differential",
    "Identities": "soulsense_db.codecs.identities",
    "NewerStreamError": "soulsense_db.codecs.errors",
    "Reader": "soulsense_db.codecs.streams",
    "Recipients": "soulsense_db.codecs.recipients",
    "Secret": "soulsense_db.codecs.age_secrets",
    "StreamError": "soulsense_db.codecs.errors",
    "TooLongError": "soulsense_db.codecs.errors",
    "Transform": "soulsense_db.codecs.streams",
    "TruncatedStreamError": "soulsense_db.codecs.errors",
    "WholeWriter": "soulsense_db.codecs.streams",
    "Writer": "soulsense_db.codecs.streams",
    "WrongBaseError": "soulsense_db.codecs.errors",
    "compress": "soulsense_db.codecs.zstandard",
    "decode_differential": "soulsense_db.codecs.differential",
    "decompress": "soulsense_db.codecs.zstandard",
    "decrypt": "soulsense_db.codecs.age",
    "encode_differential": "soulsense_db.codecs.differential",
    "encrypt": "soulsense_db.codecs.age",
    "holds_secret": "soulsense_db.codecs.age_secrets",
    "largest_differential": "soulsense_db.codecs.differential",
    "piped": "soulsense_db.codecs.streams",
    "pulled": "soulsense_db.codecs.pull",
    "read_differential_header": "soulsense_db.codecs.differential",
    "require_age": "soulsense_db.codecs.age_library",
    "require_opens": "soulsense_db.codecs.age",
    "require_level": "soulsense_db.codecs.zstandard",
    "require_zstd": "soulsense_db.codecs.zstandard",
}

if not TYPE_CHECKING:  # else a misspelt name would pass the type checker
    __getattr__ = names_from(_HOMES, __name__)
