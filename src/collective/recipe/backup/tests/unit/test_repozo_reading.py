"""What is read from data files is what was written, by digests of blocks or by the ledger."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.repozo.blocks import DIGEST_SIZE, blocks_path, pack, read_blocks
from collective.recipe.backup.repozo.partreading import PIECE, checked
from collective.recipe.backup.tests.vault import Vault


@pytest.fixture(params=[None, 2], ids=["plain", "gzip"])
def vault(tmp_path: Path, request: pytest.FixtureRequest) -> Vault:
    """A full backup of two and a half pieces, and an incremental one."""
    vault = Vault(tmp_path)
    vault.commit(size=PIECE * 5 // 2)
    vault.take(level=request.param)
    vault.commit()
    vault.take(level=request.param)
    return vault


def test_all_parts_together_are_the_filestorage(vault) -> None:
    chain = vault.chain
    assert b"".join(b"".join(checked(chain, part)) for part in chain.parts) == vault.source


@pytest.mark.parametrize("with_digests", [True, False])
def test_other_bytes_of_the_same_length_are_found(vault, with_digests) -> None:
    full, _delta = vault.chain.parts
    twin = vault.twin(vault.root / "copy")
    other = bytearray(vault.source[: full.end])
    other[PIECE + 5] ^= 1
    path = twin.chain.path(full)
    path.write_bytes(gzip.compress(bytes(other)) if full.compressed else other)
    if not with_digests:
        blocks_path(twin.directory, full.name).unlink()

    with pytest.raises(IntegrityError, match="MD5") as caught:
        list(checked(twin.chain, full))

    assert caught.value.where == str(path)


def test_damage_that_is_gone_at_a_second_reading_is_damage(vault) -> None:
    """A disk or a memory that fails now and then; what was passed on was read the first time."""
    full, _delta = vault.chain.parts
    path = vault.chain.path(full)
    stored = path.read_bytes()
    other = bytearray(vault.source[: full.end])
    other[PIECE + 5] ^= 1
    path.write_bytes(gzip.compress(bytes(other)) if full.compressed else other)
    passed = 0

    with pytest.raises(IntegrityError, match="read again") as caught:
        for piece in checked(vault.chain, full):
            passed += len(piece)
            if passed == full.size:
                path.write_bytes(stored)

    assert passed == full.size
    assert "system log" in caught.value.hint


def test_digests_that_speak_of_something_else_are_not_believed(vault) -> None:
    full, _delta = vault.chain.parts
    blocks = read_blocks(vault.directory, full)
    assert blocks is not None
    wrong = blocks.digests[:-DIGEST_SIZE] + bytes(DIGEST_SIZE)
    data = pack(replace(blocks, digests=wrong))
    blocks_path(vault.directory, full.name).write_bytes(data)
    assert read_blocks(vault.directory, full) is not None

    assert b"".join(checked(vault.chain, full)) == vault.source[: full.end]


def test_without_digests_the_ledger_decides(vault) -> None:
    full, _delta = vault.chain.parts
    blocks_path(vault.directory, full.name).unlink()

    assert b"".join(checked(vault.chain, full)) == vault.source[: full.end]


def test_a_ledger_that_says_something_else_is_not_overruled(vault) -> None:
    """repozo would refuse it, and so do we, although the digests fit."""
    full, _delta = vault.chain.parts
    doubted = full._replace(checksum="0" * 32)

    with pytest.raises(IntegrityError, match="the ledger says 00000000"):
        list(checked(vault.chain, doubted))


def test_where_the_digests_fit_the_md5_is_not_computed_again(vault, monkeypatch) -> None:
    def md5(**_options):
        raise AssertionError("the digests would have done")

    monkeypatch.setattr(hashlib, "md5", md5)
    full, _delta = vault.chain.parts

    assert b"".join(checked(vault.chain, full)) == vault.source[: full.end]
    blocks_path(vault.directory, full.name).unlink()
    with pytest.raises(AssertionError, match="would have done"):
        list(checked(vault.chain, full))
