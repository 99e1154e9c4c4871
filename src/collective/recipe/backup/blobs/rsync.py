"""Copy a tree with the program rsync, for users who want its options.

rsync does the copying; each file is then looked at, so that the set has its digests like every
other, and a blob that rsync was told to leave out is copied by ourselves.  So are files that rsync
could not copy: it says only that there were some, and we say which, and why.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from collective.recipe.backup import process
from collective.recipe.backup.blobs.copying import (
    CopyOrder,
    Done,
    How,
    Transfer,
    attempted,
    in_order,
)
from collective.recipe.backup.blobs.digesting import (
    checksum_of,
    is_legible,
    regular,
    unchanged,
)
from collective.recipe.backup.blobs.layout import Kind
from collective.recipe.backup.blobs.refusing import refusal

PROGRAM = "rsync"

_PARTLY, _VANISHED = 23, 24
"""rsync's exit status when it could not copy something, and when files went away, as in a pack."""
_WITHOUT = "our own copier needs no rsync: set use_rsync = false"
_HINTS = {
    1: f"rsync does not take these arguments: mend rsync_options; {_WITHOUT}",
    2: f"the rsync at the other end is too old or is none; {_WITHOUT}",
    3: "a directory is missing or cannot be read: rsync named it above",
    4: f"rsync was built without what rsync_options ask for: mend them; {_WITHOUT}",
    5: "rsync could not start its server: with rsync_options to another machine, is it there?",
    10: "the connection failed: with rsync_options to another machine, try that by hand",
    11: "rsync could not read or write a file, which it named above: is the disk full?",
    12: "rsync ended in the middle: is there enough memory, and room on the disk?",
    14: "the two processes of rsync lost contact: is there enough memory?",
    20: "rsync was interrupted: run the command again",
    22: f"rsync did not get enough memory; {_WITHOUT}",
    25: "rsync_options have a --max-delete, which makes no sense for a new copy: take it out",
    30: "rsync waited too long: take --timeout out of rsync_options",
    35: "rsync waited too long for a connection: take --contimeout out of rsync_options",
}
"""Hints for exit statuses of rsync, see rsync(1)."""
_LEFT_OUT = (
    *("/tmp/", "/.removed", "/lost+found/"),  # noqa: S108  below the root of the source
    *(".backup.restoring*", ".backup.leaving*", ".backup.replaced*"),
)


@dataclass(frozen=True, kw_only=True)
class ByRsync(Transfer):
    """A Transfer by rsync, with hard links to unchanged files of *earlier*."""

    options: tuple[str, ...] = ()  # further arguments of rsync
    link_first: bool = False
    """Whether the first copy, which has no earlier one, is linked to the source."""

    def run(self, orders: Iterable[CopyOrder]) -> Iterator[Done]:
        """Let rsync copy all; then carry out *orders*.  Raises CommandFailed if it fails."""
        self.files.make_directory(self.target)
        status = process.run(
            self.arguments(),
            what="copying the blobs with rsync",
            good=(0, _PARTLY, _VANISHED),
            hints=_HINTS,
        )
        look = self._looked_at_closely if status == _PARTLY else self.attempt
        return in_order(look, self.on_made_ground(orders), self.is_long)

    def arguments(self) -> list[str]:
        """Return the command."""
        excludes = [f"--exclude={name}" for name in _LEFT_OUT]
        linked = self.earlier or (self.source if self.link_first else None)
        links = [f"--link-dest={_absolute(linked)}"] if linked else []
        if self.doubted:
            links.append("--checksum")
        trees = [f"{_absolute(self.source)}/", f"{_absolute(self.target)}/"]
        files_only = ["--no-devices", "--no-specials"]
        return [PROGRAM, "-a", *self.options, *files_only, *excludes, *links, *trees]

    def _looked_at_closely(self, order: CopyOrder) -> Done:
        """Look at one entry; a file that rsync has copied must equal that of the source."""
        done, path = self.attempt(order), order.entry.path
        if done.how is How.VANISHED:
            return attempted(order.entry, lambda: Transfer.carry_out(self, order))
        if done.how is not How.COPIED or done.checksum is None:
            return done
        with suppress(OSError):
            if checksum_of(self.source, path) == done.checksum:
                return done
        self.files.remove(self.target / path)
        return attempted(order.entry, lambda: Transfer.carry_out(self, order))

    def attempt(self, order: CopyOrder) -> Done:
        """Look at one entry; no part of an entry that is left out stays."""
        done = super().attempt(order)
        place = self.target / order.entry.path
        if done.how is How.LEFT_OUT and os.path.lexists(place):
            if place.is_symlink() or not place.is_dir():
                self.files.remove(place)
            else:
                self.files.remove_empty(place)
        return done

    def carry_out(self, order: CopyOrder) -> Done:
        """Look at what rsync made of one entry."""
        entry, known = order
        if entry.kind is Kind.DIRECTORY:
            return Done(entry, How.COPIED)
        if refused := refusal(entry, self.source):
            return Done(entry, How.LEFT_OUT, why=refused)
        if not os.path.lexists(self.target / entry.path):
            # one that is no blob may be left out, as the options say
            is_left = entry.foreign and is_legible(self.source, entry.path)
            return Done(entry, How.VANISHED) if is_left else super().carry_out(order)
        if not entry.blob and self._must_be_copied(entry.path):
            self.files.remove(self.target / entry.path)
            return super().carry_out(order)
        if self._linked(entry.path):
            return self._judged_by_time(
                Done(entry, How.LINKED, known or checksum_of(self.target, entry.path))
            )
        return self.judged(Done(entry, How.COPIED, checksum_of(self.target, entry.path)), known)

    def _judged_by_time(self, done: Done) -> Done:
        """Return *done*, unless rsync, which sees seconds, took a blob for an unchanged one."""
        path, known = done.entry.path, done.checksum
        if not done.entry.blob or not self._must_be_copied(path):
            return done
        if known and checksum_of(self.source, path)[1:] == known[1:]:
            return done
        self.files.remove(self.target / path)
        return super().carry_out(CopyOrder(done.entry, known))

    def _linked(self, path: str) -> bool:
        """Tell whether rsync linked to the earlier copy of a file."""
        if self.earlier is None or not os.path.lexists(self.earlier / path):
            return False
        return os.path.samestat(os.lstat(self.earlier / path), os.lstat(self.target / path))

    def _must_be_copied(self, path: str) -> bool:
        """Tell whether rsync's copy of something that can change will not do.

        It compares whole seconds, and may have linked to the source itself.
        """
        here, there = regular(self.source / path), regular(self.target / path)
        if here is None or there is None:
            return False
        return os.path.samestat(here, there) or not unchanged(here, there)


def _absolute(path: Path) -> str:
    """Return *path* as rsync cannot take it for an option or for another machine."""
    return os.path.abspath(path)
