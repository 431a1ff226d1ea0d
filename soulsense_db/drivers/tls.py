"""What an ``ssl.SSLContext`` of the application checks, in words that other programs take."""

from __future__ import annotations

import atexit
import hashlib
import ssl
import tempfile
from functools import cache
from pathlib import Path


def checks_name(context: ssl.SSLContext) -> bool:
    """Whether the server's name has to stand in its certificate."""
    return context.check_hostname


def checks_authority(context: ssl.SSLContext) -> bool:
    """Whether an authority that the context knows must have signed the certificate."""
    return context.verify_mode is ssl.CERT_REQUIRED


def authorities(context: ssl.SSLContext) -> Path | None:
    """Return a file of the authorities that a context knows; None where it names none.

    It is there until the process ends. A client's own certificate cannot be read out of a context.
    """
    found = context.get_ca_certs(binary_form=True)
    if not found:
        return None
    text = "".join(ssl.DER_cert_to_PEM_cert(one) for one in found)
    path = _folder() / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.pem"
    if not path.exists():
        whole = path.with_suffix(".new")
        whole.write_text(text, encoding="ascii")
        whole.replace(path)
    return path


@cache
def _folder() -> Path:
    made = tempfile.TemporaryDirectory(prefix="soulsense_db-")
    atexit.register(made.cleanup)
    return Path(made.name)
