"""A Flask application with Flask-SQLAlchemy and Flask-Migrate that backs up its database."""

from __future__ import annotations

from pathlib import Path

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

from soulsense_db import BackupManager

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{Path(__file__).with_name('app.db')}"
db = SQLAlchemy(app)
Migrate(app, db)


class Note(db.Model):
    """A note of a person."""

    id = db.Column(db.Integer, primary_key=True)
    text = db.Column(db.String, nullable=False)


@app.get("/notes")
def notes() -> list[str]:
    """Return all notes."""
    return [note.text for note in Note.query]


@app.post("/backups")
def back_up() -> dict[str, str]:
    """Make a backup while other requests go on."""
    info = BackupManager(db.engine).create("Requested")
    return {"id": info.id, "filename": info.filename}
