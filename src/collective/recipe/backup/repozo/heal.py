"""The remains of runs that died, mended before the next backup.

Ours leave temporary files, a data file without its ledger line, a chain whose removal has
begun, a merge half done.  repozo leaves its ``tmp.tmp``, a data file without its ledger line
or with half of one; and where repozo itself went on after that, data files that overlap,
which it would put together all the same.

So no file stays that repozo or we could mistake for data: an orphan with exactly the next bytes of
the filestorage gets its ledger line, any other is set aside under a name that no reader uses.  Only
files that were to be removed already are removed.

The caller holds the lock of the directory.
"""

from __future__ import annotations

from pathlib import Path

from collective.recipe.backup.errors import explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.repozo.chains import Listing, read_directory
from collective.recipe.backup.repozo.ledger import write_ledger
from collective.recipe.backup.repozo.unfinished import finish, sweep


@dataclass(frozen=True)
class Healed:
    """The directory after healing."""

    listing: Listing  # its contents
    sentences: tuple[str, ...] = ()  # about what was done
    fresh: str = ""  # why a new chain must begin; "": none must


def heal(log: TransactionLog, directory: Path, *, files: Files, progress: Progress) -> Healed:
    """Mend *directory*, which holds backups of *log*; nothing is written if it is whole."""
    fresh = ""
    with explained("cannot mend the backups", directory):
        sentences = [*sweep(directory, files), *finish(directory, files)]
        listing = read_directory(directory)
        for chain in listing.chains:
            if chain.unread and chain.mendable:
                write_ledger(directory, chain.stamp, chain.parts, files)
                sentences.append(
                    f"took line {chain.unread[0]} out of {chain.ledger.name}: it cannot be read"
                )
        for name in listing.orphans:
            fresh = fresh or _overlap(directory, name)
            # few runs meet one, and the others do not wait for what reads it
            from collective.recipe.backup.repozo.orphanparts import adopt_or_set_aside

            path = directory / name
            sentences.append(adopt_or_set_aside(log, path, files=files, progress=progress))
    return Healed(read_directory(directory) if sentences else listing, tuple(sentences), fresh)


def _overlap(directory: Path, orphan: str) -> str:
    """Say that *orphan* lies between the files of the newest chain, "" if it does not."""
    chains = read_directory(directory).chains
    if chains and chains[-1].stamp < orphan < max(chains[-1].names):
        return f"{orphan}, which no ledger names, lay between the files of the newest chain"
    return ""
