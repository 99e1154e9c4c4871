"""A backup of further files: stored as far as an earlier one has them not, or compared."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress

from collective.recipe.backup.destinations.repository.pointcontents import contents_of
from collective.recipe.backup.destinations.repository.sinks import LostNodes
from collective.recipe.backup.destinations.repository.storedtrees import tree_root
from collective.recipe.backup.destinations.repository.treetally import NewTree
from collective.recipe.backup.destinations.repository.treewalk import (
    DamagedTreeError,
    EarlierTree,
    NewTrees,
    OtherwiseError,
)
from collective.recipe.backup.destinations.repository.wantedfiles import WantedFiles
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.doubts import start_over_if_damaged
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.repository.writing import ChunkWriter, UnstoredError


class LiveFiles:
    """The further files that are *wanted*, as they are now; see ``healing.ChunkHolder``.

    A tree in which nothing has changed has the pages that it had.
    """

    def __init__(self, repository: Repository, wanted: WantedFiles) -> None:
        self._repository = repository
        self._wanted = wanted

    def offers(self, lost: Collection[ChunkId]) -> Iterator[tuple[int, bytes]]:
        """Yield what may be pages of *lost*; all files are read for that."""
        sink = LostNodes(self._repository.keyring, lost)
        if lost:
            NewTrees(self._wanted, sink, None, self._repository.progress).stored()
        yield from sink.found.values()


def store_files(
    wanted: WantedFiles, repository: Repository, writer: ChunkWriter, point: Point | None
) -> NewTree:
    """Store the files that are *wanted*, as far as *point*, an earlier one, has them not.

    Raises StartOver if what *point* has is found damaged, and what the repository raises.
    """
    try:
        # where bundles are damaged, each file is read, and its lost chunks are stored again
        usable = point is not None and not writer.must_look_again and writer.build_on(point)
        earlier = _earlier_tree(repository, point) if point is not None and usable else None
        if earlier is not None:
            return NewTrees(wanted, writer, earlier, repository.progress).stored()
    except (DamagedTreeError, UnstoredError):
        start_over_if_damaged(repository, point)
        repository.tell("what was stored of the files is damaged: they are read anew")
    return NewTrees(wanted, writer, None, repository.progress).stored()


def tell_reasons(repository: Repository, found: NewTree) -> None:
    """Say why some files could not be backed up."""
    for reason in found.reasons:
        repository.tell(f"files: {reason}")


def has_same_files(wanted: WantedFiles, repository: Repository, point: Point) -> bool:
    """Tell whether *point* has the files that are *wanted*, as they are; store nothing."""
    comparing = LostNodes(repository.keyring, ())
    with suppress(DamagedTreeError, OtherwiseError):
        contents, earlier = contents_of(point), _earlier_tree(repository, point)
        if contents.files is not None and contents.manifest is not None:
            found = NewTrees(
                wanted, comparing, earlier, repository.progress, only_same=True
            ).stored()
            tell_reasons(repository, found)
            # files that are lacking now may not have been asked for then
            lacking = found.lacking == contents.manifest.left_out
            return lacking and found.root == contents.files.root
    return False


def _earlier_tree(repository: Repository, point: Point) -> EarlierTree | None:
    """Return the files of *point*; None: it has none.  Raises DamagedTreeError."""
    reader = ChunkReader(repository)
    try:
        contents = contents_of(point)
        if contents.files is None or contents.manifest is None:
            return None
        taken = contents.manifest.taken or point.moment
        return EarlierTree(tree_root(reader, contents.files.root), reader, taken)
    except IntegrityError as error:
        raise DamagedTreeError from error
