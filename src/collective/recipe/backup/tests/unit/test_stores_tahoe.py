"""A store in a grid of Tahoe-LAFS, with what breaks on the way to its node."""

from __future__ import annotations

import json
import os
import struct
import threading
from contextlib import suppress
from urllib.request import urlopen

import pytest

from collective.recipe.backup.errors import (
    BackupError,
    ConfigurationError,
    IntegrityError,
    StoreRefused,
    StoreUnreachable,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.repository.puts import put
from collective.recipe.backup.stores import NoSuchObject, ObjectExists, Weakness
from collective.recipe.backup.stores.opening import store_at
from collective.recipe.backup.stores.tahoe.gridviews import _tree
from collective.recipe.backup.tests import grids
from collective.recipe.backup.tests.contracts.store import NAME, StoreContract, names
from collective.recipe.backup.tests.servers import proxied

pytestmark = [pytest.mark.slow, pytest.mark.needs("tahoe")]

SECRET = "q2ibisfewpngq6efxs62vqpela"
CAPABILITY = f"URI:DIR2:{SECRET}:{'s' * 52}"


def at(port: int, capability: str, more: str = ""):
    return store_at(f"tahoe:{capability}?node=http://127.0.0.1:{port}{more}", Files())


@pytest.fixture
def store(grid, grid_directory):
    store = at(grid.port, grid_directory)
    store.prepare()
    return store


class TestInAGrid(StoreContract):
    """The contract."""


OTHER_BYTES = b"what another node has written"


@pytest.fixture
def two(grid, grid_directory):
    """Two writers of one repository: as from two nodes."""
    return at(grid.port, grid_directory), at(grid.port, grid_directory, "&writer=other")


def test_the_first_get_takes_two_requests_where_one_node_alone_writes(grid, grid_directory, store):
    store.put("format", b"x" * 1000)
    store.put("m/empty", b"")
    store.put(NAME, b"bundle")
    with proxied(grid.port) as proxy:
        for name, data in (("format", b"x" * 1000), ("m/empty", b""), (NAME, b"bundle")):
            proxy.asked.clear()
            assert at(proxy.port, grid_directory).get(name) == data
            assert len(proxy.asked) == 2
        with pytest.raises(NoSuchObject):
            at(proxy.port, grid_directory).get("m/none")


class TestTwoWriters:
    def test_each_sees_what_the_other_has_put_and_replaces_nothing_of_it(self, two):
        here, there = two
        stored = here.put(NAME, b"first")
        here.put("m/a", b"of here")
        there.put("m/b", OTHER_BYTES)
        assert names(there) == names(here) == [NAME, "m/a", "m/b"]
        assert there.get(NAME, 1, 3) == b"irs"
        for name in (NAME, "m/a"):
            with pytest.raises(ObjectExists):
                there.put(name, b"second")
        assert here.get("m/b") == OTHER_BYTES
        assert [entry.stored for entry in there.list(NAME)] == [stored]

    def test_no_writer_changes_the_directory_of_another(self, two, grid, grid_directory):
        here, there = two
        here.put("m/a", b"of here")
        before = grids.children(grid.port, grid_directory, f"writer-{here._directories.writer('')}")
        there.delete("m/a")
        there.put("m/b", b"of there")
        after = grids.children(grid.port, grid_directory, f"writer-{here._directories.writer('')}")
        assert after == before
        assert names(here) == names(there) == ["m/b"]

    def test_what_another_has_removed_is_gone_and_its_name_free(self, two):
        here, there = two
        here.put(NAME, b"first")
        here.put("m/a", b"of here")
        there.delete(NAME)
        assert names(here) == names(there) == ["m/a"]
        with pytest.raises(NoSuchObject):
            there.get(NAME)
        here.put(NAME, b"second")
        assert there.get(NAME) == b"second"
        there.delete(NAME)
        there.put(NAME, b"third")
        assert here.get(NAME) in {b"second", b"third"}  # what was seen once may be read on
        assert names(here) == [NAME, "m/a"]

    def test_a_sweep_of_both_leaves_no_trace_of_what_was_removed(self, two, grid, grid_directory):
        here, there = two
        for name in (NAME, "m/a"):
            here.put(name, b"x")
            there.delete(name)
        there.put("m/b", b"x")
        for store in (there, here, there):
            store.sweep()
            assert names(here) == ["m/b"]
        own = grids.children(grid.port, grid_directory, f"writer-{here._directories.writer('')}")
        other = grids.children(grid.port, grid_directory, "writer-other")
        assert list(own) == ["bundles_a"]
        assert list(other) == ["m_b"]

    def test_of_two_that_put_at_the_same_moment_one_succeeds_or_none(self, two):
        here, there = two
        here.put("m/a", b"")
        there.put("m/b", b"")
        won = []

        def put(store, data):
            with suppress(ObjectExists):
                store.put("format", data)
                won.append(data)

        threads = [
            threading.Thread(target=put, args=(store, data))
            for store, data in zip(two, (b"here", b"there"), strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) <= 1
        assert [here.get(name) for name in names(here, "format")] == won


def test_a_capability_that_may_only_read_reads(grid, grid_directory, store):
    store.put(NAME, b"0123456789")
    with urlopen(f"http://127.0.0.1:{grid.port}/uri/{grid_directory}?t=json", timeout=60) as found:
        reading = at(grid.port, json.loads(found.read())[1]["ro_uri"])
    assert names(reading) == [NAME]
    assert reading.get(NAME, 2, 3) == b"234"
    for ask in (lambda: reading.put("m/a", b"x"), lambda: reading.delete(NAME)):
        with pytest.raises(StoreRefused, match="may only read"):
            ask()
    assert names(store) == [NAME]


def test_an_alias_is_read_from_the_directory_of_the_node(grid, grid_directory, tmp_path):
    url = grids.aliased(grid.port, grid_directory, tmp_path / "node") + "&writer=us"
    with pytest.raises(StoreUnreachable, match="is not there"):
        list(store_at(url.replace("site", "site/a/b"), Files()).list())
    deep = store_at(url.replace("site", "site/a/b"), Files())
    deep.prepare()
    deep.put(NAME, b"x")
    assert names(at(grid.port, f"{grid_directory}/a/b")) == [NAME]
    assert names(store_at(url, Files())) == []
    with pytest.raises(ConfigurationError, match="no alias 'other'"):
        list(store_at(url.replace("site", "other"), Files()).list())


def test_the_environment_says_where_the_node_is(grid, grid_directory, tmp_path, monkeypatch):
    grids.aliased(grid.port, grid_directory, tmp_path / "node")
    monkeypatch.setenv("TAHOE_NODE_DIRECTORY", str(tmp_path / "node"))
    (tmp_path / "node" / "node.url").write_text(f"http://127.0.0.1:{grid.port}/\n")
    assert names(store_at("tahoe:site", Files())) == []
    monkeypatch.setenv("TAHOE_NODE_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreUnreachable, match="no node of Tahoe-LAFS answers"):
        names(store_at("tahoe:site", Files()))


@pytest.mark.parametrize("wrong", ["a" * 26 + ":" + "b" * 52, "a" * 26 + ":" + "a" * 52])
def test_a_wrong_capability_is_named_without_being_shown(grid, grid_directory, wrong):
    wrong = f"URI:DIR2:{wrong}"
    with pytest.raises(BackupError) as caught:
        names(at(grid.port, wrong))
    told = f"{caught.value} {caught.value.hint}"
    assert "is the capability right" in told
    assert "aaaa" not in told


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"tahoe:{CAPABILITY}?key=secret", "unknown in such a URL: key"),
        (f"tahoe:{CAPABILITY}x", "neither an alias nor a capability"),
        (f"tahoe:{CAPABILITY.replace('DIR2', 'CHK')}", "neither an alias nor a capability"),
        (f"tahoe:{CAPABILITY}/../a", "a path has letters"),
        ("tahoe:", "neither an alias nor a capability"),
        ("tahoe:a b", "neither an alias nor a capability"),
        ("tahoe:site?writer=A", "a writer has"),
        ("tahoe:site#a", "unknown in such a URL: #"),
    ],
)
def test_a_url_that_means_no_directory_is_refused_and_shows_no_capability(url, words):
    with pytest.raises(ConfigurationError) as caught:
        store_at(url, Files())
    told = f"{caught.value} {caught.value.hint}"
    assert words in caught.value.what
    assert "secret" not in told.replace("key=secret", "")
    assert SECRET not in told


def test_a_node_is_at_an_address_without_a_user(tmp_path):
    url = f"tahoe:{CAPABILITY}?node=http://me:password@host&directory={tmp_path}"
    with pytest.raises(ConfigurationError, match="a node is at") as caught:
        names(store_at(url, Files()))
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("fault", ["reset", "lost"])
def test_a_put_is_done_whichever_request_breaks_or_loses_its_answer(grid, grid_directory, fault):
    data, name = b"bytes of an object", "m/" + "ab" * 32
    with proxied(grid.port) as proxy:
        for number in range(1, 20):
            broken = len(proxy.asked) + number
            proxy.fault = lambda _m, _p, at, broken=broken: fault if at == broken else None
            store = at(proxy.port, grids.new_directory(grid.port))
            stored = put(store, name, data)
            if len(proxy.asked) < broken:
                break
            assert [each.stored for each in store.list()] == [stored]
            assert store.get(name) == data
    assert 6 < number < 19


def test_a_node_that_fails_for_a_moment_is_asked_again(grid, grid_directory, store):
    store.put(NAME, b"x")
    with proxied(grid.port) as proxy:
        failing = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        proxy.fault = lambda _method, _path, number: failing if number % 2 else None
        assert names(at(proxy.port, grid_directory)) == [NAME]
        proxy.fault = lambda *_request: failing
        with pytest.raises(StoreUnreachable, match="the node fails with 500"):
            names(at(proxy.port, grid_directory))


def test_a_page_in_the_place_of_a_node_is_no_empty_repository(grid, grid_directory):
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"
    with proxied(grid.port) as proxy:
        proxy.fault = lambda *_request: page
        store = at(proxy.port, grid_directory)
        for ask in (lambda: names(store), lambda: store.put(NAME, b"x"), store.clock):
            with pytest.raises(StoreUnreachable, match="something else answers"):
                ask()


class TestCare:
    """What the servers of a grid keep of an object."""

    @pytest.fixture
    def shares(self, grid, grid_directory, store):
        store.put(NAME, os.urandom(1000))  # equal bytes would be one file, also of other tests
        found = grids.shares_of_object(grid, grid_directory, NAME)
        assert len(found) == 3
        return found

    def test_care_renews_the_leases_of_an_object(self, store, shares):
        for share in shares:  # the end of a file is when its lease ends
            share.write_bytes(share.read_bytes()[:-4] + struct.pack(">L", 1_000_000))
        assert list(store.care()) == []
        ends = [struct.unpack(">L", share.read_bytes()[-4:])[0] for share in shares]
        assert all(end > 1_700_000_000 for end in ends)

    def test_what_lacks_a_share_is_named_and_mended(self, store, shares):
        shares[0].unlink()
        lacking = Weakness(NAME, "of its 3 shares 2 are there, and 2 are needed", False, False)
        assert list(store.care()) == [lacking]
        assert list(store.care(mend=True)) == [lacking._replace(is_mended=True)]
        assert list(store.care()) == []

    def test_what_is_lost_is_named_and_cannot_be_read(self, store, shares):
        for share in shares[:2]:
            share.unlink()
        lost = Weakness(NAME, "of its 3 shares 1 are there, and 2 are needed", True, False)
        assert list(store.care()) == [lost]
        assert list(store.care(mend=True)) == [lost]
        with pytest.raises(IntegrityError, match="too few shares"):
            store.get(NAME)

    def test_a_check_that_breaks_off_or_is_none_is_an_error(self, grid, grid_directory, store):
        with proxied(grid.port) as proxy:
            through = at(proxy.port, grid_directory)
            for said in (b"ERROR: UnrecoverableFileError", b"<html>", b'{"type": "file"}'):
                page = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + said
                proxy.fault = lambda method, *_rest, page=page: page if method == "POST" else None
                with pytest.raises(StoreUnreachable):
                    list(through.care())


class TestViews:
    """What whoever holds the capability sees."""

    def test_what_is_equal_in_two_views_is_one_directory(self, grid, grid_directory, store):
        for name in ("format", "keys/a", "m/1", "m/2", NAME):
            store.put(name, name.encode() * 50)
        both = ["format", "keys/a", NAME]
        store.show({"1": lambda: [*both, "m/1"], "2": lambda: [*both, "m/2"]})
        [writer] = grids.children(grid.port, grid_directory)

        def seen(*steps):
            return grids.children(grid.port, grid_directory, writer, *steps)

        assert sorted(seen("Archives")) == ["1", "2"]
        first, second = seen("Archives", "1"), seen("Archives", "2")
        assert sorted(first) == ["bundles", "format", "keys", "m"]
        shared = [name for name in first if first[name] == second[name]]
        assert sorted(shared) == ["bundles", "format", "keys"]
        assert seen("Latest") == second
        assert list(seen("Latest", "bundles", "ab")) == [NAME.rpartition("/")[2]]
        assert names(store) == sorted([*both, "m/1", "m/2"])

        asked = []
        views = {"2": lambda: asked.append(2), "3": lambda: ["format"]}
        store.show(views)
        assert sorted(seen("Archives")) == ["2", "3"]
        assert list(seen("Latest")) == ["format"]
        assert asked == []
        store.delete(NAME)
        store.show({"2": lambda: ["format", "m/2"], "3": lambda: asked.append(3)}, anew=True)
        assert sorted(seen("Archives", "2")) == ["format", "m"]
        assert asked == []
        assert list(store.care()) == []
        store.show({})
        assert seen("Archives") == {}
        assert "Latest" not in seen()


def test_a_name_below_that_of_a_file_is_left_out_of_a_view() -> None:
    files = {"keys/a/b": "2", "keys/a": "1", "m/x": "3", "keys/a/b/c": "4", "m": "5"}
    assert _tree(files) == {"keys": {"a": "1"}, "m": "5"}
