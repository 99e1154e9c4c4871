"""Boxes: the objects that hold no chunks, each of them one sealed piece.

After the header (see ``sealing``) comes the piece, of role *contents*, at offset 40::

    0   1   form: 0 as it is, 1 a frame of zstd
    1   4   number of bytes in that form, n
    5   4   number of bytes of the contents
    9   n   the contents in that form
    ..      zeros, as many as make the object as large as objects may be

and the contents::

    0   4   number of bytes of the head, h
    4   h   the head: an object of JSON in ASCII, whose ``format`` is the version of this kind
    ..      bytes that belong to it
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from collective.recipe.backup.errors import ConfigurationError, IntegrityError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.jsonfile import Form, LaterReleaseError, Table, UnreadableError
from collective.recipe.backup.repository.compressing import compressed, decompressed
from collective.recipe.backup.repository.keyring import Keyring
from collective.recipe.backup.repository.names import control_name, id_in, id_of
from collective.recipe.backup.repository.padding import padded
from collective.recipe.backup.repository.sealing import (
    HEADER_SIZE,
    TAG_SIZE,
    BrokenSealError,
    Role,
    Sort,
    header,
    new_salt,
    salt_of,
)
from collective.recipe.backup.stores import Store

LARGEST = 16 << 20
"""Bytes that the contents may have."""

_PIECE = struct.Struct(">BII")
_HEAD = struct.Struct(">I")
# the seal authenticates it, so it needs no check of its own
_FORM = Form(version=1, check=None)


@dataclass(frozen=True)
class Sealed:
    """An object that can be put."""

    name: str  # of the object
    data: bytes  # all bytes of the object, sealed


@dataclass(frozen=True)
class Opened:
    """The content of an object."""

    head: Table  # the head: its kind and version, and what its room adds
    payload: bytes  # the bytes after the head


def seal_box(
    keyring: Keyring, sort: Sort, head: Mapping[str, Any], payload: bytes = b"", place: str = ""
) -> Sealed:
    """Return the object that holds *head* and *payload*.

    *place* stands before the ID in its name.
    """
    encoded = _FORM.encode(head)
    contents = _HEAD.pack(len(encoded)) + encoded + payload
    if len(contents) > LARGEST:
        raise ValueError(f"{len(contents)} bytes are too many for one object")
    form, stored = compressed(contents)
    plain = _PIECE.pack(form, len(stored), len(contents)) + stored
    size = padded(HEADER_SIZE + len(plain) + TAG_SIZE)
    data = bytearray(size)
    salt = new_salt()
    data[:HEADER_SIZE] = header(sort, salt)
    plain += bytes(size - HEADER_SIZE - TAG_SIZE - len(plain))
    with memoryview(data) as view:
        keyring.seal(sort, salt).into(view[HEADER_SIZE:], Role.CONTENTS, HEADER_SIZE, plain)
    return Sealed(control_name(sort, id_of(data), place), bytes(data))


def unsealed(keyring: Keyring, sort: Sort, data: bytes) -> bytes:
    """Return the contents of the object with the bytes *data*.

    Raises BrokenSealError for damage, and ConfigurationError for what a later release sealed.
    """
    seal = keyring.seal(sort, salt_of(data, sort))
    with memoryview(data) as view:
        plain = seal.opened(Role.CONTENTS, HEADER_SIZE, view[HEADER_SIZE:])
    try:
        form, length, size = _PIECE.unpack_from(plain)
        if size > LARGEST:
            raise ValueError("contents of an impossible size")
        return decompressed(form, plain[_PIECE.size : _PIECE.size + length], size)
    except (struct.error, ValueError) as error:
        raise _strange(error) from error


def parsed(contents: bytes) -> Opened:
    """Return head and payload of *contents*, which must be authentic.

    Raises BrokenSealError for damage, and ConfigurationError for what a later release wrote.
    """
    try:
        (head,) = _HEAD.unpack_from(contents)
        table = _FORM.decode(contents[_HEAD.size : _HEAD.size + head])
    except LaterReleaseError as error:
        raise ConfigurationError(
            f"an object of this repository is of a later release: {error}",
            hint="update this program, then run the command again",
        ) from error
    except (struct.error, UnreadableError) as error:
        raise _strange(error) from error
    return Opened(table, contents[_HEAD.size + head :])


def _strange(error: Exception) -> BrokenSealError:
    return BrokenSealError(f"it does not hold what it should: {error}")


def read_box(store: Store, keyring: Keyring, sort: Sort, name: str) -> Opened:
    """Return what the object *name* of the store holds.

    Raises NoSuchObject, IntegrityError for damage, and what the store raises.
    """
    return opened_box(store, keyring, sort, Sealed(name, store.get(name)))


def opened_box(store: Store, keyring: Keyring, sort: Sort, sealed: Sealed) -> Opened:
    """Return what an object holds that was read from *store* under its name.

    Raises IntegrityError for damage.
    """
    contents = authentic(store, keyring, sort, sealed)
    with told(store, sealed.name):
        return parsed(contents)


def authentic(store: Store, keyring: Keyring, sort: Sort, sealed: Sealed) -> bytes:
    """Return the contents of an object that was read from *store* under its name.

    Raises IntegrityError for damage.
    """
    with told(store, sealed.name):
        if id_of(sealed.data) != id_in(sealed.name):
            raise BrokenSealError("its bytes do not match its name")
        return unsealed(keyring, sort, sealed.data)


@contextmanager
def told(store: Store, name: str) -> Iterator[None]:
    """Say in errors which object it is."""
    where = f"{store.location}/{name}"
    try:
        yield
    except BrokenSealError as error:
        raise damaged(str(error), where) from error
    except ConfigurationError as error:
        raise ConfigurationError(error.what, where=where, hint=error.hint) from error


def damaged(why: str, where: str) -> IntegrityError:
    """Return the error that says that an object of the repository is damaged."""
    return IntegrityError(
        f"an object of the repository is damaged: {why}",
        where=where,
        hint="scrub names all that is damaged, and heal stores again what can be read",
    )
