"""The page around the sections of a report: one HTML document that fetches nothing."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from typing import Any

from jaxgan.commands.report_script import SCRIPT
from jaxgan.commands.report_style import STYLE

# The browser itself then refuses to fetch anything, should a picture or text have smuggled in an address.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page: its anchor, its heading (plain text) and its body (HTML)."""

    anchor: str
    title: str
    body: str


def page(title: str, header: str, sections: Sequence[Section]) -> str:
    """Returns the document.

    Args:
      title: of the page, plain text.
      header: HTML below the title.
      sections: in order.
    """
    links = "".join(f'<li><a href="#{part.anchor}">{html.escape(part.title)}</a></li>' for part in sections)
    body = "".join(
        f'<section id="{part.anchor}" aria-labelledby="{part.anchor}-title">'
        f'<h2 id="{part.anchor}-title">{html.escape(part.title)}</h2>{part.body}</section>'
        for part in sections
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{html.escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>{html.escape(title)}</h1>{header}</header>
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main>
{body}
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def note(text: str) -> str:
    """Returns a sentence, given as plain text, in the place of something that is missing or to be known."""
    return f'<p class="note">{html.escape(text)}</p>'


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, caption: str = "") -> str:
    """Returns a table; all arguments are plain text, except for cells that are `Markup`."""
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(_cell(value, i) for i, value in enumerate(row))}</tr>" for row in rows)
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


@dataclasses.dataclass(frozen=True)
class Markup:
    """HTML that goes into a cell as it is."""

    html: str


def facts(pairs: Sequence[tuple[str, Any]]) -> str:
    """Returns a list of names and values, given as plain text."""
    items = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd></div>"
        for name, value in pairs
        if value not in (None, "")
    )
    return f'<dl class="facts">{items}</dl>'


def _cell(value: Any, column: int) -> str:
    content = value.html if isinstance(value, Markup) else html.escape(str(value))
    return f'<th scope="row">{content}</th>' if column == 0 else f"<td>{content}</td>"
