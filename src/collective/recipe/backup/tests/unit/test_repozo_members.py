"""Where the gzip member of each block begins: noted when it is written, found where it was not."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from collective.recipe.backup.files import Files
from collective.recipe.backup.gzipping import compressed
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.repozo.blocks import (
    BLOCK_SIZE,
    MEMBER,
    Blocks,
    blocks_path,
    read_blocks,
)
from collective.recipe.backup.repozo.members import find_members
from collective.recipe.backup.repozo.merge import merge
from collective.recipe.backup.tests.vault import Vault

LARGE = BLOCK_SIZE * 5 // 2


def digests(vault: Vault) -> list[Blocks]:
    """Return the digests of all parts of the newest chain."""
    found = [read_blocks(vault.directory, part) for part in vault.chain.parts]
    assert None not in found
    return found


def inflated_at(path: Path, begin: int) -> bytes:
    """Return what the gzip member holds that begins there, as Python's gzip says."""
    with path.open("rb") as file:
        file.seek(begin)
        with gzip.open(file) as stream:
            return stream.read(BLOCK_SIZE)


def check_members(vault: Vault) -> None:
    """Assert that the members that the digests list are those in the files."""
    for part, blocks in zip(vault.chain.parts, digests(vault), strict=True):
        path = vault.chain.path(part)
        if not part.compressed:
            assert blocks.members == b""
            continue
        assert blocks.members
        begins = [begin for (begin,) in MEMBER.iter_unpack(blocks.members)]
        for begin, (offset, size, _digest) in zip(begins, blocks.ranges(), strict=True):
            assert inflated_at(path, begin)[:size] == vault.source[offset : offset + size]


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A full backup of three blocks, an incremental one of two, and one that is no gzip."""
    vault = Vault(tmp_path)
    vault.commit(size=LARGE)
    vault.take()
    vault.commit(size=LARGE // 2)
    vault.take(level=0)
    vault.commit()
    vault.take(level=None)
    return vault


def test_members_are_noted_when_a_data_file_is_written(vault: Vault) -> None:
    check_members(vault)


def test_members_are_noted_when_backups_are_merged(vault: Vault) -> None:
    merge(vault.chain, vault.chain.parts[1:], files=Files(), progress=Silent())
    assert [part.compressed for part in vault.chain.parts] == [True, True]
    check_members(vault)


def test_members_are_found_when_an_orphan_is_adopted(vault: Vault) -> None:
    last = vault.chain.parts[-2]
    for name in (last.name, vault.chain.last.name):
        blocks_path(vault.directory, name).unlink()
    (vault.directory / vault.chain.last.name).unlink()
    ledger = vault.chain.ledger
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:1]))
    vault.commit()
    taken = vault.take()
    assert last.name in "".join(taken.healed)
    assert vault.chain.parts[1].name == last.name
    check_members(vault)


def test_members_are_found_in_files_of_ours_and_in_no_others(tmp_path: Path) -> None:
    blocks = [os.urandom(1000), bytes(1000), b"1" * 999]
    ours = b"".join(compressed(blocks, 2))
    looks_like_two = (1000).to_bytes(4, "little") + ours[:8]
    nested = b"".join(compressed([looks_like_two + os.urandom(988), *blocks], 2))
    assert nested.count(looks_like_two) == 4  # what is in it, and three where members meet
    at_first, *_others = compressed(blocks, 2)
    cases = {
        "ours": (ours, 2999, True),
        "one block": (at_first, 1000, True),
        "other size": (ours, 2998, False),
        "more than it has": (ours, 3999, False),
        "less than it has": (ours, 1999, False),
        "one member": (gzip.compress(b"".join(blocks)), 2999, False),
        "with a time": (gzip.compress(blocks[0], mtime=1), 1000, False),
        "ours within ours": (nested, 3999, False),
        "something before": (b"something" + ours, 2999, False),
        "nothing": (b"", 0, False),
        "no bytes where there should be": (b"", 10, False),
    }
    for name, (data, size, found) in cases.items():
        path = tmp_path / f"{name}.fsz"
        path.write_bytes(data)
        assert (name, bool(find_members(path, size, 1000))) == (name, found)
    plain = tmp_path / "no gzip.fs"
    plain.write_bytes(ours)
    assert find_members(plain, 2999, 1000) == b""


def test_a_backup_that_continues_a_chain_completes_older_digests(vault: Vault) -> None:
    vault.make_digests_older()
    vault.commit()
    vault.take()
    check_members(vault)
    vault.check()


def test_a_backup_that_adds_nothing_leaves_older_digests_alone(vault: Vault) -> None:
    vault.make_digests_older()
    before = {name: (vault.directory / name).stat().st_mtime_ns for name in vault.names}
    assert not vault.take().changed
    assert {name: (vault.directory / name).stat().st_mtime_ns for name in vault.names} == before


def test_what_repozo_wrote_has_no_members_and_is_not_looked_at_again(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    vault.commit(size=LARGE)
    vault.repozo_backup("-z")
    vault.commit()
    vault.take()
    full, delta = vault.chain.parts
    assert read_blocks(vault.directory, full) is None
    assert read_blocks(vault.directory, delta).members


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_data_file_that_cannot_be_read_ends_no_backup(vault: Vault) -> None:
    vault.make_digests_older()
    full = vault.chain.parts[0]
    vault.chain.path(full).chmod(0)
    vault.commit()
    assert not vault.take().full
    vault.chain.path(full).chmod(0o600)
    assert [found.members for found in digests(vault)][0] is None
    assert None not in [found.members for found in digests(vault)][1:]
    vault.check()
