"""The removal of a chain: one step that decides, then its files, newest first.

``STAMP.dat`` becomes ``STAMP.dat.pruned``, and with that the chain is gone for us.  repozo
goes by the files alone, so the newest goes first: whatever is left at any moment is a
chain that repozo can recover.  A run that dies on the way is finished by the next one.

Only what the ledger names is removed, with its index and its digests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from collective.recipe.backup.errors import explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.repozo.blocks import blocks_path
from collective.recipe.backup.repozo.ledger import (
    PRUNED,
    STAMP_SIZE,
    Chain,
    parse,
    read_directory,
)


def remove_chain(chain: Chain, *, files: Files) -> None:
    """Remove *chain* with all its files; the caller holds the lock of the directory."""
    pruned = chain.ledger.with_name(chain.ledger.name + PRUNED)
    with explained("cannot remove the backups", chain.directory):
        files.rename(chain.ledger, pruned)
        _finish(pruned, files)


def finish_removals(directory: Path, files: Files) -> Iterator[str]:
    """Remove what is left of chains whose removal has begun; yield a sentence for each."""
    for name in read_directory(directory).unfinished:
        if name.endswith(PRUNED):
            _finish(directory / name, files)
            yield f"removed what was left of the chain {name[:STAMP_SIZE]}"


def _finish(pruned: Path, files: Files) -> None:
    entries = parse(pruned.read_bytes(), pruned.parent).entries
    remove_data_files(pruned.parent, (part.name for part in entries), files)
    files.remove(pruned)
    files.sync_directory(pruned.parent)


def remove_data_files(directory: Path, names: Iterable[str], files: Files) -> None:
    """Remove data files, newest first, with what belongs to them; durable when it returns."""
    for name in sorted(names, reverse=True):
        beside = directory / f"{name[:STAMP_SIZE]}.index"
        for path in (directory / name, blocks_path(directory, name), beside):
            with suppress(FileNotFoundError):
                files.remove(path)
    files.sync_directory(directory)
