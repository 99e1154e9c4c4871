"""From the members of archives to a tree of blobs."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing

from collective.recipe.backup.blobs.archives.archivenames import Archive
from collective.recipe.backup.blobs.archives.archivereading import Member, What, mark_of
from collective.recipe.backup.blobs.archives.dumpdirs import DumpdirFollower
from collective.recipe.backup.blobs.archives.ground import Ground, Refused, shown
from collective.recipe.backup.blobs.archives.stored import damaged, other_size
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.layout import MARKER, Layout, blob_of
from collective.recipe.backup.blobs.refusing import leads_out
from collective.recipe.backup.times import Tid

Read = Callable[[Archive], Generator[Member, None, None]]
"""Yields the members of an archive."""


class Unpacking:
    """Unpacks a chain of archives, oldest first, to *ground*, but for blobs after *until*."""

    def __init__(self, ground: Ground, until: Tid) -> None:
        self._ground = ground
        self._until = until
        self._follower = DumpdirFollower(ground, until)
        self._placed: set[int] | None = None
        self._layout: Layout | None = None
        self._follows_marker = False
        self._elsewhere: set[int] = set()
        self._moved = self._links = False
        self._foreign = self._held = 0

    def run(self, archives: Sequence[Archive], read: Read, *, size: int | None = None) -> Copied:
        """Unpack them; return the bytes of all files that they hold, and how many are foreign.

        Raises IntegrityError, which names the archive, for what does not fit, or if they do not
        hold *size* bytes (None: unknown).
        """
        for archive in archives:
            is_ours = mark_of(archive) is not None
            if archive.delta:
                # the storage may have been migrated to another layout since the full one
                self._begin_delta(self._ground.laid_out() if is_ours else None)
            elif is_ours:
                # it says early what layout its blobs are to have
                self._follows_marker = True
            try:
                with closing(read(archive)) as found:
                    self._add_all(found)
            except Refused as error:
                raise damaged(archive, str(error)) from error
        if size not in (None, self._held):
            raise other_size(archives, found=self._held, expected=size)
        return Copied(foreign=self._foreign, whole=self._held)

    def _begin_delta(self, layout: Layout | None) -> None:
        """Expect an incremental archive, which may replace what earlier ones brought.

        Where a *layout* is given, blobs come where that has them.
        """
        self._follower = DumpdirFollower(self._ground, self._until)
        self._placed = set()
        self._layout = layout

    def _add_all(self, members: Iterable[Member]) -> None:
        for member in members:
            if member.what is What.DIRECTORY:
                self._add_directory(member)
            else:
                self._add(member)
        self._follower.finish()
        self._moved |= self._follower.moved
        if self._moved and self._links:
            for path, text in self._ground.links():
                _check_link(path, text)

    def _add_directory(self, member: Member) -> None:
        new = self._ground.enter(member.path, member.status)
        if member.dumpdir:
            self._follower.follow(member.path, member.dumpdir, new=new)

    def _add(self, member: Member) -> None:
        path, blob = member.path, blob_of(member.path)
        if blob and blob.tid > self._until:
            return
        self._held += member.status.st_size
        if blob and self._layout:
            path = self._layout.path(blob)
        self._ground.enter(os.path.dirname(path))
        if path != member.path:
            # ZODB did not find it at its place; a blob that it did find counts before this one
            if self._placed is None and self._ground.holds(path):
                return
            self._elsewhere.add(hash(path))
        self._make_way(path)
        self._put(path, member, is_blob=blob is not None)
        if self._follows_marker and path == MARKER:
            self._layout = self._ground.marked()

    def _make_way(self, path: str) -> None:
        """See to it that *path*, whose directory is there, is free."""
        key = hash(path)
        if self._ground.holds(path):
            is_second = self._placed is None or key in self._placed
            if is_second and key not in self._elsewhere:
                raise Refused(f"it holds {shown(path)} twice")
            if self._ground.has_directory(path):
                raise Refused(f"{shown(path)} is a directory in an earlier archive")
            self._ground.remove(path)
        if self._placed is not None:
            self._placed.add(key)

    def _put(self, path: str, member: Member, *, is_blob: bool) -> None:
        """Put an entry other than a directory to *path*, which is free."""
        if member.what is What.HARD_LINK:
            if not self._ground.has_file(member.link):
                what = f"{shown(path)} is a link to {shown(member.link)}, which is no file here"
                raise Refused(what)
            self._ground.add_hard_link(member.link, path)
        elif member.what is What.SYMBOLIC_LINK:
            _check_link(path, member.link)
            self._ground.add_symbolic_link(member, path)
            self._links = True
        else:
            self._ground.write(path, member, is_blob=is_blob)
        self._foreign += not is_blob


def _check_link(path: str, text: str) -> None:
    if not text or leads_out(path, text):
        raise Refused(f"{shown(path)} is a symbolic link out of the blobstorage")
