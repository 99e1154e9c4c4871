"""Elements of HTML and SVG.  Any text that is not Markup is escaped."""

from __future__ import annotations

import re
from html import escape

from collective.recipe.backup.errors import printable

VOID = {"meta", "br", "link"}


class Markup(str):
    """Text that is HTML already; only this room makes it, from what it has escaped."""

    __slots__ = ()


def text(words: str) -> Markup:
    """Return *words* escaped; characters that no page may hold are spelled out.

    Lines and tabs stay, and so does the order of reading: no name of a file may turn the
    rest of a line around.
    """
    lines = ("\t".join(map(printable, line.split("\t"))) for line in words.split("\n"))
    return Markup(escape("\n".join(lines), quote=True))


def element(name: str, /, *content: str | Markup, **attributes: str | float | None) -> Markup:
    """Return the element *name*; an attribute that is None is left out.

    Attributes are named as Python can: ``class_``, ``aria_label``; SVG's ``viewBox`` as it is.
    """
    shown = "".join(
        f' {_attribute(key)}="{text(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(part if isinstance(part, Markup) else text(part) for part in content)
    return Markup(f"<{name}{shown}>" if name in VOID else f"<{name}{shown}>{inside}</{name}>")


def join(*parts: Markup) -> Markup:
    """Return all *parts*, a line each."""
    return Markup("\n".join(parts))


def document(language: str, head: Markup, body: Markup) -> str:
    """Return a whole page."""
    return f"<!DOCTYPE html>\n{element('html', head, body, lang=language)}\n"


def stylesheet(css: str) -> Markup:
    """Return *css*, which is ours, as an element: it is not text to escape."""
    if "<" in css:
        raise ValueError("a stylesheet holds no markup")
    return Markup(f"<style>\n{css}</style>")


def _attribute(key: str) -> str:
    return re.sub("_", "-", key.removesuffix("_"))


def _value(value: str | float) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)
