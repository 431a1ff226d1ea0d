"""Whether what is at hand opens an encrypted backup, before it has to."""

from __future__ import annotations

from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.codecs import Identities, Reader, StreamError, require_opens
from soulsense_db.errors import IdentityError
from soulsense_db.operations.bases import base_of
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.stored_form_errors import cannot_be_decoded, cannot_be_opened


def require_key(repository: Repository, info: BackupInfo) -> None:
    """Raise unless ``info``, and its base, are not encrypted or can be decrypted here and now.

    Only the beginning of each is read. Raises :class:`~soulsense_db.errors.IdentityError`,
    :class:`~soulsense_db.errors.InvalidBackupError`.
    """
    for needed in (info, base_of(repository, info)) if info.form.is_differential else (info,):
        path = Path(needed.path)
        if needed.form.is_encrypted:
            with fs.storage_errors("read", path), path.open("rb", buffering=0) as stored:
                require_key_of(needed, stored, repository.forms.identities)


def require_key_of(info: BackupInfo, stored: Reader, identities: Identities) -> None:
    """Raise unless one of ``identities`` opens ``info``, which is encrypted and is ``stored``.

    Raises as :func:`require_key`.
    """
    path = Path(info.path)
    try:
        require_opens(stored, identities=identities)
    except IdentityError as error:
        raise cannot_be_opened(path, error) from error
    except StreamError as error:
        raise cannot_be_decoded(path, error, form=info.form) from error
