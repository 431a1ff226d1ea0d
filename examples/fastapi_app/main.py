"""A FastAPI application with SQLModel and aiosqlite that backs up its database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from models import Note
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from soulsense_db import AsyncBackupManager

engine = create_async_engine("sqlite+aiosqlite:///app.db")
manager = AsyncBackupManager(engine)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Close all connections at the end."""
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/notes")
async def notes() -> list[Note]:
    """Return all notes."""
    async with AsyncSession(engine) as session:
        return list(await session.exec(select(Note)))


@app.post("/backups")
async def back_up() -> dict[str, str]:
    """Make a backup while other requests go on."""
    info = await manager.create("Requested")
    return {"id": info.id, "filename": info.filename}
