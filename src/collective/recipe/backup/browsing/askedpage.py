"""The page that a URL asks for, and the URLs of other pages.

All URLs in pages are relative: the token stands before them, and no page knows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlencode

from collective.recipe.backup import times
from collective.recipe.backup.errors import UsageError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import MAIN
from collective.recipe.backup.momentwords import understood
from collective.recipe.backup.times import Tid, When

MOMENTS = ("at", "since", "until")
LIVE = "live"
"""In the place of a moment: the site as it is now."""

KEPT = ("at", "before", "storage")
"""Arguments that pages hand on to each other: the moment, and the storage."""


@dataclass(frozen=True, kw_only=True)
class AskedPage:
    """A page that a request asks for."""

    view: str  # its name; "": the first page
    arguments: Mapping[str, str]  # after the question mark
    now: datetime  # by which "yesterday" is understood

    def text(self, name: str) -> str:
        """Return an argument, without spaces around it; "" if there is none."""
        return self.arguments.get(name, "").strip()

    @property
    def storage(self) -> str:
        """The name of the storage that is looked at."""
        return self.text("storage") or MAIN

    @property
    def path(self) -> str:
        """The path or oid that is looked at."""
        return self.text("path") or "/"

    @property
    def when(self) -> When | None:
        """The moment that is looked at; None: the newest.  Raises UsageError."""
        before = self.tid("before")
        return times.tid_before(before) if before else self.moment("at")

    def moment(self, name: str) -> When | None:
        """Return the moment that an argument names, None for none.  Raises UsageError."""
        text = self.text(name)
        return understood(text, self.now) if text else None

    def tid(self, name: str) -> Tid | None:
        """Return the transaction that an argument names, None for none.  Raises UsageError."""
        text = self.text(name)
        if not text:
            return None
        tid = times.parse(text)
        if isinstance(tid, datetime):
            raise UsageError(f"{text!r} is no transaction", hint="a tid has 16 hex digits")
        return tid

    def exact(self) -> str:
        """Return the URL of this page with exact in place of relative moments; "": it has such.

        Raises UsageError for a text that is no moment.
        """
        exact = {}
        for name in MOMENTS:
            when = None if self.text(name) in ("", LIVE) else self.moment(name)
            if isinstance(when, datetime) and self.text(name) != times.stamp(when):
                exact[name] = times.stamp(when)
        return self.same(**exact) if exact else ""

    def number(self, name: str) -> int:
        """Return an argument as a number; 0 if it is missing or no number."""
        text = self.text(name)
        return int(text) if text.isdecimal() and len(text) < 10 else 0

    def url_of(self, view: str, /, **arguments: str) -> str:
        """Return the URL of another page about this moment, or about another one if it says so."""
        moment = {name: self.text(name) for name in KEPT}
        if arguments.keys() & {"at", "before"}:
            moment = {"storage": moment["storage"]}
        return url(view, **{**moment, **arguments})

    def same(self, **arguments: str) -> str:
        """Return the URL of this page with other *arguments*."""
        return url(self.view, **{**self.arguments, **arguments})


def url(view: str, /, **arguments: str) -> str:
    """Return the URL of a page, without empty arguments."""
    given = {name: value for name, value in arguments.items() if value}
    # a name out of a pickle may hold halves of characters, which no URL can
    query = urlencode(given, errors="replace")
    return f"{view or './'}?{query}" if query else view or "./"
