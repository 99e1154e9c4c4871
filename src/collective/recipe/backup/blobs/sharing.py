"""Copy thousands of small blobs by two processes: this one, and a helper.

To make a directory and a file takes the kernel about as long as it takes Python to ask for it, and
threads take turns at that.  So a helper carries out a part of the orders, share by share.  It says
when it is done with one, and nothing else: at any error it ends.  Its share is then done here once
more, and the error occurs here as well.  So the helper may die at any time, and no error has to be
handed over.  One that was stopped is killed after a while (see patience).

It starts in the directory that is filled and uses paths relative to that: once the directory is
removed, the helper can make no files any more.  It ends when this process does.
"""

from __future__ import annotations

import os
import pickle
import select
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from collective.recipe.backup import process
from collective.recipe.backup.blobs.checksums import Checksum
from collective.recipe.backup.blobs.copying import CopyOrder, Done, How
from collective.recipe.backup.blobs.layout import Entry, Kind
from collective.recipe.backup.blobs.restoration import Restoration
from collective.recipe.backup.files import Files
from collective.recipe.backup.listings import changing

SHARE = 100
"""Orders in a share, or a few more: the entries of one directory are not divided."""
SHARE_SIZE = 8 << 20
"""So many bytes make one as well."""
_AHEAD = 2
"""So many shares are given to the helper at a time, so that it need not wait for the next."""
_LARGEST = 8 * SHARE_SIZE
"""Bytes of a share that the helper is given: it is to be heard of before long; see patience."""
_LONGEST = 100
"""Bytes that no answer has."""

Run = Callable[[Iterable[CopyOrder]], Iterator[Done]]
"""Carries out orders, and yields the result for each."""


@contextmanager
def sharing(restoration: Restoration) -> Iterator[Run]:
    """Yield a function that carries out orders as ``restoration.run`` does, in any order.

    When the body ends, the helper is gone.
    """
    if not process.can_compute():
        yield restoration.run
        return
    restoration.make_target()
    with (
        changing,
        restoration.holding(),
        process.helping(__name__, restoration.target) as helper,
    ):
        yield _Division(restoration, helper).run


def shares(orders: Iterable[CopyOrder]) -> Iterator[list[CopyOrder]]:
    """Yield *orders* in shares: the entries of a directory are in one, with all below."""
    share: list[CopyOrder] = []
    size, last = 0, ""
    for order in orders:
        is_full = len(share) >= SHARE or size >= SHARE_SIZE
        if is_full and not f"{order.place}/".startswith(f"{last}/"):
            yield share
            share, size = [], 0
        share.append(order)
        size += order.size
        last = order.place
    if share:
        yield share


class _Division:
    """The division of work between this process and the *helper*; None: there is none."""

    def __init__(self, restoration: Restoration, helper: process.Helper | None) -> None:
        self._restoration = restoration
        self._helper = helper
        self._given: deque[list[CopyOrder]] = deque()  # shares that it has not answered for
        self._number = 0  # of the first of them
        self._made = ""  # the last directory that was made for it
        self._heard = b""  # the begin of an answer
        self._ask(os.path.abspath(restoration.source))

    def run(self, orders: Iterable[CopyOrder]) -> Iterator[Done]:
        """Carry out *orders*; yield what became of each."""
        for share in shares(orders):
            yield from self._carry_out(share)
        yield from self._answered(wait=True)

    def _carry_out(self, share: list[CopyOrder]) -> Iterator[Done]:
        """Carry out a share, or give it to the helper; yield finished orders of either."""
        if not all(order.known and order.entry.kind is Kind.BLOB for order in share):
            # a foreign file may need a directory that the helper is making
            yield from self._answered(wait=True)
            yield from self._restoration.carry_on(share)
            return
        yield from self._answered(wait=False)
        size = sum(order.size for order in share)
        if self._helper is not None and len(self._given) < _AHEAD and size <= _LARGEST:
            self._give(share)
        else:
            yield from self._restoration.carry_on(share)

    def _give(self, share: list[CopyOrder]) -> None:
        """Ask the helper for *share*, having made the directories that others need as well."""
        for order in share:
            above = order.place.rpartition("/")[0]
            if above and above != self._made:
                self._restoration.make_directories(above, self._made)
                self._made = above
        self._given.append(share)
        self._ask([tuple(order.known) for order in share if order.known])

    def _ask(self, what: str | list[tuple[object, ...]]) -> None:
        if self._helper is None:
            return
        try:
            pickle.dump(what, self._helper.asked)
            self._helper.asked.flush()
        except OSError:
            self._end()

    def _answered(self, *, wait: bool) -> Iterator[Done]:
        """Yield what became of the shares that the helper has answered for, or has to."""
        while self._given and (wait or self._may_be_heard()):
            is_done = self._hears()
            share = self._given.popleft()
            if is_done:
                yield from (Done(order.entry, How.COPIED, order.known) for order in share)
            else:
                self._end()
                yield from self._carry_out_again(share)

    def _may_be_heard(self) -> bool:
        """Tell whether there is no need to wait for the next answer, or for its absence."""
        if self._helper is None or b"\n" in self._heard:
            return True
        poll = select.poll()
        poll.register(self._helper.answers, select.POLLIN)
        return bool(poll.poll(0))

    def _hears(self) -> bool:
        """Wait for the next answer; tell whether it is the right one."""
        while self._helper is not None and b"\n" not in self._heard:
            more = self._helper.answers.read1(_LONGEST)
            self._heard += more
            if not more or len(self._heard) > 2 * _LONGEST:
                return False
        answer, _line_feed, self._heard = self._heard.partition(b"\n")
        self._number += 1
        return answer + b"\n" == _answer(self._number)

    def _end(self) -> None:
        """See to it that there is no helper any more."""
        if self._helper is not None:
            self._helper.end()
        self._helper, self._heard = None, b""

    def _carry_out_again(self, share: list[CopyOrder]) -> Iterator[Done]:
        """Carry out what a helper that is gone has done in part."""
        for order in share:
            self._restoration.files.clear(self._restoration.target / order.entry.path)
        return self._restoration.carry_on(share)


def _answer(number: int) -> bytes:
    return f"share {number} is done\n".encode("ascii")


def main() -> None:
    """Fill the working directory as standard input asks for: see process.helping."""
    with suppress(EOFError):
        source = Path(_asked())
        restoration = Restoration(source=source, target=Path(), earlier=None, files=Files())
        with restoration.holding():
            for number in count(1):
                orders = [_order(Checksum(*known)) for known in _asked()]
                if any(done.how is not How.COPIED for done in restoration.carry_on(orders)):
                    return
                sys.stdout.buffer.write(_answer(number))
                sys.stdout.buffer.flush()


def _asked() -> Any:
    return pickle.load(sys.stdin.buffer)  # noqa: S301  our own process wrote it


def _order(known: Checksum) -> CopyOrder:
    return CopyOrder(Entry(known.path, Kind.BLOB), known)
