"""The tables of a small wellbeing journal, as they are at the latest revision."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Names every constraint: a batch migration can only change what has a name."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )


class User(Base):
    """A person who keeps a journal."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    email: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]

    entries: Mapped[list[JournalEntry]] = relationship(back_populates="user")
    scores: Mapped[list[ExamScore]] = relationship(back_populates="user")
    settings: Mapped[list[Setting]] = relationship(back_populates="user")


class JournalEntry(Base):
    """What somebody wrote; ``energy`` is from 1 to 10."""

    __tablename__ = "journal_entries"
    __table_args__ = (Index(None, "user_id", "written_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    written_at: Mapped[datetime]
    content: Mapped[str] = mapped_column(Text)
    mood: Mapped[str] = mapped_column(String(20))
    energy: Mapped[int]

    user: Mapped[User] = relationship(back_populates="entries")


class ExamScore(Base):
    """The result of one wellbeing exam; ``score`` is from 0 to 100."""

    __tablename__ = "exam_scores"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    taken_at: Mapped[datetime]
    score: Mapped[int]

    user: Mapped[User] = relationship(back_populates="scores")


class Setting(Base):
    """One choice that a user made, such as ``theme``."""

    __tablename__ = "settings"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[str] = mapped_column(String(200))

    user: Mapped[User] = relationship(back_populates="settings")
