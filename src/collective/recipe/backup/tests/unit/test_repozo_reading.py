"""What is read from data files is what was written, by the digests of blocks or by the ledger."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.repozo.blocks import DIGEST_SIZE, blocks_path, pack, read_blocks
from collective.recipe.backup.repozo.reading import PIECE, checked, proven
from collective.recipe.backup.tests.vault import Vault

READERS = [checked, proven]


@pytest.fixture(params=[None, 2], ids=["plain", "gzip"])
def vault(tmp_path: Path, request: pytest.FixtureRequest) -> Vault:
    """A full backup of two and a half pieces, and an incremental one."""
    vault = Vault(tmp_path)
    vault.commit(size=PIECE * 5 // 2)
    vault.take(level=request.param)
    vault.commit()
    vault.take(level=request.param)
    return vault


@pytest.mark.parametrize("reader", READERS)
def test_all_parts_together_are_the_filestorage(vault, reader) -> None:
    chain = vault.chain
    assert b"".join(b"".join(reader(chain, part)) for part in chain.parts) == vault.source


@pytest.mark.parametrize("reader", READERS)
def test_other_bytes_of_the_same_length_are_found(vault, reader) -> None:
    full, _delta = vault.chain.parts
    twin = vault.twin(vault.root / "copy")
    other = bytearray(vault.source[: full.end])
    other[PIECE + 5] ^= 1
    path = twin.chain.path(full)
    path.write_bytes(gzip.compress(bytes(other)) if full.compressed else other)

    with pytest.raises(IntegrityError, match="MD5") as caught:
        list(reader(twin.chain, full))

    assert caught.value.where == str(path)


def test_digests_that_speak_of_something_else_are_not_believed(vault) -> None:
    full, _delta = vault.chain.parts
    blocks = read_blocks(vault.directory, full)
    assert blocks is not None
    wrong = blocks.digests[:-DIGEST_SIZE] + bytes(DIGEST_SIZE)
    data = pack(replace(blocks, digests=wrong))
    blocks_path(vault.directory, full.name).write_bytes(data)
    assert read_blocks(vault.directory, full) is not None

    assert b"".join(proven(vault.chain, full)) == vault.source[: full.end]


def test_without_digests_the_ledger_decides(vault) -> None:
    full, _delta = vault.chain.parts
    blocks_path(vault.directory, full.name).unlink()

    assert b"".join(proven(vault.chain, full)) == vault.source[: full.end]


def test_the_ledger_is_not_asked_where_the_digests_fit(vault) -> None:
    full, _delta = vault.chain.parts
    doubted = full._replace(checksum="0" * 32)

    assert b"".join(proven(vault.chain, doubted)) == vault.source[: full.end]
    with pytest.raises(IntegrityError, match="the ledger says"):
        list(checked(vault.chain, doubted))
