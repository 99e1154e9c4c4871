"""The removal of a chain: one step that decides, then its files.

``STAMP.dat`` becomes ``STAMP.dat.pruned``, and with that the chain is gone for us; see
unfinished for the rest.  Only what the ledger names is removed, with its index and digests.
"""

from __future__ import annotations

from collective.recipe.backup.errors import explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.repozo.ledger import MERGING, PRUNED, Chain
from collective.recipe.backup.repozo.unfinished import finish_merge, finish_removal


def remove_chain(chain: Chain, files: Files) -> None:
    """Remove *chain* with all its files; the caller holds the lock of the directory."""
    merging = chain.ledger.with_name(chain.ledger.name + MERGING)
    pruned = chain.ledger.with_name(chain.ledger.name + PRUNED)
    with explained("cannot remove the backups", chain.directory):
        if merging.exists():
            finish_merge(merging, files)
        files.rename(chain.ledger, pruned)
        finish_removal(pruned, files)
