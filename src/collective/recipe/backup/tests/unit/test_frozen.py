"""Our frozen dataclasses behave as those of the standard library, and compile nothing."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from functools import cached_property
from typing import Any

import pytest

from collective.recipe.backup import frozen

Decorator = Callable[..., Any]


def family(dataclass: Decorator) -> dict[str, type]:
    """Return classes of all the forms that there are in the house, made by *dataclass*."""

    @dataclass(frozen=True, kw_only=True)
    class Named:
        """Only by name."""

        first: int
        second: str = "two"
        third: list[int] = dataclasses.field(default_factory=list)

    @dataclass(frozen=True)
    class Ordered:
        """In order as well, with something that is worked out and remembered."""

        first: int
        second: str = dataclasses.field(default="two", metadata={"words": "some"})

        @cached_property
        def third(self) -> int:
            """Return twice the first."""
            return 2 * self.first

    @dataclass(frozen=True)
    class Heir(Ordered):
        """With more than it inherits, and another default."""

        second: str = "zwei"
        fourth: float = 4.0

    @dataclass(frozen=True)
    class Own:
        """With functions of its own."""

        first: int

        def __repr__(self) -> str:
            return f"<{self.first}>"

        def __eq__(self, other: object) -> bool:
            return isinstance(other, type(self)) and self.first % 2 == other.first % 2

        def __hash__(self) -> int:
            return self.first % 2

    @dataclass(frozen=True)
    class Partly:
        """With fields of which only some count."""

        first: int
        second: int = dataclasses.field(default=2, compare=False)
        third: int = dataclasses.field(default=3, hash=False)
        fourth: int = dataclasses.field(default=4, repr=False)

    class Plain(Heir):
        """Of which nothing was made a dataclass."""

    @dataclass(frozen=True)
    class Empty:
        """With nothing."""

    classes = (Named, Ordered, Heir, Own, Partly, Plain, Empty)
    return {each.__name__: each for each in classes}


OURS, STANDARD = family(frozen.dataclass), family(dataclasses.dataclass)

CALLS = [
    ("Named", (), {"first": 1}),
    ("Named", (), {"first": 1, "second": "x", "third": [1]}),
    ("Named", (), {"third": [], "first": 1}),
    ("Named", (), {}),
    ("Named", (1,), {}),
    ("Named", (), {"first": 1, "fourth": 4}),
    ("Ordered", (1,), {}),
    ("Ordered", (1, "x"), {}),
    ("Ordered", (1,), {"second": "x"}),
    ("Ordered", (1, "x", 3), {}),
    ("Ordered", (1,), {"first": 1}),
    ("Ordered", (), {"second": "x"}),
    ("Heir", (1,), {}),
    ("Heir", (1, "x", 2.0), {}),
    ("Heir", (), {"first": 1, "fourth": 2.0}),
    ("Own", (1,), {}),
    ("Own", (3,), {}),
    ("Partly", (1,), {}),
    ("Partly", (1, 7), {}),
    ("Partly", (1,), {"third": 7}),
    ("Partly", (1,), {"fourth": 7}),
    ("Plain", (1,), {}),
    ("Plain", (1, "x"), {"fourth": 2.0}),
    ("Empty", (), {}),
    ("Empty", (1,), {}),
]


def made(classes: dict[str, type], name: str, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Return the instance, None if there is none of these arguments."""
    try:
        return classes[name](*given, **named)
    except TypeError:
        return None


@pytest.mark.parametrize(("name", "given", "named"), CALLS)
def test_an_instance_is_made_and_shown_as_the_standard_does(name, given, named) -> None:
    ours, standard = (made(classes, name, given, named) for classes in (OURS, STANDARD))
    assert (ours is None) == (standard is None)
    if ours is not None:
        assert repr(ours) == repr(standard)
        assert dataclasses.asdict(ours) == dataclasses.asdict(standard)
        assert ours.__match_args__ == standard.__match_args__


def test_instances_are_equal_where_those_of_the_standard_are() -> None:
    pairs = [
        (first, second) for first in CALLS for second in CALLS if made(OURS, *first) is not None
    ]
    assert [made(OURS, *first) == made(OURS, *second) for first, second in pairs] == [
        made(STANDARD, *first) == made(STANDARD, *second) for first, second in pairs
    ]
    assert OURS["Ordered"](1) != STANDARD["Ordered"](1)


def test_what_is_only_remembered_does_not_count() -> None:
    first, second = OURS["Ordered"](1), OURS["Ordered"](1)
    assert first.third == 2
    assert first == second
    assert hash(first) == hash(second)
    assert repr(first) == repr(second)


def test_what_can_be_hashed_is_what_the_standard_hashes() -> None:
    for name, given, named in CALLS:
        ours, standard = (made(classes, name, given, named) for classes in (OURS, STANDARD))
        if ours is not None and name != "Named":
            assert hash(ours) == hash(standard)
    with pytest.raises(TypeError, match="unhashable"):
        hash(OURS["Named"](first=1))


def test_nothing_can_be_set_or_deleted() -> None:
    instance = OURS["Named"](first=1)
    for name in ("first", "other"):
        with pytest.raises(dataclasses.FrozenInstanceError, match=name):
            setattr(instance, name, 2)
        with pytest.raises(dataclasses.FrozenInstanceError, match=name):
            delattr(instance, name)
    assert instance.first == 1


def test_each_instance_has_a_default_of_its_own() -> None:
    first, second = OURS["Named"](first=1), OURS["Named"](first=1)
    first.third.append(1)
    assert second.third == []


def test_the_functions_of_dataclasses_know_them() -> None:
    instance = OURS["Heir"](1, fourth=2.0)
    assert dataclasses.is_dataclass(instance)
    assert dataclasses.replace(instance, first=7) == OURS["Heir"](7, fourth=2.0)
    names = [(field.name, field.default) for field in dataclasses.fields(OURS["Heir"])]
    assert names == [(field.name, field.default) for field in dataclasses.fields(STANDARD["Heir"])]
    [_first, second] = dataclasses.fields(OURS["Ordered"])
    assert second.metadata == {"words": "some"}
    assert copy.copy(instance) == copy.deepcopy(instance) == instance


@frozen.dataclass(frozen=True)
class Sent:
    """Something that another process gets."""

    first: int


def test_frozen_objects_go_to_another_process_and_back() -> None:
    assert pickle.loads(pickle.dumps(Sent(1))) == Sent(1)


def test_a_pattern_matches_them() -> None:
    match OURS["Ordered"](1, "x"):
        case frozen_one if not isinstance(frozen_one, OURS["Ordered"]):
            pytest.fail("it is one")
    match Sent(5):
        case Sent(first):
            assert first == 5


def test_what_is_not_frozen_is_for_the_standard() -> None:
    with pytest.raises(TypeError, match="dataclasses"):
        frozen.dataclass(frozen=False)


def test_nothing_is_compiled_to_make_one(monkeypatch) -> None:
    def compile(*_arguments: object, **_named: object) -> None:
        raise AssertionError("the standard library would have done that")

    monkeypatch.setattr(dataclasses, "_create_fn", compile, raising=False)
    if builder := getattr(dataclasses, "_FuncBuilder", None):  # since Python 3.13
        monkeypatch.setattr(builder, "add_fn", compile)
    family(frozen.dataclass)
    with pytest.raises(AssertionError, match="standard library"):
        family(dataclasses.dataclass)
