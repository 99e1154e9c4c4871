"""Copying restore points to another repository, where everything is sealed anew.

The other repository has other keys, so ids are others there.  Each node is made again with the ids
that its chunks have in the copy; that is why the bytes of a node, and those of a restore point,
never hold an id.  The cache of the source remembers the id of each chunk in the copy, so that the
next copy reads only new chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from collective.recipe.backup.repository.chunks import LEAF, ChunkId, is_node
from collective.recipe.backup.repository.copiedchunks import CopiedChunks
from collective.recipe.backup.repository.doubts import doubt_gone, settle_doubts
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Draft, Point
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.repository.standing import standing
from collective.recipe.backup.repository.tickets import LIFETIME
from collective.recipe.backup.repository.writing import ChunkWriter, write


def to_copy(source: Repository, target: Repository, points: Iterable[Point]) -> list[Point]:
    """Return those of *points* of the source that the target lacks, in the order of the store.

    A restore point of the target is the copy of one with the site, stamp and transaction.
    """
    there = {
        (point.site, point.stamp, point.tid) for point in standing(target, target.look()).points
    }
    missing = [each for each in points if (each.site, each.stamp, each.tid) not in there]
    return sorted(missing, key=lambda point: (point.stored, point.counter, point.name))


def copy(
    source: Repository, target: Repository, points: Iterable[Point], lifetime: timedelta = LIFETIME
) -> Iterator[Point]:
    """Copy those of *points* that the target lacks, oldest first; yield each that was made.

    Chunks are stored again if their bundle in the target is gone, or marked as damaged.  A
    restore point that the target has is not looked at.
    Raises IntegrityError if something that one needs cannot be read in the source.
    """
    missing = to_copy(source, target, points)
    if missing:
        target.index.refresh()
        doubt_gone(target)
        settle_doubts(target)
    run = _Run(source, target, lifetime)
    title = "Copying restore points"
    with source.progress.phase(title, len(missing), "restore points") as advance:
        for point in missing:
            yield run.copied(point)
            advance(1)


class _Run:
    """Copies restore points one after the other; the next one builds on those already copied."""

    def __init__(self, source: Repository, target: Repository, lifetime: timedelta) -> None:
        self._source = source
        self._target = target
        self._lifetime = lifetime
        self._leaves = CopiedChunks(source.cache, target.about.repository)
        self._nodes: dict[ChunkId, ChunkId] = {}
        self._made: list[Point] = []

    def copied(self, point: Point) -> Point:
        """Copy one restore point; return that of the target."""
        attempt: dict[ChunkId, ChunkId] = {}

        def build(writer: ChunkWriter) -> Draft:
            # chunks that were copied before belong to restore points of the target, if those are
            # there
            vouched = all([writer.build_on(each) for each in self._made])
            attempt.clear()
            attempt.update(self._nodes if vouched else {})
            one = _Copying(self._source, writer, self._leaves, attempt)
            return Draft(
                stamp=point.stamp,
                claimed=point.claimed,
                roots=tuple(one.copied(point.roots)),
                payload=point.payload,
                tid=point.tid,
                records=point.records,
            )

        made = write(self._target, point.site, build, self._lifetime)
        self._leaves.remember()
        self._nodes = attempt
        self._made.append(made)
        return made


class _Copying:
    def __init__(
        self,
        source: Repository,
        writer: ChunkWriter,
        leaves: CopiedChunks,
        nodes: dict[ChunkId, ChunkId],
    ) -> None:
        self._source = source
        self._writer = writer
        self._leaves = leaves
        self._nodes = nodes  # all below them is copied as well
        self._reader = ChunkReader(source)

    def copied(self, roots: Sequence[ChunkId]) -> list[ChunkId]:
        """Copy all that is reached from *roots*; return their ids in the copy.

        A node is copied once all that it names is, so the deepest come first.
        """
        waiting = list(reversed(self._nodes_of(self._copy_leaves(roots))))
        while waiting:
            chunk = waiting[-1]
            if chunk in self._nodes:
                waiting.pop()
                continue
            node = self._reader.node(chunk)
            deeper = self._nodes_of(self._copy_leaves(node.refs))
            if deeper:
                waiting += reversed(deeper)
                continue
            kind = self._kinds([chunk])[chunk]
            ids = self._ids(node.refs)
            self._nodes[chunk] = self._writer.add_node(node.payload, ids, kind)
            waiting.pop()
        return self._ids(roots)

    def _nodes_of(self, chunks: Iterable[ChunkId]) -> list[ChunkId]:
        return [each for each in dict.fromkeys(chunks) if each not in self._nodes]

    def _copy_leaves(self, chunks: Sequence[ChunkId]) -> list[ChunkId]:
        """Copy the leaves among *chunks* that are not in the target; return the nodes."""
        kinds = self._kinds(chunks)
        # a chunk that no catalog has is read as a leaf, and its error names it
        leaves = dict.fromkeys(each for each in chunks if not is_node(kinds.get(each, LEAF)))
        copied = self._leaves.known(leaves)
        there = self._writer.known(copied.values())
        lacking = [each for each in leaves if copied.get(each) not in there]
        for chunk, data in self._reader.each(lacking):
            self._leaves.add(chunk, self._writer.add(kinds[chunk], data))
        return [each for each in chunks if is_node(kinds.get(each, LEAF))]

    def _kinds(self, chunks: Iterable[ChunkId]) -> dict[ChunkId, int]:
        return {chunk: places[0].kind for chunk, places in self._source.index.of(chunks)}

    def _ids(self, chunks: Sequence[ChunkId]) -> list[ChunkId]:
        leaves = self._leaves.known(each for each in chunks if each not in self._nodes)
        return [self._nodes.get(each) or leaves[each] for each in chunks]
