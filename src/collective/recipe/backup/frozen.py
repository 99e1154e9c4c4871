"""Frozen dataclasses that cost little to define.

The standard library writes and compiles six functions for each frozen dataclass whenever its room
is imported.  That takes about half a millisecond of processor time, and a run that has nothing to
do imports fifty of them.  Here all classes share the functions, which use the list of fields of the
standard library.  In exchange it takes two microseconds longer to make an instance, so objects that
exist for each blob are NamedTuples or compiled dataclasses.

All else is as with the standard library: ``replace``, ``fields`` and ``asdict`` take these
classes for dataclasses, and type checkers take them for those of ``dataclasses``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

__all__ = ["dataclass"]

_T = TypeVar("_T")


def _dataclass(*, frozen: bool, kw_only: bool = False) -> Callable[[type[_T]], type[_T]]:
    """Return what makes a dataclass of a class, as ``dataclasses.dataclass`` does.

    Raises TypeError if it is not *frozen*: of those the house has few.
    """
    if not frozen:
        raise TypeError("this is for frozen dataclasses: use dataclasses.dataclass")
    with_fields: Callable[[type[_T]], type[_T]] = dataclasses.dataclass(
        init=False, repr=False, eq=False, kw_only=kw_only
    )

    def made(cls: type[_T]) -> type[_T]:
        for name, function in _FUNCTIONS.items():
            if name not in cls.__dict__:
                setattr(cls, name, function)
        return with_fields(cls)

    return made


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _dataclass


def _init(self: Any, /, *positional: object, **named: object) -> None:
    fields = _fields_of(self)
    if positional:
        named = _named(self, positional, named)
    if not named.keys() <= fields.keys():
        others = ", ".join(sorted(named.keys() - fields.keys()))
        raise TypeError(f"{type(self).__name__} has no field {others}")
    values = vars(self)
    values.update(named)
    for name, field in fields.items():
        if name in values:
            continue
        if field.default is not MISSING:
            values[name] = field.default
        elif field.default_factory is not MISSING:
            values[name] = field.default_factory()
        else:
            raise TypeError(f"{type(self).__name__} needs {name}")


def _named(
    self: Any, positional: tuple[object, ...], named: dict[str, object]
) -> dict[str, object]:
    """Return all arguments by name."""
    cls = type(self)
    in_order = cls.__match_args__[: len(positional)]
    if len(in_order) < len(positional):
        raise TypeError(f"{cls.__name__} takes {len(in_order)} positional arguments")
    if not named.keys().isdisjoint(in_order):
        raise TypeError(f"{cls.__name__} got an argument by its place and by its name")
    return {**dict(zip(in_order, positional, strict=True)), **named}


def _repr(self: object) -> str:
    values = vars(self)
    shown = (f"{name}={values[name]!r}" for name, field in _fields_of(self).items() if field.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _eq(self: object, other: object) -> object:
    if type(other) is not type(self):
        return NotImplemented
    mine, theirs = vars(self), vars(other)
    return all(
        mine[name] == theirs[name] for name, field in _fields_of(self).items() if field.compare
    )


def _hash(self: object) -> int:
    values = vars(self)
    hashed = (
        values[name]
        for name, field in _fields_of(self).items()
        if (field.compare if field.hash is None else field.hash)
    )
    return hash(tuple(hashed))


def _setattr(_self: object, name: str, _value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(_self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _fields_of(instance: Any) -> Mapping[str, Field[Any]]:
    """Return what the standard library has found in the class, by name."""
    found: Mapping[str, Field[Any]] = instance.__dataclass_fields__
    return found


_FUNCTIONS = {
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _setattr,
    "__delattr__": _delattr,
}
