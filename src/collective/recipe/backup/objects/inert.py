"""The state of an object, read without its class and without running anything of it.

A pickle is a program: it names classes and functions, and calls them.  Here each name, whatever
it is, gives a class of our own that keeps what it is called with and does nothing.  So no module
is imported, and the worst that a hostile pickle does is to be refused:

* each instruction must be known and lie within the data (see ``filestorage.pickles``);
* no memo may be larger than the data, since an unpickler makes room for all of it at once;
* tuples may not nest or unfold without end, since keys are hashed (see ``expansion``).
"""

from __future__ import annotations

import io
import pickle
import re
import zlib
from functools import lru_cache
from typing import Any, NamedTuple

from collective.recipe.backup.filestorage.pickles import decompressed
from collective.recipe.backup.model import Oid
from collective.recipe.backup.objects import expansion

_CLASSES = 4096
"""Classes that are held; a hostile log may name any number."""

_OID = 8
_BY_VALUE = b"Q"
_BY_TEXT = re.compile(rb"P[^\n]{8}\n")
"""The two instructions that load a reference, the second with the oid itself."""


class UnreadableStateError(Exception):
    """The data of a record are no state that can be read without running it."""


class Reference(NamedTuple):
    """Stands in a state for another persistent object."""

    oid: Oid  # of that object
    kind: str  # its class as far as the reference says it, or ""
    is_weak: bool = False
    """Whether it is a weak reference, which does not keep the object from a pack."""


class OtherDatabase(NamedTuple):
    """A reference to an object of another database."""

    database: str  # name of the database


class Inert:
    """Stands for an object that is no persistent one of its own, or for any callable's result."""

    kind = ""
    """The name of its class or callable in the pickle."""

    def __new__(cls, *arguments: Any, **keywords: Any) -> Any:
        """Keep what it is called with."""
        self = object.__new__(cls)
        self.arguments = (*arguments, *keywords.values())
        self.state = None
        self.elements = []
        return self

    arguments: tuple[Any, ...]
    state: Any
    elements: list[Any]

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """Do nothing."""

    def __call__(self, *arguments: Any) -> Inert:
        """Keep that it was called: a pickle may call what a call has given."""
        found = Inert(self, *arguments)
        assert isinstance(found, Inert)  # noqa: S101  for the type
        return found

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.elements += [key, value]

    def append(self, value: Any) -> None:
        """Keep an element."""
        self.elements.append(value)

    add = append


class _Reconstructor(Inert):
    """Stands for ``copyreg._reconstructor``, which makes an object of a given class."""

    def __new__(cls, *arguments: Any, **_keywords: Any) -> Any:
        kind = arguments[0] if arguments else None
        if isinstance(kind, type) and issubclass(kind, Inert):
            return kind.__new__(kind)
        return Inert.__new__(cls, *arguments)


@lru_cache(_CLASSES)
def _class_called(module: str, name: str) -> type[Inert]:
    base = Inert
    if (module, name) in {("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor")}:
        base = _Reconstructor
    return type("Inert", (base,), {"kind": f"{module}.{name}"})


class ObjectState(NamedTuple):
    """The class and the state of an object, from its record."""

    kind: str  # its class
    value: Any  # dicts, lists, tuples, sets, texts, numbers, References and Inerts


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="latin-1")
        self.references: list[Reference | OtherDatabase] = []
        """All that it has loaded, in the order of the data."""

    def find_class(self, module: str, name: str) -> type[Inert]:
        return _class_called(module, name)

    def persistent_load(self, pid: Any) -> Any:
        self.references.append(_reference(pid))
        return self.references[-1]


def state_of(data: bytes) -> ObjectState:
    """Return what the *data* of a record are.  Raises UnreadableStateError."""
    return _read(data)[0]


def all_references(data: bytes) -> list[Reference | OtherDatabase]:
    """Return all references in the *data* of a record, in their order; see state_of."""
    return _read(data)[1]


def may_refer(data: bytes) -> bool:
    """Tell whether the *data* of a record can have a reference, quicker than by reading them."""
    try:
        plain = decompressed(data)
    except (zlib.error, ValueError):
        return True
    return _BY_VALUE in plain or _BY_TEXT.search(plain) is not None


def may_mention(data: bytes, oid: Oid) -> bool:
    """Tell whether the *data* of a record can refer to *oid*, quicker than by reading them."""
    try:
        return bytes(oid) in decompressed(data)
    except (zlib.error, ValueError):
        return True


def state_and_references(
    data: bytes,
) -> tuple[ObjectState, list[Reference | OtherDatabase]]:
    """Return both; see state_of."""
    return _read(data)


def _read(data: bytes) -> tuple[ObjectState, list[Reference | OtherDatabase]]:
    try:
        # both pickles have one memo, as ZODB writes them
        plain = decompressed(data)
        expansion.check(plain)
        unpickler = _Unpickler(plain)
        state = ObjectState(_kind_of(unpickler.load()), unpickler.load())
        return state, unpickler.references
    except (pickle.UnpicklingError, zlib.error, LookupError, AttributeError) as error:
        raise UnreadableStateError(str(error)) from error
    except (ArithmeticError, ValueError, TypeError, EOFError, MemoryError) as error:
        raise UnreadableStateError(str(error)) from error
    except (RecursionError, ImportError) as error:
        raise UnreadableStateError(str(error)) from error


def _kind_of(written: Any) -> str:
    """Return the class: it stands alone, or before the arguments of its ``__new__``."""
    while isinstance(written, tuple) and written:
        written = written[0]
    return written.kind if isinstance(written, type) and issubclass(written, Inert) else "unknown"


def _reference(pid: Any) -> Reference | OtherDatabase:
    """Return what a persistent id says; ZODB/serialize.py has all forms.

    Raises ValueError for none of them.
    """
    if isinstance(pid, tuple) and len(pid) == 2:  # noqa: PLR2004  oid and class
        return Reference(_oid(pid[0]), _kind_of(pid[1]))
    if isinstance(pid, list):
        return _other_reference(pid)
    return Reference(_oid(pid), "")


def _other_reference(pid: list[Any]) -> Reference | OtherDatabase:
    if len(pid) == 1:  # a weak one of old
        return Reference(_oid(pid[0]), "", is_weak=True)
    form, arguments = pid
    if form == "w" and len(arguments) == 1:
        return Reference(_oid(arguments[0]), "", is_weak=True)
    if form in ("w", "n", "m"):
        return OtherDatabase(_database(arguments[form == "w"]))
    raise ValueError("a reference has no known form")


def _database(written: Any) -> str:
    if isinstance(written, bytes):
        return written.decode("latin-1")
    if not isinstance(written, str):
        raise ValueError("a reference to another database has no name for it")  # noqa: TRY004  as for the others
    return written


def _oid(written: Any) -> Oid:
    oid = written.encode("latin-1") if isinstance(written, str) else written
    if not isinstance(oid, bytes):
        oid = getattr(oid, "arguments", (b"",))[0]  # a class for bytes, of Python 2
        oid = oid.encode("latin-1") if isinstance(oid, str) else oid
    if not isinstance(oid, bytes) or len(oid) != _OID:
        raise ValueError("a reference has no object id")
    return Oid(oid)
