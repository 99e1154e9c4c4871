"""Sealing of bytes: they are encrypted, and bound to the one place where they belong.

An object begins with a header, the only thing that is read before it is authenticated::

    0   8   "CRBSTORE"
    8   1   version of the structures, 1
    9   1   what it is: 1 bundle, 2 catalog, 3 restore point, 4 ticket, 5 mark, 6 trash
    10  6   zeros
    16  24  random bytes, the *salt*

After it come sealed pieces.  The key of the object is made of the key of the repository and
the salt, so no key is used for two objects, and no counter has to be remembered anywhere.
The nonce of a piece is its offset in the object, 12 bytes, big-endian, which no two pieces
share.  Authenticated beside it::

    0   16  id of the repository
    16  16  the first 16 bytes of the header
    32  1   the role of the piece: 1 chunk, 2 padding, 3 directory, 4 contents

With ``aes-256-gcm`` a sealed piece is the ciphertext and the tag of 16 bytes.  With ``none`` it
is the bytes as they are, and in place of the tag the first 16 bytes of a BLAKE3 keyed with the
key of the object, over the nonce, the above and the bytes.
"""

from __future__ import annotations

import os
import struct
from enum import IntEnum
from typing import Any, Protocol

import blake3

from collective.recipe.backup.errors import ConfigurationError

MAGIC = b"CRBSTORE"
VERSION = 1
TAG_SIZE = 16
SALT_SIZE = 24
HEADER_SIZE = 40

_HEADER = struct.Struct(">8sBB6s24s")
_ZEROS = bytes(6)
_FIXED = 16


class Sort(IntEnum):
    """The kinds of objects."""

    BUNDLE = 1
    CATALOG = 2
    POINT = 3
    TICKET = 4
    MARK = 5
    TRASH = 6


class Role(IntEnum):
    """The role of a sealed piece in its object."""

    CHUNK = 1
    PADDING = 2
    DIRECTORY = 3
    CONTENTS = 4


class BrokenSealError(Exception):
    """These bytes were not sealed for this place.  The caller adds the name of the place."""


class Seal(Protocol):
    """Seals and opens the pieces of one object.  Several threads may use it at a time."""

    def into(self, out: memoryview, role: Role, offset: int, data: bytes | memoryview) -> None:
        """Write *data*, sealed, to *out*, which has TAG_SIZE bytes more than it."""

    def opened(self, role: Role, offset: int, sealed: bytes | memoryview) -> bytes:
        """Return the bytes before they were sealed.  Raises BrokenSealError."""


def header(sort: Sort, salt: bytes) -> bytes:
    """Return the header of an object."""
    return _HEADER.pack(MAGIC, VERSION, sort, _ZEROS, salt)


def new_salt() -> bytes:
    """Return a salt that no object has had."""
    return os.urandom(SALT_SIZE)


def salt_of(data: bytes, sort: Sort) -> bytes:
    """Return the salt in the header that *data* begins with.

    Raises BrokenSealError if there is no header, or one of another *sort*, and ConfigurationError
    for the header of a later release.
    """
    if len(data) < HEADER_SIZE:
        raise BrokenSealError("it is too short")
    magic, version, found, zeros, salt = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise BrokenSealError("it does not begin as an object of a repository does")
    if version > VERSION:
        raise ConfigurationError(
            f"a later release wrote this repository (version {version} of its structures, "
            f"this release knows {VERSION})",
            hint="update this program, then run the command again",
        )
    if (version, found, zeros) != (VERSION, sort, _ZEROS):
        raise BrokenSealError("its header is damaged, or it is another kind of object")
    return bytes(salt)


def seal(key: bytes, about: bytes, *, encrypted: bool) -> Seal:
    """Return the Seal of an object with this *key*; *about* is authenticated with each piece."""
    return _AesGcm(key, about) if encrypted else _Digests(key, about)


def about_object(repository: bytes, sort: Sort) -> bytes:
    """Return the associated data of all pieces of an object, without their roles."""
    return repository + header(sort, bytes(SALT_SIZE))[:_FIXED]


class _AesGcm:
    def __init__(self, key: bytes, about: bytes) -> None:
        self._cipher = _aes(key)
        self._about = about

    def into(self, out: memoryview, role: Role, offset: int, data: bytes | memoryview) -> None:
        self._cipher.encrypt_into(_nonce(offset), data, self._about + bytes([role]), out)

    def opened(self, role: Role, offset: int, sealed: bytes | memoryview) -> bytes:
        if len(sealed) < TAG_SIZE:
            raise BrokenSealError("a piece is too short")
        # unlike decrypt, decrypt_into lets other threads run
        out = bytearray(len(sealed) - TAG_SIZE)
        try:
            self._cipher.decrypt_into(_nonce(offset), sealed, self._about + bytes([role]), out)
        except _invalid_tag() as error:
            raise BrokenSealError("a piece is damaged, or it is not of this place") from error
        return bytes(out)


class _Digests:
    def __init__(self, key: bytes, about: bytes) -> None:
        self._hasher = blake3.blake3(key=key)
        self._about = about

    def into(self, out: memoryview, role: Role, offset: int, data: bytes | memoryview) -> None:
        out[: len(data)] = data
        out[len(data) :] = self._digest(role, offset, data)

    def opened(self, role: Role, offset: int, sealed: bytes | memoryview) -> bytes:
        if len(sealed) < TAG_SIZE:
            raise BrokenSealError("a piece is too short")
        # OpenSSL comes with it, which a run that finds nothing new does without
        from hmac import compare_digest

        data = bytes(sealed[:-TAG_SIZE])
        if not compare_digest(self._digest(role, offset, data), bytes(sealed[-TAG_SIZE:])):
            raise BrokenSealError("a piece is damaged, or it is not of this place")
        return data

    def _digest(self, role: Role, offset: int, data: bytes | memoryview) -> bytes:
        hasher = self._hasher.copy()
        hasher.update(_nonce(offset) + self._about + bytes([role]))
        hasher.update(data)
        return hasher.digest(TAG_SIZE)


def _nonce(offset: int) -> bytes:
    return offset.to_bytes(12, "big")


def _aes(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _invalid_tag() -> type[Exception]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag
