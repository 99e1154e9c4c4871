"""Error messages for a node of Tahoe-LAFS that refuses, fails, or is not reached."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from collective.recipe.backup.errors import (
    BackupError,
    StoreRefused,
    StoreUnreachable,
    printable,
)
from collective.recipe.backup.storeurls import without_capabilities

GONE = 410
"""The status of an answer that says that too few shares of something were found."""

_TAGS = re.compile(r"<[^>]*>")
_NO_ROOM = ("UploadUnhappinessError", "NotEnoughServersError", "NoServersError")
_SHARED = ("UncoordinatedWriteError",)


class NodeAnswer(NamedTuple):
    """The answer of a node."""

    status: int  # HTTP status
    date: str  # the clock of the node, as HTTP has it; "": it does not say
    data: bytes  # the body

    def json(self) -> Any:
        """Return the body as JSON.  Raises ValueError if it is not JSON."""
        return json.loads(self.data)

    @property
    def text(self) -> str:
        """The body as one line, without capabilities; of a traceback the end."""
        said = self.data.decode("utf-8", "replace").strip()
        if said.startswith("Traceback"):
            said = said.rpartition("\n")[2]
        words = " ".join(_TAGS.sub(" ", said[:2000]).split())
        return printable(without_capabilities(words))[:200]

    @property
    def is_undone(self) -> bool:
        """Whether the node says that the request has certainly changed nothing."""
        return self.names(*_NO_ROOM)

    def names(self, *errors: str) -> bool:
        """Tell whether one of these *errors* of Tahoe-LAFS is in it."""
        return any(error.encode() in self.data for error in errors)


def no_answer(error: Exception, what: str, where: str, node: str) -> StoreUnreachable:
    """Return the error that says that no node answers."""
    reason = printable(without_capabilities(str(error)) or type(error).__name__)[:200]
    return StoreUnreachable(
        f"{what}: no node of Tahoe-LAFS answers at {node} ({reason})",
        where=where,
        hint="does it run (tahoe run), and is this the address of its web API?  What is stored "
        "already is not sent again",
    )


def no_node(what: str, where: str) -> StoreUnreachable:
    """Return the error that says that what answers is no node."""
    return StoreUnreachable(
        f"{what}: something else answers in the place of a node of Tahoe-LAFS",
        where=where,
        hint="is the address that of the web API of a node?",
    )


def no_directory(what: str, where: str) -> StoreUnreachable:
    """Return the error that says that the directory is missing: nothing may be made beneath."""
    return StoreUnreachable(
        f"{what}: the directory of the repository is not there",
        where=where,
        hint="is the capability right, and the path?  A new repository is made once, by init, "
        "which makes the directory; check-store wants it made",
    )


def may_only_read(what: str, where: str) -> StoreRefused:
    """Return the error that says that the capability lets nothing be changed."""
    return StoreRefused(
        f"{what}: this capability may only read",
        where=where,
        hint="what reads needs no more; use the capability that may write as well for the rest",
    )


def explained_refusal(answer: NodeAnswer, what: str, where: str) -> BackupError:
    """Return the BackupError that says why *what* did not work."""
    if answer.is_undone:
        return StoreUnreachable(
            f"{what}: the grid has too few servers with room ({answer.text!r})",
            where=where,
            hint="do enough storage servers run, and have they room?  Its welcome page tells",
        )
    if answer.names(*_SHARED):
        return StoreUnreachable(
            f"{what}: another node writes the directory at the same time",
            where=where,
            hint="run the command again; each node needs a directory of its own: is a writer "
            "set that two nodes have in common?",
        )
    if answer.status == GONE:
        return StoreUnreachable(
            f"{what}: the grid has too few shares of the directory",
            where=where,
            hint="do all storage servers run, and is the capability right?  Heal repairs what "
            "servers have lost",
        )
    if answer.status < 500:
        return StoreRefused(
            f"{what}: the node says {answer.status} ({answer.text!r})",
            where=where,
            hint="is the capability that of a directory, and is its alias right?",
        )
    return StoreUnreachable(
        f"{what}: the node fails with {answer.status} ({answer.text!r})",
        where=where,
        hint="look into the log of the node, and run the command again",
    )
