"""What the meta file of an encrypted backup says of the data, encrypted as well.

The description, and the names of tables with their numbers of rows, are facts about the data that
whoever has the file alone must not read.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from soulsense_db.backup_info import BackupInfo
from soulsense_db.codecs import StreamError, decrypt, encrypt
from soulsense_db.errors import IdentityError
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.stored_form_errors import cannot_be_opened, sealed_fact_damaged

_MOST_BYTES = 1024 * 1024
_LONGEST_SEALED = 128 * 1024
_ROWS = "record of the rows"


def with_sealed_facts(repository: Repository, info: BackupInfo) -> BackupInfo:
    """Return the facts of an encrypted backup, description and numbers of rows encrypted as well.

    With a passphrase the numbers are left out: each thing that is encrypted takes half a second.
    """
    if not info.form.is_encrypted:
        return info
    if info.description and not repository.forms.describes_openly:
        sealed = _sealed(repository, info.description)
        info = replace(info, description="", sealed_description=sealed)
    if info.row_counts is None:
        return info
    text = None
    if repository.forms.to_recipients().passphrase is None:
        text = _sealed(repository, json.dumps(dict(info.row_counts)))
        text = text if len(text) <= _LONGEST_SEALED else None
    return replace(info, row_counts=None, sealed_row_counts=text)


def with_opened_description(repository: Repository, info: BackupInfo) -> BackupInfo:
    """Return the facts of a backup with its description, decrypted where it is encrypted.

    Raises :class:`~soulsense_db.errors.IdentityError`,
    :class:`~soulsense_db.errors.InvalidBackupError`.
    """
    if info.sealed_description is None:
        return info
    description = _opened(repository, info, info.sealed_description, "description")
    return replace(info, description=description, sealed_description=None)


def opened_row_counts(repository: Repository, info: BackupInfo) -> Mapping[str, int] | None:
    """Return how many rows each table had, decrypted where that is encrypted; None: not recorded.

    Raises errors as :func:`with_opened_description`.
    """
    if info.sealed_row_counts is None:
        return info.row_counts
    text = _opened(repository, info, info.sealed_row_counts, _ROWS)
    try:
        return {str(table): int(rows) for table, rows in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise sealed_fact_damaged(Path(info.path), _ROWS, str(error)) from error


def _sealed(repository: Repository, text: str) -> str:
    stream = io.BytesIO()
    encrypt(io.BytesIO(text.encode()), stream, recipients=repository.forms.to_recipients())
    return base64.b64encode(stream.getvalue()).decode()


def _opened(repository: Repository, info: BackupInfo, sealed: str, what: str) -> str:
    stream = io.BytesIO()
    path = Path(info.path)
    try:
        decrypt(
            io.BytesIO(base64.b64decode(sealed)),
            stream,
            identities=repository.forms.identities,
            limit=_MOST_BYTES,
        )
        return stream.getvalue().decode()
    except IdentityError as error:
        raise cannot_be_opened(path, error) from error
    except (StreamError, ValueError) as error:
        raise sealed_fact_damaged(path, what, str(error)) from error
