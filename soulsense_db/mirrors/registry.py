"""Which kind of mirror a URL means.

Others bring a kind of their own in a package with an entry point, whose name is the beginning of
its URLs::

    [project.entry-points."soulsense_db.mirrors"]
    dav = "their_package:TheirMirror"
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from soulsense_db import fs
from soulsense_db.mirrors.base import Mirror
from soulsense_db.mirrors.errors import no_kind, not_a_mirror, not_loaded
from soulsense_db.mirrors.url import MirrorUrl

GROUP = "soulsense_db.mirrors"
"""The group of entry points that name kinds of mirrors."""

_OBJECT_STORE = ("soulsense_db.mirrors.object_store", "ObjectStoreMirror")
# Also without metadata of an installation, as in a program frozen into one file.
_OURS = {
    "file": ("soulsense_db.mirrors.file", "FileMirror"),
    "sftp": ("soulsense_db.mirrors.sftp", "SFTPMirror"),
    "s3": _OBJECT_STORE,
    "gs": _OBJECT_STORE,
    "az": _OBJECT_STORE,
}


def mirror_for(url: str | MirrorUrl, *, timeout: float = 60.0) -> Mirror:
    """Return the mirror at ``url``; nothing is connected yet.

    Args:
        url: Such as ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix``,
            ``sftp://user@host/path``, ``file:///mnt/usb/soulsense``.
        timeout: Seconds without any progress after which a connection counts as broken.

    Raises:
        OptionError: It is no URL, there is no such kind of mirror, or a secret is in it.
        MissingExtraError: The library for this kind of mirror is not installed.

    Example:
        >>> mirror_for("file:///mnt/usb/soulsense").address
        'file:///mnt/usb/soulsense'
    """
    parsed = url if isinstance(url, MirrorUrl) else MirrorUrl.of(url)
    require_kind(parsed)
    return _class_for(parsed.scheme)(parsed, timeout=timeout)


def require_kind(url: MirrorUrl) -> None:
    """Raise :class:`~soulsense_db.errors.OptionError` where no kind of mirror has such URLs."""
    if url.scheme in _OURS:
        return
    with fs.storage_errors("read", "the list of installed packages"):
        theirs = entry_points(group=GROUP).names
    if url.scheme not in theirs:
        raise no_kind(url.scheme, sorted({*_OURS, *theirs}))


def _class_for(scheme: str) -> type[Mirror]:
    if scheme in _OURS:
        module, name = _OURS[scheme]
        found: type[Mirror] = getattr(import_module(module), name)
        return found
    with fs.storage_errors("read", "the list of installed packages"):
        theirs = entry_points(group=GROUP, name=scheme)
    for entry in theirs:
        return _loaded(entry)
    raise AssertionError("it was looked for")


def _loaded(entry: EntryPoint) -> type[Mirror]:
    try:
        found = entry.load()
    except Exception as error:
        raise not_loaded(entry.value, entry.name, str(error)) from error
    if not (isinstance(found, type) and issubclass(found, Mirror)):
        raise not_a_mirror(entry.value, entry.name)
    return found
