"""The template of all texts of the window, from which a translator begins.

    python3 tests/messages.py

writes it anew; a test holds that nobody forgot to.
"""

from __future__ import annotations

import io

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.pofile import write_po

from soulsense_db.dialog import texts, translation

TEMPLATE = translation.LOCALE / f"{translation.DOMAIN}.pot"
_KEYWORDS = {"N_": None, "NN_": (1, 2)}


def template() -> bytes:
    """Return the template as it has to be."""
    catalog = Catalog(project=translation.DOMAIN, copyright_holder="the authors", fuzzy=False)
    catalog.header_comment = "# Every text of soulsense_db's window."
    for _line, message, comments, _context in extract_from_file(
        "python", texts.__file__, keywords=_KEYWORDS
    ):
        catalog.add(message, auto_comments=comments)
    written = io.BytesIO()
    # Neither dates nor places: a change of the template is a change of a text.
    write_po(written, catalog, omit_header=True, no_location=True, width=100)
    return b'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n' + written.getvalue()


if __name__ == "__main__":
    TEMPLATE.parent.mkdir(exist_ok=True)
    TEMPLATE.write_bytes(template())
