"""The options about forms: how new backups are stored, and what opens encrypted ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Self

from soulsense_db.backup_info import Form
from soulsense_db.codecs import (
    PASSPHRASE,
    Compression,
    Identities,
    Recipients,
    Secret,
    require_age,
    require_zstd,
)
from soulsense_db.errors import OptionError
from soulsense_db.fs import user_path

USUAL_RATIO = 0.5
"""What is left of a database that is compressed, as long as no earlier backup tells it better."""

RecipientsOption = Recipients | Iterable[str] | str | None
"""Public keys, each a text; the word ``passphrase`` alone; or recipients made already."""
IdentitiesOption = (
    Identities
    | Secret
    | str
    | os.PathLike[str]
    | Callable[[], str]
    | Iterable[Secret | str | os.PathLike[str]]
    | None
)
"""What opens encrypted backups: the name of a key file, a function that returns the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferentialPolicy:
    """When a full backup is taken, on which the next differentials are based.

    Attributes:
        share: A full one is taken when the last differential is larger than this share of its base.
        max_base_age: A full one is taken when the base is older.

    Raises:
        OptionError: ``share`` is not between 0 and 1, or the age is not positive.

    Example:
        >>> DifferentialPolicy(share=0.2).max_base_age.days
        30
    """

    share: float = 1 / 3
    max_base_age: timedelta = timedelta(days=30)

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise OptionError(
                f"The share {self.share!r} of a full backup is out of range.",
                hint="Give a number above 0, and 1 at most; without one it is a third.",
            )
        if self.max_base_age <= timedelta(0):
            raise OptionError(
                "The age of a base must be more than nothing.", hint="Give a positive timedelta."
            )

    @classmethod
    def of(cls, given: DifferentialPolicy | bool) -> Self | DifferentialPolicy | None:
        """Return what the option ``differential`` means; None for no differentials."""
        if isinstance(given, DifferentialPolicy):
            return given
        return cls() if given else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forms:
    """The options of a manager about the forms of backups.

    ``compression``, ``differential``, ``recipients``: of new ones, None for none;
    ``describes_openly``: whether the name and the meta file of an encrypted one have its
    description; ``identities``: what opens encrypted ones; ``work_directory``: where the data of
    one is while it is not in its form, None for beside the database.
    """

    compression: Compression | None = None
    differential: DifferentialPolicy | None = None
    recipients: Recipients | tuple[str, ...] | None = None
    identities: Identities = field(default_factory=Identities)
    describes_openly: bool = False
    work_directory: Path | None = None

    @classmethod
    def of(
        cls,
        *,
        compression: Compression | str | None,
        differential: DifferentialPolicy | bool,
        recipients: RecipientsOption,
        identities: IdentitiesOption,
        describe_openly: bool,
        work_directory: str | Path | None,
    ) -> Self:
        """Return what the options mean. No library is loaded, and no key is read."""
        policy = DifferentialPolicy.of(differential)
        method = Compression.of(compression)
        if policy is not None and method is None:
            if compression is not None:
                raise OptionError(
                    "Differential backups are compressed, and compression is off.",
                    hint="Set the compression to zstd, or leave it out.",
                )
            method = Compression()
        if isinstance(recipients, str):
            recipients = [recipients]
        if recipients is not None and not isinstance(recipients, Recipients):
            recipients = tuple(recipients) or None
        forms = cls(
            compression=method,
            differential=policy,
            recipients=recipients,
            describes_openly=describe_openly,
            work_directory=_directory(work_directory),
        )
        return forms.with_identities(identities)

    def with_identities(self, identities: IdentitiesOption) -> Self:
        """Return the same with ``identities``, and the passphrase of new backups if they lack one.

        Without it nobody could open what is encrypted with it here and now. That passphrase stays
        what it is, whatever opens other backups.
        """
        recipients, opens = self.recipients, Identities.of(identities)
        if recipients == (PASSPHRASE,) and self.identities.passphrase is not None:
            recipients = Recipients.with_passphrase(self.identities.passphrase)
        made_with = recipients.passphrase if isinstance(recipients, Recipients) else None
        if made_with is not None and opens.passphrase is None:
            opens = Identities(*opens.sources, passphrase=made_with)
        return replace(self, identities=opens, recipients=recipients)

    @property
    def encrypts(self) -> bool:
        """Whether new backups are encrypted."""
        return self.recipients is not None

    @property
    def of_full(self) -> Form:
        """The form of a new backup that is no differential."""
        return Form(is_compressed=self.compression is not None, is_encrypted=self.encrypts)

    @property
    def of_differential(self) -> Form:
        """The form of a new differential."""
        return Form(is_differential=True, is_encrypted=self.encrypts)

    def require(self) -> None:
        """Raise what keeps a new backup from its form: a library that is missing, a bad key."""
        if self.compression is not None:
            require_zstd()
        if self.encrypts:
            require_age()
            self.to_recipients()

    def to_recipients(self) -> Recipients:
        """Return for whom new backups are encrypted.

        Raises :class:`~soulsense_db.errors.OptionError` for what is no public key,
        :class:`~soulsense_db.errors.IdentityError` where there is no passphrase.
        """
        if isinstance(self.recipients, Recipients):
            return self.recipients
        texts = self.recipients or ()
        if PASSPHRASE not in texts:
            return Recipients.of(texts)
        if len(texts) > 1:
            raise OptionError(
                "A backup cannot be encrypted with a passphrase and for public keys.",
                hint="Give the word passphrase alone, or public keys.",
            )
        return Recipients.with_passphrase(self.identities.require_passphrase("the new backup"))


def _directory(given: str | Path | None) -> Path | None:
    if given is None:
        return None
    path = user_path(given)
    if path is None:
        raise OptionError(
            f"{given!r} is no path of a work directory.", hint="Give an existing directory."
        )
    return path
