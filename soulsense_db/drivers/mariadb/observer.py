"""A connection that looks at what other connections of ours wait for, and ends it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb.login import Login
from soulsense_db.drivers.mariadb.statements import execute, scalar

T = TypeVar("T")


class Observer:
    """A connection without locks, made anew where somebody has ended its session.

    What waits with a lock in its hand must be ended whatever happens: it would wait for a day.
    """

    def __init__(self, login: Login, stack: ExitStack, *, name: str, lock_timeout: float) -> None:
        self._login, self._stack = login, stack
        self._name, self._lock_timeout = name, lock_timeout
        self._connection = self._connected()

    @property
    def connection(self) -> Connection:
        """The connection itself, made anew if it is known to be lost."""
        if self._connection.invalidated:
            self._connection = self._connected()
        return self._connection

    def scalar(self, statement: str) -> Any:
        """Return the first value of a query, None without one."""
        return self._again(lambda connection: scalar(connection, statement))

    def kill_query(self, number: int) -> None:
        """End the statement that the connection of that number executes."""
        self._again(lambda connection: execute(connection, f"KILL QUERY {number}"))

    def _again(self, work: Callable[[Connection], T]) -> T:
        """Do what may be done twice, once more if the session turns out to be ended."""
        try:
            return work(self.connection)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            return work(self.connection)

    def _connected(self) -> Connection:
        made = self._login.connected(name=self._name, lock_timeout=self._lock_timeout)
        return self._stack.enter_context(made)
