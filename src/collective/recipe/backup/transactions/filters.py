"""Filters of transactions, by user and description.  Pure."""

from __future__ import annotations

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.transactions.logged import Logged


def text_of(written: bytes) -> str:
    """Return as text what a stranger has *written*; bytes that are no UTF-8 become ``\\xNN``.

    It may hold control characters: a terminal gets it by ``errors.printable``.
    """
    return written.decode("utf-8", "backslashreplace")


@dataclass(frozen=True, kw_only=True)
class Filter:
    """The conditions for a transaction to be shown."""

    user: str | None = None  # the whole user, or the id behind the path that Zope writes before it
    text: str | None = None  # a part of the description, in upper or lower case

    def matches(self, entry: Logged) -> bool:
        """Tell whether *entry* is wanted."""
        if self.user is not None:
            user = text_of(entry.user)
            if self.user not in (user, user.rpartition(" ")[2]):
                return False
        if self.text is None:
            return True
        return self.text.casefold() in text_of(entry.description).casefold()
