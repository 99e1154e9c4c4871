"""The removal of a chain: one step that decides, then its files.

``STAMP.dat`` becomes ``STAMP.dat.pruned``, and with that the chain is gone for us; see
unfinished for the rest.  Only what the ledger names is removed, with its index and digests.
"""

from __future__ import annotations

from pathlib import Path

from collective.recipe.backup.errors import explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.repozo.chains import MERGING, PRUNED, Chain
from collective.recipe.backup.repozo.unfinished import finish_merge, forget, remove_data


def remove_chain(chain: Chain, files: Files) -> None:
    """Remove *chain* with all its files; the caller holds the lock of the directory."""
    journal = begin_removal(chain, files)
    with explained("cannot remove the backups", chain.directory):
        forget(journal, files)


def begin_removal(chain: Chain, files: Files) -> Path:
    """Remove *chain*, and return the journal of the removal.

    The caller removes the journal once all else that belongs to the chain is gone; if the process
    dies before, the next run finishes the removal.
    """
    merging = chain.ledger.with_name(chain.ledger.name + MERGING)
    pruned = chain.ledger.with_name(chain.ledger.name + PRUNED)
    with explained("cannot remove the backups", chain.directory):
        if merging.exists():
            finish_merge(merging, files)
        files.rename(chain.ledger, pruned)
        remove_data(pruned, files)
    return pruned
