"""The keys of one repository, all made of its master key.

::

    master key           32 random bytes; "none": BLAKE3 in the mode of deriving keys, of the
                         id of the repository, with the context of PUBLIC
    SEALING, CHUNKS,     BLAKE3 in the mode of deriving keys, of the master key, with the
    SITES                context of that name
    key of an object     keyed BLAKE3 under SEALING, of what the object is (1 byte) and its salt
    key of a kind        keyed BLAKE3 under CHUNKS, of the kind (1 byte)
    id of a chunk        keyed BLAKE3 under the key of its kind, of its bytes
    tag of a site        keyed BLAKE3 under SITES, of the name of the site in UTF-8, 8 bytes of it

A context is ``collective.recipe.backup 2026 repository v1`` and a word, as below.
"""

from __future__ import annotations

import blake3

from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.sealing import Seal, Sort, about_object, seal

_CONTEXT = "collective.recipe.backup 2026 repository v1"
PUBLIC = f"{_CONTEXT} public"
SEALING = f"{_CONTEXT} sealing"
CHUNKS = f"{_CONTEXT} chunks"
SITES = f"{_CONTEXT} sites"

MASTER_SIZE = 32
REPOSITORY_ID_SIZE = 16


class Keyring:
    """Keys of the repository with the id *repository*, 16 bytes, and what is made with them.

    Several threads may use it.  If the repository is not *encrypted*, no secret is needed to make a
    Keyring.
    """

    def __init__(self, repository: bytes, master: bytes, *, encrypted: bool = True) -> None:
        self.repository = repository
        self.master = master
        self.encrypted = encrypted
        self._sealing = blake3.blake3(key=_derived(SEALING, master))
        self._chunks = blake3.blake3(key=_derived(CHUNKS, master))
        self._sites = blake3.blake3(key=_derived(SITES, master))
        self._kinds: dict[int, blake3.blake3] = {}
        self._about = {sort: about_object(repository, sort) for sort in Sort}

    def chunk_id(self, kind: int, data: bytes | memoryview) -> ChunkId:
        """Return the id of the chunk of this *kind* with these bytes."""
        hasher = self._kinds.get(kind)
        if hasher is None:
            key = _keyed(self._chunks, bytes([kind]))
            hasher = self._kinds[kind] = blake3.blake3(key=key)
        return ChunkId(_keyed(hasher, data))

    def seal(self, sort: Sort, salt: bytes) -> Seal:
        """Return the Seal of the object of this *sort* with this *salt*."""
        key = _keyed(self._sealing, bytes([sort]) + salt)
        return seal(key, self._about[sort], encrypted=self.encrypted)

    def site_tag(self, site: str) -> str:
        """Return the 16 hex digits that stand for *site* in the names of its restore points."""
        return _keyed(self._sites, site.encode("utf-8", "surrogateescape"))[:8].hex()


def public(repository: bytes) -> Keyring:
    """Return the keyring of a repository that is not encrypted."""
    return Keyring(repository, _derived(PUBLIC, repository), encrypted=False)


def _derived(context: str, material: bytes) -> bytes:
    return blake3.blake3(material, derive_key_context=context).digest()


def _keyed(hasher: blake3.blake3, data: bytes | memoryview) -> bytes:
    # a copy of a hasher costs a quarter of a new one with a key
    mine = hasher.copy()
    mine.update(data)
    return mine.digest()
