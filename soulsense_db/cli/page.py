"""What all pages of HTML have in common: one file each, without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from soulsense_db.shown_text import printable

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --added: #1a7f37; --removed: #cf222e;
  --changed: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --added: #3fb950; --removed: #f85149;
  --changed: #d29922; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; } caption { text-align: left; padding: .3rem 0; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .8rem .25rem 0; text-align: left;
  vertical-align: top; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; }
code, td.value { font-family: ui-monospace, monospace; font-size: .9em; overflow-wrap: anywhere; }
.added { color: var(--added); } .removed { color: var(--removed); }
.changed { color: var(--changed); }
summary { cursor: pointer; padding: .4rem 0; } details { margin-bottom: .5rem; }
.note { opacity: .75; }
@media print { body { margin: 0; max-width: none; } .wide { overflow: visible; }
  tr, li { break-inside: avoid; } h2 { break-after: avoid; } }
"""


def page_start(command: str) -> str:
    """Return how each page that ``command`` writes begins."""
    return f"<!doctype html>\n<!-- soulsense-db {command} -->\n"


def page(command: str, *, title: str, heading: str, parts: Iterable[str], style: str = "") -> str:
    """Return a whole page of ``parts``, which are HTML; ``style`` is added to the common one."""
    head = [
        f'{page_start(command)}<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        '<meta http-equiv="Content-Security-Policy" ',
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        f"<title>{html_text(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n<body>\n",
        f"<h1>{html_text(heading)}</h1>\n",
    ]
    return "".join([*head, *parts, "</body>\n</html>\n"])


def html_text(text: str) -> str:
    """Return ``text`` such that nothing in it is HTML, or turns the direction of writing."""
    return escape(printable(text))


def number_cell(text: str, kind: str = "") -> str:
    """Return a cell of a table with a number in it; ``kind``: a class of its style."""
    return f'<td class="number {kind}">{text}</td>' if kind else f'<td class="number">{text}</td>'
