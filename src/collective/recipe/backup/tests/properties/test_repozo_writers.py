"""A repozo directory in the hands of two writers, ours and ZODB's, who may die at any time.

The model is a dict: what the filestorage was when a data file with a stamp came to be.
Whatever happened since, each stamp that can be restored restores to that.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.repozo.chainremoval import remove_chain
from collective.recipe.backup.repozo.ledger import is_data_file
from collective.recipe.backup.repozo.merge import merge
from collective.recipe.backup.tests.faults.harness import Crash, Fault, FaultyFiles
from collective.recipe.backup.tests.lengths import examples
from collective.recipe.backup.tests.vault import HOUR, Vault

LEVELS = st.sampled_from([None, 0, 2, 3])
FAULTS = st.sampled_from(list(Fault))
CHANGES = st.integers(1, 25)


class Writers(RuleBasedStateMachine):
    """Everything that can happen to a repozo directory, in any order."""

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="writers-"))
        self.vault = Vault(self.root / "vault")
        self.states = {}
        self.healed = True

    def teardown(self):
        shutil.rmtree(self.root)

    def note(self):
        """Note the state that each new data file stands for."""
        for name in self.vault.names:
            if is_data_file(name):
                self.states.setdefault(name[:19], self.vault.source)

    # the site

    @rule(size=st.sampled_from([0, 100, 5_000]))
    def commit(self, size):
        self.vault.commit(size=size)

    @rule()
    def pack(self):
        self.vault.site.pack()

    @rule()
    def copy(self):
        copy = self.vault.site.filestorage.with_name("copy")
        shutil.copy(self.vault.site.filestorage, copy)
        copy.replace(self.vault.site.filestorage)

    @rule(hours=st.sampled_from([-30, -1, 1, 200]))
    def set_clock(self, hours):
        self.vault.now += hours * HOUR

    # the writers

    def act(self, act, fault, at):
        """Do something that may go wrong at a change."""
        files = Files() if fault is None else FaultyFiles(fault, at)
        self.vault.now += timedelta(seconds=1)
        try:
            act(files)
        except (Crash, OSError, BackupError):
            assert fault is not None
            assert files.struck
            self.healed = False
        self.note()

    @rule(full=st.booleans(), strict=st.booleans(), level=LEVELS)
    def take(self, full, strict, level):
        self.act(
            lambda files: self.vault.take(files=files, full=full, strict=strict, level=level),
            None,
            0,
        )
        self.healed = True
        assert self.vault.recovered() == self.vault.source

    @rule(full=st.booleans(), level=LEVELS, fault=FAULTS, at=CHANGES)
    def take_and_fail(self, full, level, fault, at):
        self.act(lambda files: self.vault.take(files=files, full=full, level=level), fault, at)

    @precondition(lambda self: len(self.vault.chains) > 1)
    @rule(fault=st.none() | FAULTS, at=CHANGES)
    def prune(self, fault, at):
        self.act(lambda files: remove_chain(self.vault.chains[0], files), fault, at)

    @precondition(lambda self: self.healed and self.can_merge())
    @rule(data=st.data(), fault=st.none() | FAULTS, at=CHANGES)
    def merge(self, data, fault, at):
        chain = self.vault.chain
        first = data.draw(st.integers(1, len(chain.parts) - 2))
        last = data.draw(st.integers(first + 2, len(chain.parts)))
        parts = chain.parts[first:last]
        self.act(lambda files: merge(chain, parts, files=files, progress=Silent()), fault, at)

    def can_merge(self):
        chains = self.vault.chains
        return bool(chains) and len(chains[-1].parts) > 2 and not chains[-1].broken

    @rule(gzip=st.booleans(), quick=st.booleans(), full=st.booleans())
    def repozo(self, gzip, quick, full):
        options = [option for option, given in (("-z", gzip), ("-Q", quick), ("-F", full)) if given]
        # it cannot always go on where somebody died; then it does nothing, or what it does
        # is its own affair, but nothing of ours is harmed
        with suppress(Exception):
            self.vault.now += timedelta(seconds=1)
            self.vault.repozo_backup(*options)
        self.note()

    @precondition(lambda self: self.vault.chains and len(self.vault.chain.parts) > 1)
    @rule(cut=st.integers(1, 90))
    def repozo_dies_in_the_ledger(self, cut):
        path = self.vault.chain.ledger
        last_line = len(path.read_bytes().splitlines()[-1])
        path.write_bytes(path.read_bytes()[: -min(cut, last_line)])
        self.healed = False

    # what holds

    @invariant()
    def what_can_be_restored_is_what_was_backed_up(self):
        for chain in self.vault.chains:
            for part in chain.restorable:
                state = self.states[part.stamp]
                assert self.vault.recovered(chain=chain, through=part.stamp) == state[: part.end]

    @precondition(lambda self: self.vault.site.size)
    @rule()
    def heal(self):
        """After a backup of ours all is whole, and repozo restores the same."""
        self.vault.now += timedelta(seconds=1)
        self.vault.take()
        self.healed = True
        self.note()
        assert self.vault.problems() == [] or any(
            chain.broken or chain.unread for chain in self.vault.chains
        )
        assert self.vault.recovered() == self.vault.source == self.vault.repozo_recovered()


TestWriters = Writers.TestCase
TestWriters.settings = settings(max_examples=examples(25), stateful_step_count=20)
