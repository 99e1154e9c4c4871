"""The moments that a user may name in a command.

Before anything is replaced, the user sees which moment was understood.
"""

from __future__ import annotations

import argparse
import logging
from datetime import datetime
from typing import TYPE_CHECKING

from collective.recipe.backup import times
from collective.recipe.backup.errors import UsageError, printable
from collective.recipe.backup.momentwords import FORMS, understood
from collective.recipe.backup.times import When

if TYPE_CHECKING:
    from collective.recipe.backup.operations.inventory import InventoryOrder
    from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")

_A_PATH = (
    "; then a path in it, which begins with filestorage, blobstorage or files, or with a slash: "
    "one of the further files"
)
_OR_A_PATH = "; a path begins with filestorage, blobstorage or files, or with a slash"


def declare(parser: argparse.ArgumentParser, what: str, *, with_path: bool = False) -> None:
    """Declare the moment, *what* says in a few words what for, --before and --local.

    *with_path*: a path may follow, or come alone; see order_of.
    """
    parser.add_argument(
        "moment",
        nargs="*",
        metavar="MOMENT|PATH" if with_path else "MOMENT",
        help=f"{what}: {FORMS}{_A_PATH if with_path else ''}",
    )
    parser.add_argument(
        "--before",
        metavar="TID",
        help="in the place of a moment: before this transaction (log lists them)",
    )
    _declare_local(parser, "the moment is")


def _declare_local(parser: argparse.ArgumentParser, subject: str) -> None:
    parser.add_argument(
        "--local",
        action="store_true",
        help=f"{subject} in the time zone of this machine, not in UTC",
    )


def order_of(run: Run, namespace: argparse.Namespace, *, filled: bool) -> InventoryOrder:
    """Return what the user asked for with a moment and a path.  Raises UsageError."""
    from collective.recipe.backup.operations.inventory import InventoryOrder, is_path, path_of

    *words, last = namespace.moment or [""]
    if last and is_path(last):
        namespace.moment = words
    below = path_of(last) if last and is_path(last) else ""
    try:
        when = asked_for(run, namespace)
    except UsageError as error:
        error.hint += _OR_A_PATH
        raise
    return InventoryOrder(when=when, below=below, filled=filled)


def past_flag(parser: argparse.ArgumentParser) -> None:
    """Declare --as-of."""
    parser.add_argument(
        "--as-of",
        metavar="MOMENT",
        help="read the repository as its bucket was at this moment, whatever was removed or "
        f"overwritten since; the bucket has to keep versions: {FORMS}",
    )


def moment_in(text: str, *, local: bool) -> datetime:
    """Return the moment of --as-of.  Raises UsageError if it is no moment."""
    when = understood(text, times.utcnow(), local=local)
    if not isinstance(when, datetime):
        raise UsageError("--as-of takes a moment, and no transaction", hint=f"write {FORMS}")
    logger.info("the store is read as it was at %s", times.in_words(when))
    return when


def span(parser: argparse.ArgumentParser) -> None:
    """Declare --since, --until and --local."""
    for flag, what in (("--since", "from this moment on"), ("--until", "up to this moment")):
        parser.add_argument(flag, metavar="MOMENT", help=f"{what}: {FORMS}")
    _declare_local(parser, "the moments are")


def asked_span(run: Run, namespace: argparse.Namespace) -> tuple[When | None, When | None]:
    """Return the first and the last moment that the user asked for; None: there is no limit.

    Raises UsageError with a hint.
    """
    first, last = (
        understood(text, run.now, local=namespace.local) if text else None
        for text in (namespace.since, namespace.until)
    )
    if isinstance(first, datetime) and first > run.now:
        logger.warning(
            "--since %s is %s, which is yet to come",
            printable(namespace.since),
            times.in_words(first),
        )
    return first, last


def asked_for(run: Run, namespace: argparse.Namespace) -> When | None:
    """Return the moment that the user asked for, None for none, and say what it was taken for.

    Raises UsageError with a hint.
    """
    text = " ".join(namespace.moment).strip()
    if namespace.before:
        return _before(namespace.before, text)
    if not text:
        return None
    when = understood(text, run.now, local=namespace.local)
    if isinstance(when, datetime) and text != times.stamp(when):
        here = f", here {times.show_local(when)}" if namespace.local else ""
        logger.info("%s is taken for %s%s", printable(text), times.in_words(when), here)
    return when


def _before(text: str, moment: str) -> When:
    """Return the tid before the one that *text* is.  Raises UsageError with a hint."""
    if moment:
        raise UsageError(
            "--before and a moment cannot be used together", hint=f"leave {moment!r} out"
        )
    tid = times.parse(text)
    if isinstance(tid, datetime):
        raise UsageError(f"{text!r} is no transaction", hint="write its tid, 16 hex digits")
    before = times.tid_before(tid)
    logger.info("--before %s is taken for tid %s", times.show_tid(tid), times.show_tid(before))
    return before


def as_json(when: When | None) -> str | None:
    """Return the moment or the tid that was asked for, as it is in JSON."""
    if when is None:
        return None
    return when.isoformat() if isinstance(when, datetime) else times.show_tid(when)
