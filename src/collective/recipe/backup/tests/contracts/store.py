"""What every store must do.  Subclass it and give a ``store`` fixture."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from collective.recipe.backup.stores import NoSuchObject, ObjectExists, Store

NAME = "bundles/ab/" + "ab" * 32
OTHER = "bundles/ac/" + "ac" * 32


def names(store: Store, prefix: str = "") -> list[str]:
    return [entry.name for entry in store.list(prefix)]


class StoreContract:
    """Objects come whole, never change, and are found by their names."""

    def test_an_object_that_was_put_is_read_back(self, store: Store) -> None:
        store.put(NAME, b"some bytes")
        assert store.get(NAME) == b"some bytes"

    def test_an_empty_object_is_an_object(self, store: Store) -> None:
        store.put(NAME, b"")
        assert store.get(NAME) == b""
        assert [entry.size for entry in store.list("")] == [0]

    @pytest.mark.parametrize("size", [1, 1 << 16, (1 << 20) + 1, 9_000_000])
    def test_objects_of_any_size_come_back(self, store: Store, size: int) -> None:
        data = bytes(range(251)) * (size // 251 + 1)
        store.put(NAME, memoryview(data)[:size])
        assert store.get(NAME) == data[:size]
        assert [entry.size for entry in store.list(NAME)] == [size]

    def test_any_buffer_can_be_put(self, store: Store) -> None:
        for number, data in enumerate([b"abc", bytearray(b"abc"), memoryview(b"abc")]):
            store.put(f"m/{number}", data)
            assert store.get(f"m/{number}") == b"abc"

    def test_a_range_is_read(self, store: Store) -> None:
        store.put(NAME, b"0123456789")
        assert store.get(NAME, 3, 4) == b"3456"
        assert store.get(NAME, 3) == b"3456789"
        assert store.get(NAME, 10) == b""
        assert store.get(NAME, 0, 0) == b""
        assert store.get(NAME, 9, 1) == b"9"

    @pytest.mark.parametrize(("start", "size"), [(0, 11), (9, 2), (11, None), (12, 1)])
    def test_a_range_beyond_the_end_is_no_shorter_answer(self, store, start, size) -> None:
        store.put(NAME, b"0123456789")
        with pytest.raises(NoSuchObject):
            store.get(NAME, start, size)

    def test_what_is_not_there_is_told(self, store: Store) -> None:
        with pytest.raises(NoSuchObject):
            store.get(NAME)
        with pytest.raises(NoSuchObject):
            store.get(NAME, 0, 1)

    def test_an_object_never_changes(self, store: Store) -> None:
        first = store.put(NAME, b"first")
        with pytest.raises(ObjectExists):
            store.put(NAME, b"second")
        with pytest.raises(ObjectExists):
            store.put(NAME, b"first")
        assert store.get(NAME) == b"first"
        assert [entry.stored for entry in store.list("")] == [first]

    def test_one_of_many_that_race_succeeds(self, store: Store) -> None:
        outcomes: list[object] = []

        def put(number: int) -> None:
            try:
                store.put(NAME, b"%d" % number * 100_000)
                outcomes.append(number)
            except ObjectExists:
                outcomes.append("exists")

        threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [winner] = [each for each in outcomes if each != "exists"]
        assert len(outcomes) == 8
        assert store.get(NAME) == b"%d" % winner * 100_000

    def test_a_listing_has_all_with_the_prefix_sorted(self, store: Store) -> None:
        every = [
            "format",
            "m/p-1",
            "m/p-2",
            "m/t-1",
            "mm/a",
            NAME,
            OTHER,
            "a/b/c/d",
            "a-b",
            "a/b-c",
        ]
        for name in every:
            store.put(name, b"x")
        assert names(store) == sorted(every)
        assert names(store, "m/") == ["m/p-1", "m/p-2", "m/t-1"]
        assert names(store, "m/p-") == ["m/p-1", "m/p-2"]
        assert names(store, "m") == ["m/p-1", "m/p-2", "m/t-1", "mm/a"]
        assert names(store, "bundles/") == [NAME, OTHER]
        assert names(store, "bundles/ab/ab") == [NAME]
        assert names(store, "bundles/a") == [NAME, OTHER]
        assert names(store, "a/b") == ["a/b-c", "a/b/c/d"]
        assert names(store, "nothing") == []
        assert names(store, "format/") == []
        assert names(store, "format") == ["format"]

    def test_a_listing_may_be_left_and_changed_meanwhile(self, store: Store) -> None:
        for number in range(5):
            store.put(f"m/{number}", b"x")
        listing = store.list("m/")
        first = next(listing)
        for number in range(5):
            store.delete(f"m/{number}")
        assert first.name == "m/0"
        assert {entry.name for entry in listing} <= {f"m/{number}" for number in range(5)}

    def test_what_is_deleted_is_gone_and_its_name_free(self, store: Store) -> None:
        store.put(NAME, b"first")
        store.delete(NAME)
        assert names(store) == []
        with pytest.raises(NoSuchObject):
            store.get(NAME)
        store.put(NAME, b"second")
        assert store.get(NAME) == b"second"

    def test_to_delete_what_is_not_there_is_no_error(self, store: Store) -> None:
        store.delete(NAME)
        store.put("m/a", b"")
        store.delete("m/b")
        assert names(store) == ["m/a"]

    def test_time_is_that_of_the_store_and_goes_on(self, store: Store) -> None:
        before = store.clock()
        told = store.put(NAME, b"x")
        after = store.clock()
        [entry] = store.list("")
        assert entry.stored == told
        slack = timedelta(seconds=2)  # what a file system may round
        assert before - slack <= told <= after + slack
        assert told.tzinfo is not None

    @pytest.mark.parametrize(
        "name",
        ["", "/", "/a", "a/", "a//b", "..", "a/../b", ".", "a.b", "A", "a b", "-a", "a\n", "é"]
        + ["a/b/c/d/e", "a" * 201, "a\0", "_a", "a/-b"],
    )
    def test_other_names_are_refused(self, store: Store, name: str) -> None:
        for ask in (store.get, store.delete, lambda name: store.put(name, b"")):
            with pytest.raises(ValueError, match="no name of an object"):
                ask(name)
        assert names(store) == []

    def test_long_names_are_names(self, store: Store) -> None:
        name = "m/p-" + "x" * 190
        store.put(name, b"x")
        assert names(store) == [name]

    def test_a_sweep_removes_no_object(self, store: Store) -> None:
        store.put(NAME, b"x")
        store.sweep()
        assert store.get(NAME) == b"x"

    def test_to_prepare_it_again_changes_nothing(self, store: Store) -> None:
        store.put(NAME, b"x")
        store.prepare()
        assert store.get(NAME) == b"x"

    def test_threads_may_work_side_by_side(self, store: Store) -> None:
        def work(number: int) -> None:
            for each in range(10):
                store.put(f"m/{number}-{each}", b"%d" % each * 1000)
                assert store.get(f"m/{number}-{each}", 0, 1) == b"%d" % each
            failed.remove(number)

        failed = list(range(4))
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert len(names(store, "m/")) == 40
