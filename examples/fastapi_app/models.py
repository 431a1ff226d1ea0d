"""The tables of the application."""

from __future__ import annotations

from sqlmodel import Field, SQLModel


class Note(SQLModel, table=True):
    """A note of a person."""

    id: int | None = Field(default=None, primary_key=True)
    text: str
