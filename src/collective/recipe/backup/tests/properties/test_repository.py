"""Two hosts back up, prune, collect, bring back, crash, sleep and lose what they know.

Whatever they do in whatever order, each restore point that exists is what it was made of.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from collective.recipe.backup import times
from collective.recipe.backup.errors import ConfigurationError, InUse, NoRestorePoint
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.repository.chunks import LEAF, NODE
from collective.recipe.backup.repository.collecting import collect
from collective.recipe.backup.repository.keys import change_key
from collective.recipe.backup.repository.plans import Rules
from collective.recipe.backup.repository.points import Draft
from collective.recipe.backup.repository.pruning import bring_back, prune, trashed
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.repository.scrubbing import scrub
from collective.recipe.backup.repository.tickets import StartOver
from collective.recipe.backup.repository.writing import ChunkWriter
from collective.recipe.backup.tests.faults.harness import Crash
from collective.recipe.backup.tests.faults.stores import FaultyStore, StoreFault
from collective.recipe.backup.tests.repositories import START, World, points_of, state_of

# short beside the life of a ticket, so that runs live through several runs of collect: what is
# to protect them then are the tickets alone
GRACE = timedelta(hours=2)
LIFETIME = timedelta(hours=12)
HOSTS = st.sampled_from(["one", "two"])
NAMES = [f"n{number}" for number in range(9)]
VALUES = st.fixed_dictionaries(dict.fromkeys(NAMES, st.integers(0, 2)))
PAGES = [NAMES[:3], NAMES[3:6], NAMES[6:]]
_LEAF = LEAF + 1
_PAGE = NODE + 1


class Run:
    """A backup under way: it takes pages of the restore point before it where they are equal."""

    def __init__(self, world: World, host: str, state: dict[str, bytes]) -> None:
        self.repository = world.open(host)
        self.state = state
        self.base: dict[str, tuple[dict[str, bytes], bytes]] = {}
        try:
            point = self.repository.points.newest(self.repository.look(), host)
            if point:
                self._read(point)
            self.writer = ChunkWriter(self.repository, "backup", host, LIFETIME)
            if point and not self.writer.build_on(point):
                self.base = {}
        except BaseException:
            self.repository.close()
            raise
        self.pages: list[bytes] = []

    def _read(self, point) -> None:
        reader = ChunkReader(self.repository)
        [root] = point.roots
        for page in reader.node(root).refs:
            node = reader.node(page)
            names = json.loads(node.payload)
            values = [data for _chunk, data in reader.each(node.refs)]
            self.base[names[0]] = dict(zip(names, values, strict=True)), page

    def store(self) -> None:
        self.pages = []
        for names in PAGES:
            wanted = {name: self.state[name] for name in names}
            there, page = self.base.get(names[0], ({}, b""))
            if there != wanted:
                leaves = [self.writer.add(_LEAF, data) for data in wanted.values()]
                page = self.writer.add_node(json.dumps(names).encode(), leaves, _PAGE)
            self.pages.append(page)

    def finish(self, moment):
        root = self.writer.add_node(b"", self.pages)
        draft = Draft(
            stamp=times.stamp(moment),
            claimed=moment,
            roots=(root,),
            payload=json.dumps(sorted(self.state)).encode(),
        )
        with self.writer:
            return self.writer.finish(draft)

    def die(self) -> None:
        self.writer._pipeline.close()
        self.repository.close()


class Hosts(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="hosts-"))
        self.world = World(self.directory)
        self.states = {}
        self.removed = {}
        self.runs = {}

    def teardown(self):
        for run in self.runs.values():
            run.die()
        self.everything_is_there()
        assert not scrub(self.world.store, Silent()).damaged
        shutil.rmtree(self.directory)

    @initialize()
    def a_first_backup(self):
        self.begin("one", dict.fromkeys(NAMES, 0))
        self.finish("one")

    @rule(host=HOSTS, values=VALUES)
    def begin(self, host, values):
        if host in self.runs:
            return
        state = {name: f"{name} is {value} ".encode() * 30 for name, value in values.items()}
        try:
            self.runs[host] = Run(self.world, host, state)
        except StartOver:
            return
        self.runs[host].store()

    @rule(host=HOSTS, values=VALUES)
    def back_up(self, host, values):
        self.begin(host, values)
        self.finish(host)

    @precondition(lambda self: self.runs)
    @rule(host=HOSTS)
    def finish(self, host):
        run = self.runs.pop(host, None) or self.runs.popitem()[1]
        until = run.writer._pass.until
        try:
            point = run.finish(self.world.clock())
        except StartOver:
            return
        finally:
            run.repository.close()
        # a run that slept longer than its ticket must not have made it
        assert point.stored <= until
        self.states[point.name] = run.state

    @precondition(lambda self: self.runs)
    @rule(host=HOSTS)
    def die(self, host):
        run = self.runs.pop(host, None)
        if run:
            run.die()

    @rule(hours=st.sampled_from([1, 2, 3, 13]))
    def time_goes_on(self, hours):
        self.world.clock.go_on(hours=hours)

    @precondition(lambda self: self.states)
    @rule(host=HOSTS, data=st.data())
    def prune(self, host, data):
        name = data.draw(st.sampled_from(sorted(self.states)))
        with self.world.open(host) as repository:
            prune(repository, [p for p in points_of(repository) if p.name == name], yes=True)
        self.removed[name] = self.states.pop(name), self.world.clock.now

    @precondition(lambda self: self.removed)
    @rule(host=HOSTS, data=st.data())
    def bring_back(self, host, data):
        name = data.draw(st.sampled_from(sorted(self.removed)))
        state, when = self.removed[name]
        with self.world.open(host) as repository:
            found = [
                entry
                for entry, point in trashed(repository, repository.look())
                if point.name == name
            ]
            if not found:
                assert self.world.clock.now - when >= GRACE
                return
            try:
                bring_back(repository, found[0])
            except NoRestorePoint:
                assert self.world.clock.now - when >= GRACE
                return
        del self.removed[name]
        self.states[name] = state

    @rule(host=HOSTS, max_unused=st.sampled_from([0, 0.1]))
    def collect(self, host, max_unused):
        with self.world.open(host) as repository:
            try:
                collect(repository, Rules(grace=GRACE, max_unused=max_unused), yes=True)
            except InUse:
                return  # one that died: its ticket is not over

    @rule(host=HOSTS, at=st.integers(1, 40))
    def collect_and_die(self, host, at):
        store = FaultyStore(self.world.store, StoreFault.BEFORE, at)
        repository = None
        try:
            repository = self.world.open(host, store)
            collect(repository, Rules(grace=GRACE, max_unused=0), yes=True)
        except (Crash, InUse):
            pass
        finally:
            if repository:
                repository.cache.close()

    @rule(host=HOSTS)
    def lose_what_is_known(self, host):
        if host not in self.runs:
            (self.directory / host).unlink(missing_ok=True)

    @rule(number=st.integers(0, 3))
    def change_key(self, number):
        new = f"passphrase {number}"
        same = new == self.world.passphrase
        refused = pytest.raises(ConfigurationError) if same else nullcontext()
        with self.world.open() as repository, refused:
            change_key(repository, self.world.passphrase, new, START)
        self.world.passphrase = new

    @precondition(lambda self: self.states)
    @rule(host=HOSTS)
    def a_host_reads_what_it_is_to_read(self, host):
        with self.world.open(host) as repository:
            self.reads(repository)

    @invariant()
    def everything_is_there(self):
        with self.world.open() as repository:
            self.reads(repository)

    def reads(self, repository):
        points = {point.name: point for point in points_of(repository)}
        assert self.states.keys() <= points.keys()
        for name, state in self.states.items():
            assert state_of(repository, points[name]) == state
        # a collect that died in a prune may leave one more, which is whole as well
        for name in points.keys() - self.states.keys():
            assert name in self.removed


TestHosts = pytest.mark.slow(Hosts.TestCase)
TestHosts.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, derandomize=True
)
