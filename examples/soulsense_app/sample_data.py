"""Made-up people and what they wrote: the same on every run."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

Row = dict[str, Any]

USERS = 150
ENTRIES = 3000
SCORES = 1200

_FIRST_DAY = datetime(2024, 1, 1, 8)
_DAYS = 700
_NAMES = ("Amara", "Bela", "Chidi", "Dana", "Elif", "Farid", "Greta", "Hana", "Ivo", "Jana")
_MOODS = ("calm", "content", "tired", "anxious", "hopeful", "low", "proud")
_OPENINGS = (
    "Slept well",
    "A long day",
    "Called my sister",
    "Walked by the river",
    "Could not focus",
)
_ENDINGS = (
    "and it helped.",
    "and I am glad of it.",
    "tomorrow will be easier.",
    "I want to do it more.",
)
_CHOICES = {
    "theme": ("light", "dark"),
    "language": ("de", "en", "hi", "pt"),
    "reminder": ("off", "08:00", "21:30"),
}


def fill(engine: sa.Engine) -> None:
    """Fill a database that is at revision ``0002_settings``.

    Its tables are read from the database: the models are those of the latest revision.
    """
    made_up = random.Random(20240129)
    rows = {
        "users": _users(made_up),
        "journal_entries": _entries(made_up),
        "exam_scores": _scores(made_up),
        "settings": _settings(made_up),
    }
    tables = sa.MetaData()
    tables.reflect(engine, only=list(rows))
    with engine.begin() as connection:
        for name, values in rows.items():
            connection.execute(sa.insert(tables.tables[name]), values)


def _users(made_up: random.Random) -> list[Row]:
    users: list[Row] = []
    for number in range(1, USERS + 1):
        name = made_up.choice(_NAMES)
        email = f"{name.lower()}.{number}@example.org"
        users.append({"id": number, "name": name, "email": email, "created_at": _moment(made_up)})
    # Somebody forgot their password and signed up a second time: nothing forbade it.
    users[-1] |= {"name": users[0]["name"], "email": users[0]["email"]}
    return users


def _entries(made_up: random.Random) -> list[Row]:
    return [
        {
            "user_id": made_up.randint(1, USERS),
            "written_at": _moment(made_up),
            "content": f"{made_up.choice(_OPENINGS)}, {made_up.choice(_ENDINGS)}",
            "mood": f"{made_up.choice(_MOODS)}/{made_up.randint(1, 10)}",
        }
        for _ in range(ENTRIES)
    ]


def _scores(made_up: random.Random) -> list[Row]:
    return [
        {
            "user_id": made_up.randint(1, USERS),
            "taken_at": _moment(made_up),
            "score": made_up.randint(0, 100),
        }
        for _ in range(SCORES)
    ]


def _settings(made_up: random.Random) -> list[Row]:
    return [
        {"user_id": user_id, "name": name, "value": made_up.choice(values)}
        for user_id in range(1, USERS + 1)
        for name, values in _CHOICES.items()
    ]


def _moment(made_up: random.Random) -> datetime:
    return _FIRST_DAY + timedelta(minutes=made_up.randrange(_DAYS * 24 * 60))
