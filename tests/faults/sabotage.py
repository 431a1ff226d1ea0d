"""Faults put into the code on purpose: with each of them the matrix must find something."""

from __future__ import annotations

from collections.abc import Callable

SABOTAGES: dict[str, Callable[[], None]] = {}
