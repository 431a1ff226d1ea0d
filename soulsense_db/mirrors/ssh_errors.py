"""What a server that one reaches by SSH refused, as errors of the tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from soulsense_db.errors import MirrorDeniedError, MirrorError
from soulsense_db.mirrors.errors import denied, failed
from soulsense_db.mirrors.url import MirrorUrl
from soulsense_db.shown_text import shell_command

_NOT_SENT = "Nothing was sent there. The local backups are what they were."


def unknown_host(
    address: str, *, name: str, fingerprint: str, public_key: str, known_hosts: Path
) -> MirrorDeniedError:
    """Return the error for a server that nobody has said to be the right one.

    ``public_key``: as in a file of known hosts. To accept that very key is safer than to fetch one
    anew, which might be another.
    """
    line = shell_command("echo", f"{name} {public_key}")
    target = shell_command(known_hosts)
    accept = f"{line} >> {target}"
    if not known_hosts.parent.exists():
        accept = f"{shell_command('mkdir', '-m', '700', known_hosts.parent)} && {accept}"
    return MirrorDeniedError(
        f"The SSH server of {address} is not known: nobody has said that its host key is the right "
        f"one. Its fingerprint is {fingerprint}.",
        state=_NOT_SENT,
        hint="Compare the fingerprint with the one that the server's administrator names "
        "(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub shows it there). If it is the same, "
        f"accept it: {accept}",
        reason="unknown host key",
    )


def changed_host(
    address: str, *, name: str, fingerprint: str, known_hosts: Path
) -> MirrorDeniedError:
    """Return the error for a server that has another key than it had."""
    forget = shell_command("ssh-keygen", "-f", known_hosts, "-R", name)
    return MirrorDeniedError(
        f"The SSH server of {address} has another host key than the one that is known. Its "
        f"fingerprint is {fingerprint} now. "
        "Somebody may have put another machine in its place.",
        state=_NOT_SENT,
        hint="Ask the server's administrator whether it was set up anew. Only if it was, forget "
        f"the old key, and try again: {forget}",
        reason="changed host key",
    )


def refused_host(address: str, reason: str) -> MirrorDeniedError:
    """Return the error for a host key that is refused for another reason, such as a revoked one."""
    return MirrorDeniedError(
        f"The host key of the SSH server of {address} is not accepted ({reason}).",
        state=_NOT_SENT,
        hint="Ask the server's administrator.",
        reason=reason,
    )


def login_refused(
    address: str,
    url: MirrorUrl,
    *,
    user: str,
    keys: Sequence[Path],
    locked: Sequence[Path],
    has_agent: bool,
) -> MirrorDeniedError:
    """Return the error for a login that the server refused.

    ``keys``: the files of keys that were found; ``locked``: those that have a passphrase.
    """
    port = ["-p", url.port] if url.port else []
    copy = shell_command("ssh-copy-id", *port, f"{user}@{url.host}")
    if locked:
        hint = (
            f"The key {locked[0]} has a passphrase, and is not used without an SSH agent. Load it "
            f"into one: {shell_command('ssh-add', locked[0])}"
        )
    elif not keys and not has_agent:
        hint = (
            "There is no key in ~/.ssh, and no SSH agent. Make a key, and have the server accept "
            f"it: {shell_command('ssh-keygen', '-t', 'ed25519')} && {copy}"
        )
    else:
        hint = (
            f"Check that '{user}' is the right user, and that the server accepts one of your keys: "
            f"{copy}"
        )
    return denied(address, "log in", f"as the user '{user}'", hint)


def no_user(address: str) -> MirrorDeniedError:
    """Return the error for a login without a name."""
    hint = "Name the user: in the URL, sftp://user@host/path, or in ~/.ssh/config."
    return denied(address, "log in", "this system tells no name of the user", hint)


def bad_settings(address: str, reason: str) -> MirrorDeniedError:
    """Return the error for a configuration or a key of the user's that cannot be read."""
    return denied(address, "log in", reason, "Correct the files in ~/.ssh.")


def no_sftp(address: str) -> MirrorError:
    """Return the error for a server that has SSH alone."""
    return failed(address, "the server accepts the login, but offers no SFTP")
