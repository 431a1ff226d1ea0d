"""What is wrong with a stream, in words that the caller makes an error of the tree of.

And what is wrong with a key, which a person can mend: errors of the tree. None of them holds a
secret, or anything that was given in the place of a public key and may be one.
"""

from __future__ import annotations

from pathlib import Path

from soulsense_db.errors import (
    IdentityError,
    MissingExtraError,
    OptionError,
    Remedy,
    StorageError,
)


class StreamError(Exception):
    """A stream cannot be decoded; the message is a clause that says why."""


class TruncatedStreamError(StreamError):
    """It ends before its end."""


class DamagedStreamError(StreamError):
    """It is not what was encoded, or nothing of this form at all."""


class TooLongError(StreamError):
    """There is more in it than there may be."""


class WrongBaseError(StreamError):
    """It is a differential, and what was given as its base is not, or is no more, that base."""


class NewerStreamError(StreamError):
    """It is of a newer format than those that are known here."""


def extra_missing(what: str, extra: str) -> MissingExtraError:
    """Return the error for an optional library that is not installed; ``what`` needs it."""
    return MissingExtraError(
        f"{what} needs an optional library, which is not installed.",
        hint=f'Install it: python3 -m pip install "soulsense-db[{extra}]"',
    )


def not_loaded(library: str, error: OSError) -> StorageError:
    """Return the error for an optional library that is there and cannot be read."""
    return StorageError(
        f"The library for {library} cannot be loaded ({error.strerror or error}).",
        hint="Try again; close programs if too many files are open.",
    )


_SEE_AGE = Remedy(
    "Give public keys: age1..., as age-keygen prints it, or a line of an SSH public key file "
    "(ssh-ed25519 or ssh-rsa)."
)


def no_recipient(which: str, reason: str) -> OptionError:
    """Return the error for a text that is no public key; ``which`` says which one, publicly."""
    return OptionError(f"{which} is no public key ({reason}).", remedy=_SEE_AGE, reason=reason)


def secret_as_recipient(which: str) -> OptionError:
    """Return the error for a secret key in the place of a public one."""
    return OptionError(
        f"{which} is a secret key, in the place of a public one.",
        hint="Give the public key that belongs to it: age-keygen -y KEY-FILE prints it. If the "
        "secret key was in a list of processes, a log or a shell's history, make a new one.",
    )


def no_recipients(where: str) -> OptionError:
    """Return the error for a list without a public key in it."""
    return OptionError(f"There is no public key in {where}.", remedy=_SEE_AGE)


def recipients_unreadable(path: Path, reason: str) -> OptionError:
    """Return the error for a file of public keys that cannot be read."""
    return OptionError(
        f"The file of public keys {path} cannot be read ({reason}).",
        hint="Name a file with one public key on each line.",
        path=path,
        reason=reason,
    )


def cannot_seal(reason: str) -> OptionError:
    """Return the error for recipients that nothing can be sealed for, as the library says."""
    return OptionError(
        f"Nothing can be encrypted for these public keys ({reason}).",
        hint="If a plugin is named, install it, or use other public keys.",
        reason=reason,
    )


def no_identity() -> IdentityError:
    """Return the error where no private key is given at all."""
    return IdentityError(
        "It is encrypted, and no private key is given.",
        hint="Give the file with the private key, as age-keygen writes it: --identity-file, "
        "SOULSENSE_IDENTITY_FILE (identities=...).",
    )


def no_passphrase(what: str) -> IdentityError:
    """Return the error where ``what`` needs a passphrase and none is given."""
    return IdentityError(
        f"A passphrase opens {what}, and none is given.", hint="Give it in SOULSENSE_PASSPHRASE."
    )


def no_identity_fits(sources: str) -> IdentityError:
    """Return the error where the keys that are there belong to none of the recipients."""
    return IdentityError(
        f"No private key of {sources} opens it.",
        hint="It was encrypted for other keys: give one of those. If it was not, its beginning is "
        "damaged.",
    )


def wrong_passphrase(what: str, source: str) -> IdentityError:
    """Return the error for a passphrase that does not open ``what``."""
    return IdentityError(
        f"The passphrase of {source} does not open {what}.",
        hint="Give the one that it was encrypted with. If this is the one, it is damaged.",
    )


def identity_failed(reason: str) -> IdentityError:
    """Return the error for a key, or a plugin of one, that fails in its work."""
    return IdentityError(
        f"The private key could not be used ({reason}).",
        hint="If a plugin is named, install it; if it needs a device, connect it.",
        reason=reason,
    )


def no_key_in(source: str) -> IdentityError:
    """Return the error for a source that can be read and has no private key in it."""
    return IdentityError(
        f"There is no private key in {source}.",
        hint="Give what age-keygen has written: a line of it begins with AGE-SECRET-KEY-1.",
    )


def line_is_no_key(source: str, number: int, reason: str) -> IdentityError:
    """Return the error for a line that is no private key."""
    return IdentityError(
        f"Line {number} of {source} is no private key that can be used ({reason}).",
        hint="Give what age-keygen has written: a line of it begins with AGE-SECRET-KEY-1.",
        reason=reason,
    )


def ssh_key_unusable(source: str, reason: str) -> IdentityError:
    """Return the error for an SSH private key that age cannot use."""
    return IdentityError(
        f"The SSH key in {source} cannot be used ({reason}).",
        hint="Give an SSH key of type ed25519 or RSA that has no passphrase, or a key of "
        "age-keygen's, which may have one.",
        reason=reason,
    )


def file_unreadable(path: Path, reason: str) -> IdentityError:
    """Return the error for a key file that is not there, or cannot be read."""
    return IdentityError(
        f"The key file {path} cannot be read ({reason}).",
        hint="Check its name, and whose it is.",
        path=path,
        reason=reason,
    )


def key_in_pipe(path: Path) -> IdentityError:
    """Return the error for a pipe in the place of a key file: it can be read only once."""
    return IdentityError(
        f"The key file {path} is a pipe, and a key is read more than once.",
        hint="Name a file; or have a command print the key: soulsense_identity_command.",
        path=path,
    )


def file_open_to_others(path: Path, mode: str, cure: str) -> IdentityError:
    """Return the error for a key file that is not its owner's alone."""
    return IdentityError(
        f"Others can read or change the key file {path} (mode {mode}).",
        hint=f"Make it yours alone: {cure}",
        path=path,
    )


def secret_as_name(what: str) -> IdentityError:
    """Return the error for a secret key in the place of the name of where one is."""
    return IdentityError(
        f"A secret key is given in the place of {what}.",
        hint="Put the key into a file of your own, and name the file. If the key was in a list of "
        "processes, a log or a shell's history, make a new one.",
    )


def nothing_secret(source: str) -> IdentityError:
    """Return the error for a source that has nothing in it."""
    return IdentityError(
        f"There is nothing in {source}, where a private key or passphrase should be.",
        hint="Check its name, and that it is set.",
    )


def no_text(source: str) -> IdentityError:
    """Return the error for a passphrase that could be typed nowhere."""
    return IdentityError(
        f"The passphrase in {source} is no text.",
        hint="Give a text in UTF-8: another program could not be given this one.",
    )


def too_large(source: str) -> IdentityError:
    """Return the error for a source that is too large to be a key."""
    return IdentityError(
        f"There is more in {source} than a private key has.", hint="Check its name."
    )


_BY_HAND = "Run it by hand to see what it says: what it prints is shown nowhere here."


def command_missing(program: str, reason: str) -> IdentityError:
    """Return the error for a command that cannot be started."""
    return IdentityError(
        f"The command {program} for the private key cannot be run ({reason}).",
        hint="Give the program and its arguments; there is no shell.",
        reason=reason,
    )


def command_failed(program: str, code: int) -> IdentityError:
    """Return the error for a command that ends with an error."""
    return IdentityError(
        f"The command {program} for the private key failed (exit code {code}).", hint=_BY_HAND
    )


def command_hangs(program: str, seconds: float) -> IdentityError:
    """Return the error for a command that does not come to an end."""
    return IdentityError(
        f"The command {program} for the private key did not end within {seconds:g} s.",
        hint=_BY_HAND,
    )


def function_failed(failure: str) -> IdentityError:
    """Return the error for a function of the application that gives no secret."""
    return IdentityError(
        f"The function for the private key or passphrase failed with {failure}.",
        hint="Correct the function. What it said is shown nowhere: it may be the secret.",
    )
