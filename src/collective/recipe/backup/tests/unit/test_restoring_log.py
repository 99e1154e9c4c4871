"""What is there already is kept, and the rest makes exactly the state that was asked for."""

from __future__ import annotations

import random
from collections import deque
from itertools import islice

import pytest

from collective.recipe.backup.errors import NoRestorePoint
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.restoring.stagedlog import intact
from collective.recipe.backup.tests import logs
from collective.recipe.backup.tests.vault import HOUR, Vault


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A vault of one chain: three parts of two transactions, each larger than half a block."""
    vault = Vault(tmp_path_factory.mktemp("whole"))
    randomness = random.Random(7)
    for _part in range(3):
        for _transaction in range(2):
            vault.site.commit({"key": randomness.randbytes(600_000)})
        vault.now += HOUR
        vault.take(level=None)
    return vault


def ends_of(vault):
    """Return the end of each transaction by its tid, the first of the site left out."""
    with TransactionLog(vault.site.filestorage) as log:
        return {each.tid: each.end for each in islice(log.transactions(), 1, None)}


def restored(vault, path, until):
    """Return what *path* becomes if it is restored to the state at *until*, and what was kept."""
    log, rest = vault.log(until=until), bytearray()
    with TransactionLog(path) as live:
        found = intact(live, log, Silent())
        end = log.end_within(live, found)
        if end is None:
            rest += b"".join(log.pieces(found, unheard))
            end = log.end()
    keep = min(found, end.offset)
    data = path.read_bytes()[:keep] + rest
    assert end.offset == len(data)
    assert end.tid == until
    return data, keep


def unheard(_amount: int) -> None:
    """Tell nobody how far the work is."""


def test_any_state_is_made_from_any_other(whole, tmp_path):
    """Also where the cut is in a part before the last one, all of which is there already."""
    source, ends = whole.source, ends_of(whole)
    live = tmp_path / "Data.fs"
    for there in ends.values():
        live.write_bytes(source[:there])
        for tid, end in ends.items():
            data, keep = restored(whole, live, tid)
            assert data == source[:end]
            assert keep >= min(there, end) - 2**20


def test_a_damaged_tail_is_not_kept(whole, tmp_path):
    source, ends = whole.source, ends_of(whole)
    live = tmp_path / "Data.fs"
    for there in list(ends.values())[2::2]:
        live.write_bytes(source[: there - 100] + b"damaged")
        for tid, end in ends.items():
            assert restored(whole, live, tid)[0] == source[:end]


@pytest.mark.parametrize("there", [1, 2])
def test_a_pack_that_rewrote_transactions_after_the_cut_is_known(tmp_path, there):
    """Then the state at the cut is not what it was."""
    vault = Vault(tmp_path)
    vault.source = packed = logs.log([b"one"], [b"two"], status=b"p")
    vault.take()
    vault.source = packed + logs.transaction(len(packed), logs.tid(3))
    vault.now += HOUR
    vault.take()
    live = tmp_path / "Data.fs"
    live.write_bytes(vault.source[: vault.chain.parts[there - 1].end])
    log = vault.log(until=logs.tid(1))
    with TransactionLog(live) as there, pytest.raises(NoRestorePoint, match="a pack rewrote"):
        log.end_within(there, there.size)
    with pytest.raises(NoRestorePoint, match="a pack rewrote"):
        deque(log.pieces(0, unheard), maxlen=0)
