"""A reader of pages of HTML, which checks them."""

from __future__ import annotations

import html.parser


class Page(html.parser.HTMLParser):
    """Checks that each element is closed, and keeps all text, tags and attributes."""

    def __init__(self, text: str) -> None:
        """Read ``text``, which is a whole page."""
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it as open, unless it has no end."""
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Require it to be the one that is open."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep it."""
        self.text += data
