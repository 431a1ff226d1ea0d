"""What long work calls to tell how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], object]
"""Called with ``(done, total)``, bytes unless said otherwise; what it raises cancels the work.

A new backup can be cancelled up to the last call, which comes when the copy is checked, and then
leaves nothing; the last call of a restore finds it done. Any call may come in another thread.
"""
