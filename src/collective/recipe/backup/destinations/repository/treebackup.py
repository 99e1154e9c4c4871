"""A backup of further files: stored as far as an earlier one has them not, or compared."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from collective.recipe.backup.destinations.repository.pointcontents import contents_of
from collective.recipe.backup.destinations.repository.storedtrees import tree_root
from collective.recipe.backup.destinations.repository.treewalk import (
    DamagedTreeError,
    EarlierTree,
    NewTree,
    NewTrees,
    OtherwiseError,
)
from collective.recipe.backup.destinations.repository.wantedfiles import WantedFiles
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.repository.chunks import ChunkId, encoded
from collective.recipe.backup.repository.keyring import Keyring
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.repository.writing import ChunkWriter, UnstoredError


class Comparing:
    """Stores nothing, and says what everything would be called."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def add(self, kind: int, data: bytes) -> ChunkId:
        """Return the id of a leaf."""
        return self._keyring.chunk_id(kind, data)

    def add_node(self, payload: bytes, refs: Sequence[ChunkId], kind: int) -> ChunkId:
        """Return the id of a node."""
        return self._keyring.chunk_id(kind, encoded(payload, refs))


def store_files(
    wanted: WantedFiles, repository: Repository, writer: ChunkWriter, point: Point | None
) -> NewTree:
    """Store the files that are *wanted*, as far as *point*, an earlier one, has them not.

    Raises what the repository raises.
    """
    try:
        # where bundles are damaged, each file is read, and what is lost of it stored again
        usable = point is not None and not writer.must_look_again and writer.build_on(point)
        earlier = _earlier_tree(repository, point) if point is not None and usable else None
        if earlier is not None:
            return NewTrees(wanted, writer, earlier, repository.progress).stored()
    except (DamagedTreeError, UnstoredError):
        repository.tell("what was stored of the files is damaged: they are read anew")
    return NewTrees(wanted, writer, None, repository.progress).stored()


def has_same_files(wanted: WantedFiles, repository: Repository, point: Point) -> bool:
    """Tell whether *point* has the files that are *wanted*, as they are; store nothing."""
    comparing = Comparing(repository.keyring)
    with suppress(DamagedTreeError, OtherwiseError):
        part, earlier = contents_of(point).files, _earlier_tree(repository, point)
        if part is not None:
            found = NewTrees(
                wanted, comparing, earlier, repository.progress, only_same=True
            ).stored()
            return found.root == part.root
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
