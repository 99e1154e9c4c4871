"""Removals and merges that a run began: both are journals first, and so can be finished.

``STAMP.dat.pruned``   the ledger of a chain that is being removed
``STAMP.dat.merging``  lines of data files of a chain: some that one new file takes the place
                       of, and that one, last.  The ledger says whether it did

repozo goes by the files alone, so of a chain the newest file goes first: what is left at any
moment is a chain that repozo can recover.  A journal goes last, when all else is durable.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from collective.recipe.backup.files import Files
from collective.recipe.backup.repozo.blocks import blocks_path
from collective.recipe.backup.repozo.ledger import (
    ASIDE,
    PRUNED,
    STAMP_SIZE,
    Part,
    ledger_path,
    read_directory,
    read_ledger,
)


def finish(directory: Path, files: Files) -> Iterator[str]:
    """Finish what a run that died had begun; yield what was done, in sentences."""
    for name in read_directory(directory).unfinished:
        stamp = name[:STAMP_SIZE]
        if name.endswith(PRUNED):
            finish_removal(directory / name, files)
            yield f"removed what was left of the chain {stamp}"
        else:
            yield finish_merge(directory / name, files)


def finish_removal(journal: Path, files: Files) -> None:
    """Remove what *journal* names and no ledger does, then *journal*."""
    directory = journal.parent
    entries = _entries(journal)
    named = {name for chain in read_directory(directory).chains for name in chain.names}
    names = {part.name for part in entries} - named
    _remove(directory, names, {name[:STAMP_SIZE] for name in named}, files)
    _forget(journal, files)


def finish_merge(journal: Path, files: Files) -> str:
    """Remove what *journal* names and the ledger does not; return what was done."""
    directory, stamp = journal.parent, journal.name[:STAMP_SIZE]
    *merged, result = _entries(journal) or [Part("", 0, 0, "")]
    named = _entries(ledger_path(directory, stamp))
    names = {part.name for part in named}
    if result.name in names:
        # a journal with a line that cannot be read may take one of them for the new file
        superfluous = {part.name for part in merged} - names
    elif names.issuperset(part.name for part in merged):
        superfluous = {result.name}
    else:
        # neither before nor after: what it names is looked at as any other data file
        files.rename(journal, journal.with_name(journal.name + ASIDE))
        return f"renamed {journal.name}: it does not fit the ledger of its chain"
    _remove(directory, superfluous, {part.stamp for part in named}, files)
    _forget(journal, files)
    return f"removed what a merge in the chain {stamp} had left over"


def _entries(ledger: Path) -> Sequence[Part]:
    """Return what *ledger* names, nothing if it is not there."""
    lines = read_ledger(ledger)
    return () if lines is None else lines.entries


def _remove(
    directory: Path, names: Collection[str], used_stamps: Collection[str], files: Files
) -> None:
    """Remove data files, and what lies beside them if no other has the same stamp."""
    for name in sorted(filter(None, names), reverse=True):
        files.clear(directory / name)
        if name[:STAMP_SIZE] not in used_stamps:
            files.clear(blocks_path(directory, name))
            files.clear(directory / f"{name[:STAMP_SIZE]}.index")


def _forget(journal: Path, files: Files) -> None:
    # else a power cut could bring back a file, and not the journal that knows of it
    files.sync_directory(journal.parent)
    files.remove(journal)
    files.sync_directory(journal.parent)
