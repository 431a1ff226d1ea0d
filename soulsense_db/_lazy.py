"""Names that a wing hands out when they are first asked for: importing one of them is cheap."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def names_from(homes: Mapping[str, str], package: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of ``package``; ``homes``: the module of each name.

    Nothing is kept: who replaces a function in its module replaces it for all.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return find
