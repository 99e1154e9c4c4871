"""The common parts of all pages: their frame, their tables, and the headers for the browser."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from collective.recipe.backup.browsing.askedpage import AskedPage
from collective.recipe.backup.operations.blobsizes import BlobAmount
from collective.recipe.backup.report.markup import Markup, document, element
from collective.recipe.backup.report.style import CSS

STYLE = "style.css"
"""The name under which the stylesheet is served."""

VIEWS = {
    "": "Time line",
    "log": "Transactions",
    "objects": "Objects",
    "deleted": "What is gone",
}

HEADERS = {
    # nothing runs, nothing is fetched from elsewhere, and no other page may show this one
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # the token is part of the URL
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

STYLESHEET = (
    CSS
    + """\
a { color: var(--accent); }
nav { display: flex; flex-wrap: wrap; gap: .35rem 1.25rem; margin: 0 0 1.5rem; }
nav a { text-decoration: none; padding: .15rem 0; }
nav a[aria-current] { color: var(--ink); font-weight: 600; border-bottom: 2px solid var(--accent); }
form { display: flex; flex-wrap: wrap; gap: .75rem; align-items: end; }
label { display: grid; gap: .2rem; font-size: .875rem; color: var(--soft); flex: 1 1 11rem; }
input {
  font: inherit; color: var(--ink); background: var(--paper); padding: .4rem .6rem;
  border: 1px solid var(--rule); border-radius: .4rem; width: 100%; min-width: 0;
}
button {
  font: inherit; padding: .4rem 1.1rem; border-radius: .4rem; border: 1px solid var(--accent);
  background: var(--accent); color: var(--card); cursor: pointer;
}
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
h1 { margin-bottom: 1.25rem; }
.card > :last-child { margin-bottom: 0; }
.pages:empty { display: none; }
td a + a { margin-left: .75rem; }
td[data-name="look"] a { white-space: nowrap; }
td[data-name="by"] { min-width: 5.5rem; }
td[data-name="changed (UTC)"], td[data-name="went (UTC)"] { min-width: 6.5rem; }
.steps { font-size: 1.1rem; }
.steps a { margin-right: .15rem; }
.pages { margin: .9rem 0 0; display: flex; gap: 1.5rem; }
code { font: .875em ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace; }
"""
)

LONGEST = 500
"""Characters of a text that a stranger wrote."""

Cell = str | Markup
T = TypeVar("T")


def page(asked: AskedPage, site: str, title: str, *sections: Markup) -> str:
    """Return a whole page about the backups of *site*."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{title}: backups of {site}"),
        element("link", rel="stylesheet", href=STYLE),
    )
    top = element("header", element("p", f"Backups of {site}", class_="soft"), _navigation(asked))
    main = element("main", top, element("h1", title), *sections)
    return document("en", head, element("body", main))


def _navigation(asked: AskedPage) -> Markup:
    links = [
        element(
            "a",
            words,
            href=asked.url_of(view),
            aria_current="page" if view == asked.view else None,
        )
        for view, words in VIEWS.items()
    ]
    return element("nav", *links)


def card(*content: Cell) -> Markup:
    """Return a part of a page."""
    return element("section", *content, class_="card")


def anchor(words: str, url: str) -> Markup:
    """Return a link."""
    return element("a", short(words), href=url)


def short(words: str) -> str:
    """Return what a stranger wrote, cut if it is very long: a page has hundreds of such texts."""
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}..."


def form(asked: AskedPage, view: str, button: str, *fields: tuple[str, str, str]) -> Markup:
    """Return a form that leads to a page about the same storage.

    Of each field it gets the name, the words and the value.
    """
    storage = asked.text("storage")
    kept = [element("input", type="hidden", name="storage", value=storage)] if storage else []
    inputs = [
        element("label", words, element("input", name=name, value=value))
        for name, words, value in fields
    ]
    return card(element("form", *kept, *inputs, element("button", button), action=view or "./"))


def table(titles: Sequence[str], rows: Iterable[Sequence[Cell]], numbers: Sequence[str]) -> Markup:
    """Return a table; the columns with the titles *numbers* are numbers."""
    kinds = {each: "number" if each in numbers else None for each in titles}
    head = [element("th", each, class_=kinds[each]) for each in titles]
    body = [
        element(
            "tr",
            *(
                element("td", cell, class_=kinds[title], data_name=title)
                for title, cell in zip(titles, row, strict=True)
            ),
        )
        for row in rows
    ]
    return element("table", element("thead", element("tr", *head)), element("tbody", *body))


def together(*parts: Cell) -> Markup:
    """Return the content of a cell that has several parts."""
    return element("span", *parts)


def blobs_of(amount: BlobAmount) -> str:
    """Return the content of a cell about blobs."""
    return f"{amount.number:,} ({amount.words})" if amount.number else ""


def pages(*links: Markup | None) -> Markup:
    """Return the links to the pages before and after, if there are such."""
    return element("p", *filter(None, links), class_="pages")


def shown_of(asked: AskedPage, found: Sequence[T], rows: int, name: str = "from") -> Sequence[T]:
    """Return those of *found* that the page shows: *rows* of them, from the argument *name* on."""
    first = asked.number(name)
    return found[first : first + rows]


def pages_of(
    asked: AskedPage,
    count: int,
    rows: int,
    name: str = "from",
    words: tuple[str, str] = ("More", "Back"),
) -> Markup:
    """Return the links to the others of *count* things; see shown_of."""
    first = asked.number(name)
    more = asked.same(**{name: str(first + rows)}) if first + rows < count else ""
    less = asked.same(**{name: str(max(0, first - rows))}) if first else ""
    return pages(*(anchor(each, to) for each, to in zip(words, (more, less), strict=True) if to))
