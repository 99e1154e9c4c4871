"""The object ``format``: it says what kind of repository this is.  ``init`` makes it, once.

A small file of JSON, as all of ours (version and CRC-32 in ``format`` and ``check``)::

    repository   the id of the repository, 32 hex digits
    sealing      "aes-256-gcm" or "none"
    made         when, in ISO 8601

It is not sealed, so a reader believes only what a slot confirms: each slot is bound to all bytes of
this object. A reader that has a passphrase refuses ``none``.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime

from collective.recipe.backup.errors import (
    ConfigurationError,
    IntegrityError,
    StoreRefused,
    StoreUnreachable,
)
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.jsonfile import Form, LaterReleaseError, UnreadableError
from collective.recipe.backup.repository.keyring import REPOSITORY_ID_SIZE
from collective.recipe.backup.repository.names import FORMAT, id_of
from collective.recipe.backup.stores import CHECK, NoSuchObject, Store

VERSION = 1
ENCRYPTED = "aes-256-gcm"
PLAIN = "none"
_FORM = Form(version=VERSION)
_LARGEST = 4096


@dataclass(frozen=True)
class Format:
    """The content of the object ``format``."""

    repository: bytes  # the id of the repository, 16 bytes
    encrypted: bool  # whether ``sealing`` is aes-256-gcm
    digest: str  # BLAKE3 of all bytes of the object, 64 hex digits


def new_format(*, encrypted: bool, now: datetime) -> bytes:
    """Return the bytes of the object for a new repository."""
    return _FORM.encode(
        {
            "repository": os.urandom(REPOSITORY_ID_SIZE).hex(),
            "sealing": ENCRYPTED if encrypted else PLAIN,
            "made": now.isoformat(timespec="seconds"),
        }
    )


def read_format(store: Store) -> Format:
    """Return what the repository in *store* is.

    Raises ConfigurationError where there is none or a later release made it, IntegrityError for
    damage, and StoreUnreachable where what answers is no store.
    """
    try:
        data = store.get(FORMAT)
    except NoSuchObject as error:
        raise ConfigurationError(
            "there is no repository",
            where=store.location,
            hint="is the place right, and the disk mounted?  A new repository is made by init",
        ) from error
    try:
        return parse_format(data)
    except LaterReleaseError as error:
        raise ConfigurationError(
            f"the repository is of a later release: {error}",
            where=store.location,
            hint="update this program, then run the command again",
        ) from error
    except UnreadableError as error:
        if _has_anything(store):
            raise StoreUnreachable(
                "something else answers in the place of the store, whatever it is asked for",
                where=store.location,
                hint="does the network want a login, or is there a proxy?  Is the place right?",
            ) from error
        raise IntegrityError(
            f"the object that says what the repository is cannot be read: {error}",
            where=f"{store.location}/{FORMAT}",
            hint="every copy of the repository has the same bytes there: take them from one",
        ) from error


def _has_anything(store: Store) -> bool:
    """Tell whether *store* claims to have an object that cannot be there."""
    with suppress(NoSuchObject, StoreRefused):
        store.get(f"{CHECK}/{os.urandom(8).hex()}")
        return True
    return False


def parse_format(data: bytes) -> Format:
    """Return what the bytes of the object say.  Raises UnreadableError."""
    if len(data) > _LARGEST:
        raise UnreadableError(f"larger than {_LARGEST} bytes")
    table = _FORM.decode(data)
    sealing = table.text("sealing")
    if sealing not in {ENCRYPTED, PLAIN}:
        raise UnreadableError(f"there is no sealing {sealing!r}")
    return Format(hexadecimal(table.text("repository"), 16), sealing == ENCRYPTED, id_of(data))


def hexadecimal(text: str, size: int) -> bytes:
    """Return the *size* bytes that *text* has in lower-case hex.  Raises UnreadableError."""
    try:
        data = bytes.fromhex(text)
    except ValueError as error:
        raise UnreadableError("not hexadecimal") from error
    if data.hex() != text or len(data) != size:
        raise UnreadableError(f"not {size} bytes in hexadecimal")
    return data
