"""Any place of any chain, whoever wrote its data files, is what the filestorage has there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collective.recipe.backup.repozo.blocks import BLOCK_SIZE, blocks_path
from collective.recipe.backup.repozo.seekablelog import SeekableLog
from collective.recipe.backup.tests.lengths import examples
from collective.recipe.backup.tests.vault import HOUR, Vault

SIZES = (100, BLOCK_SIZE, 5 * BLOCK_SIZE // 2, 300, 70_000, 3 * BLOCK_SIZE)
WRITERS = st.sampled_from(["gzip", "quick gzip", "plain", "repozo", "repozo gzip"])
DIGESTS = st.sampled_from(["kept", "older", "lost"])
PLACES = st.integers(0, 12 * BLOCK_SIZE)
LENGTHS = st.one_of(st.integers(0, 5_000), st.integers(0, 3 * BLOCK_SIZE))


class Story:
    """A log of which any prefix that ends with a commit can be the filestorage."""

    def __init__(self, root: Path) -> None:
        self.vault = Vault(root)
        self.ends = []
        for size in SIZES:
            self.vault.commit(size=size)
            self.ends.append(self.vault.site.size)
        self.log = self.vault.source

    def chain_by(self, directory: Path, writers: list[str]) -> Vault:
        """Return a vault to which each of *writers* added one of the commits."""
        vault = self.vault.twin(directory)
        for end, writer in zip(self.ends, writers, strict=False):
            vault.source = self.log[:end]
            vault.now += HOUR
            if writer.startswith("repozo"):
                vault.repozo_backup(*(["-z"] if writer == "repozo gzip" else []))
            else:
                vault.take(level={"gzip": 2, "quick gzip": 0, "plain": None}[writer])
        return vault


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    yield Story(tmp_path_factory.mktemp("story"))


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
@given(
    writers=st.lists(WRITERS, min_size=1, max_size=len(SIZES)),
    digests=DIGESTS,
    reads=st.lists(st.tuples(PLACES, LENGTHS), min_size=1, max_size=12),
    whole=st.booleans(),
)
def test_any_place_of_any_chain_is_what_a_restore_gives(story, writers, digests, reads, whole):
    root = Path(tempfile.mkdtemp(prefix="seekable-"))
    try:
        vault = story.chain_by(root / "backups", writers)
        chain = vault.chain
        if digests == "older":
            vault.make_digests_older()
        elif digests == "lost":
            for part in chain.parts:
                blocks_path(vault.directory, part.name).unlink(missing_ok=True)
        through = None if whole else chain.parts[len(chain.parts) // 2].stamp
        expected = vault.recovered(through=through)
        log = SeekableLog(chain, through=through)
        assert log.size == len(expected)
        for offset, size in reads:
            assert log.read_at(offset, size) == expected[offset : offset + size]
    finally:
        shutil.rmtree(root)
