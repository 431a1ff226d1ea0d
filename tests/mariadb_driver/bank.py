"""A bank like that of pgbench: while money moves, four sums are the same at each moment."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pymysql
import sqlalchemy as sa

from mariadb_driver.databases import Database

_SECONDS = 20
_TABLES = """
CREATE TABLE branches (id INT PRIMARY KEY, balance BIGINT NOT NULL DEFAULT 0);
CREATE TABLE tellers (id INT PRIMARY KEY, branch INT NOT NULL, balance BIGINT NOT NULL DEFAULT 0,
    FOREIGN KEY (branch) REFERENCES branches (id));
CREATE TABLE accounts (id INT PRIMARY KEY, branch INT NOT NULL, balance BIGINT NOT NULL DEFAULT 0,
    filler CHAR(84) NOT NULL DEFAULT '', FOREIGN KEY (branch) REFERENCES branches (id));
CREATE TABLE history (move BIGINT PRIMARY KEY, teller INT NOT NULL, branch INT NOT NULL,
    account INT NOT NULL, delta INT NOT NULL);
"""
_SUMS = """
START TRANSACTION WITH CONSISTENT SNAPSHOT;
SELECT (SELECT SUM(balance) FROM accounts), (SELECT SUM(balance) FROM branches),
    (SELECT SUM(balance) FROM tellers), (SELECT COALESCE(SUM(delta), 0) FROM history);
SELECT move FROM history;
COMMIT;
"""


class Balance:
    """What ``script`` said: the four sums, and the numbers of all moves."""

    def __init__(self, said: str) -> None:
        first, *moves = said.splitlines()
        self.sums = tuple(int(float(one)) for one in first.split("\t"))
        self.moves = {int(one) for one in moves}

    @property
    def agrees(self) -> bool:
        """Whether all are of one moment."""
        return len(set(self.sums)) == 1


class Bank:
    """Tables in ``database``; ``scale``: a hundred thousand accounts each."""

    def __init__(self, database: Database, *, scale: float, makes_tables: bool = True) -> None:
        self._database = database
        self._accounts, self._branches = int(scale * 100_000), max(1, int(scale))
        self.committed: list[int] = []
        self.errors: list[Exception] = []
        if not makes_tables:
            return
        branch = f"seq % {self._branches} + 1"
        database.run(
            f"{_TABLES}INSERT INTO branches (id) SELECT seq FROM seq_1_to_{self._branches};"
            f"INSERT INTO tellers (id, branch) SELECT seq, {branch} FROM seq_1_to_10;"
            f"INSERT INTO accounts (id, branch, filler) SELECT seq, {branch}, REPEAT('x', 84)"
            f" FROM seq_1_to_{self._accounts}"
        )

    @classmethod
    def of(cls, database: Database, *, scale: float) -> Self:
        """Return the same bank, by another way to it."""
        return cls(database, scale=scale, makes_tables=False)

    def balance(self, database: str | None = None) -> Balance:
        """Return what is in a database at one moment."""
        return Balance(self._database.run(_SUMS, database=database))

    def balance_of(self, backup: Path) -> Balance:
        """Return what is in a backup file, by ``mariadb`` alone."""
        self._database.run("CREATE DATABASE looked_into")
        try:
            self._database.run(backup.read_text(encoding="utf-8"), database="looked_into")
            return self.balance("looked_into")
        finally:
            self._database.run("DROP DATABASE looked_into")

    @contextmanager
    def in_use(self, *, clients: int = 4) -> Iterator[None]:
        """Have clients move money until the block ends; ``committed`` are their moves."""
        stop = threading.Event()

        def move(number: int) -> None:
            rng = random.Random(number)
            url = sa.make_url(self._database.server.url(self._database.name))
            connection = pymysql.connect(
                unix_socket=str(url.query["unix_socket"]), user="root", database=url.database
            )
            one = number * 10_000_000 + len(self.committed)
            with connection:
                while not stop.is_set():
                    one += 1
                    try:
                        self._move(connection, one, rng)
                        self.committed.append(one)
                    except pymysql.err.OperationalError as error:
                        connection.rollback()
                        if error.args[0] != 1213:  # a deadlock of theirs
                            self.errors.append(error)

        threads = [threading.Thread(target=move, args=(n,)) for n in range(1, clients + 1)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + _SECONDS
        try:
            while len(self.committed) < 10:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _move(
        self, connection: pymysql.connections.Connection, move: int, rng: random.Random
    ) -> None:
        teller, account = rng.randint(1, 10), rng.randint(1, self._accounts)
        branch, delta = rng.randint(1, self._branches), rng.randint(-5000, 5000)
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE accounts SET balance = balance + {delta} WHERE id = {account}")
            cursor.execute(f"UPDATE tellers SET balance = balance + {delta} WHERE id = {teller}")
            cursor.execute(f"UPDATE branches SET balance = balance + {delta} WHERE id = {branch}")
            cursor.execute(
                f"INSERT INTO history VALUES ({move}, {teller}, {branch}, {account}, {delta})"
            )
        connection.commit()
