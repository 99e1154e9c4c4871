"""The site: a Data.fs with a catalog and years of small commits, and blobs.

``python -m benchmarks.site DIRECTORY MEGABYTES BLOBS`` makes ``var/`` in the directory as it
was yesterday, then a day of work, then what a pack leaves of it; see states.py.  It is the
same each time: random numbers come from a seed, and commits get their moments from here.
"""

from __future__ import annotations

import itertools
import random
import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import transaction
import ZODB
import ZODB.FileStorage.FileStorage
from BTrees.IIBTree import IITreeSet
from BTrees.IOBTree import IOBTree
from BTrees.OIBTree import OIBTree
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob
from ZODB.Connection import Connection
from ZODB.serialize import referencesf

from benchmarks.states import DAY, FOLDERS_FROM, PACKED, YESTERDAY, States
from collective.recipe.backup.tests.samples import FileStorage

FOUNDED = datetime(2021, 1, 1, tzinfo=timezone.utc)
YEARS = timedelta(days=5 * 365)
PACK_KEEPS = timedelta(days=365)

DOCUMENTS_PER_MEGABYTE = 88
INDEXED, INDEXED_AGAIN = 50, 3
"""Words of a document that the index has, and those that a change adds to it."""
EDITED = 3
"""Documents that one of the small commits changes."""
BLOB_SIZE = 50_000
SHARE_OF_A_DAY = 0.03
"""Of the documents: with their places in the catalog that is 1 % of all objects."""
BLOBS_OF_A_DAY = 0.005


class Texts:
    """Words as they are in a language: few of them often, most of them rarely."""

    def __init__(self, chance: random.Random) -> None:
        syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er")]
        self.words = [
            "".join(chance.choices(syllables, k=chance.randint(1, 4))) for _number in range(20_000)
        ]
        weights = [1 / rank for rank in range(10, len(self.words) + 10)]
        self._pool = chance.choices(range(len(self.words)), weights, k=3_000_000)
        self._chance = chance

    def text(self, size: int) -> Sequence[int]:
        """Return the numbers of *size* words."""
        start = self._chance.randrange(len(self._pool) - size)
        return self._pool[start : start + size]

    def written(self, numbers: Sequence[int]) -> str:
        """Return words as a text."""
        return " ".join([self.words[number] for number in numbers])


class Application:
    """Documents and a catalog, in the database of *connection*."""

    def __init__(self, connection: Connection, chance: random.Random) -> None:
        self.root = connection.root()
        self._chance = chance
        self._texts = Texts(chance)
        self._bytes = chance.randbytes(1 << 25)

    def found(self) -> None:
        """Make what there is before the first document."""
        self.root["documents"] = IOBTree()
        self.root["words"] = OOBTree()
        self.root["uids"] = OIBTree()
        self.root["metadata"] = IOBTree()
        self.root["modified"] = OOBTree()
        self.root["owners"] = OOBTree()

    def arrange(self) -> None:
        """Make a folder of 1,000 items, and one of 100 items with a blob each."""
        self.root["folder"] = OOBTree(
            {f"item-{at:04}": PersistentMapping(title=f"Item {at}") for at in range(1000)}
        )
        self.root["album"] = OOBTree(
            {
                f"picture-{at:03}": PersistentMapping(
                    filename=f"{at}.png", image=Blob(self._bytes[at << 16 :][:BLOB_SIZE])
                )
                for at in range(100)
            }
        )

    def add(self, number: int, *, blob: bool) -> Sequence[int]:
        """Add a document, not yet to the index of words; return its words."""
        words = self._texts.text(self._chance.randint(100, 450))
        document = PersistentMapping(
            id=f"document-{number}",
            title=self._texts.written(words[:6]).title(),
            text=self._texts.written(words),
            creators=("editor",),
            notes=PersistentMapping(uid=self._uid(), keywords=list(words[:4]), state="private"),
        )
        if blob:
            document["image"] = self._blob()
        self.root["documents"][number] = document
        self.catalog(number, document)
        return words

    def catalog(self, number: int, document: PersistentMapping) -> None:
        """Put a document where the catalog looks for it."""
        self.root["uids"][document["notes"]["uid"]] = number
        self.root["metadata"][number] = (document["id"], document["title"], document["creators"])
        self.root["modified"][f"{self._chance.random():.12f}"] = number

    def index(self, words: dict[int, list[int]]) -> None:
        """Add to the index of words: the numbers of the documents that have each."""
        for word, numbers in words.items():
            name = self._texts.words[word]
            if name in self.root["words"]:
                self.root["words"][name].update(numbers)
            else:
                self.root["words"][name] = IITreeSet(numbers)

    def edit(self, number: int) -> None:
        """Change a document and what the catalog knows of it."""
        document = self.root["documents"][number]
        words = self._texts.text(self._chance.randint(100, 450))
        document["text"] = self._texts.written(words)
        document["title"] = self._texts.written(words[:6]).title()
        self.catalog(number, document)
        self.index({word: [number] for word in words[:INDEXED_AGAIN]})

    def illustrate(self, number: int) -> None:
        """Give a document a new image."""
        self.root["documents"][number]["image"] = self._blob()

    def _blob(self) -> Blob:
        size = min(int(self._chance.lognormvariate(0, 1.2) * BLOB_SIZE / 2.05), 1 << 24)
        start = self._chance.randrange(len(self._bytes) - size)
        return Blob(self._bytes[start : start + size])

    def _uid(self) -> str:
        return self._chance.randbytes(16).hex()


class Builder:
    """Makes the site in *states*, with *megabytes* of Data.fs and so many *blobs*."""

    def __init__(self, states: States, megabytes: int, blobs: int) -> None:
        self._states = states
        self._size = megabytes * 1_000_000
        self._blobs = blobs
        self._documents = megabytes * DOCUMENTS_PER_MEGABYTE
        self._chance = random.Random(7)
        self._now = FOUNDED

    def build(self) -> None:
        """Make all three states."""
        states = self._states
        states.filestorage.parent.mkdir(parents=True)
        storage = FileStorage(str(states.filestorage), blob_dir=str(states.blobstorage))
        self._populate(storage)
        states.keep(YESTERDAY)
        storage = FileStorage(str(states.filestorage), blob_dir=str(states.blobstorage))
        self._work_for_a_day(storage)
        states.keep(DAY)
        states.twin(PACKED)
        storage = FileStorage(
            str(states.filestorage), blob_dir=str(states.blobstorage), pack_keep_old=False
        )
        storage.pack((FOUNDED + YEARS - PACK_KEEPS).timestamp(), referencesf)
        storage.close()
        states.keep(PACKED)

    def _populate(self, storage: FileStorage) -> None:
        storage.moment = FOUNDED
        db = ZODB.DB(storage, cache_size=1_000_000, large_record_size=1 << 26)
        connection = db.open()
        application = Application(connection, self._chance)
        application.found()
        if self._blobs >= FOLDERS_FROM:
            application.arrange()
        self._import(storage, connection, application)
        end = FOUNDED + YEARS - timedelta(days=1)
        # a guess of how much a commit adds; the moments need not be exact
        step = (end - self._now) / max(1, (self._size - storage.getSize()) // 14_000)
        while storage.getSize() < self._size:
            self._now = min(end, self._now + step)
            storage.moment = self._now
            self._some_work(application)
            transaction.commit()
        connection.close()
        db.close()

    def _import(
        self, storage: FileStorage, connection: Connection, application: Application
    ) -> None:
        """Add all documents, then the index of their words."""
        words: dict[int, list[int]] = {}
        illustrated = _spread(self._blobs, self._documents)
        for number in range(self._documents):
            added = application.add(number, blob=next(illustrated))
            for word in dict.fromkeys(added[:INDEXED]):
                words.setdefault(word, []).append(number)
            if number % 500 == 499:
                self._now += timedelta(minutes=1)
                storage.moment = self._now
                transaction.commit()
                connection.cacheMinimize()
        for batch in _batches(sorted(words), 500):
            application.index({word: words[word] for word in batch})
            self._now += timedelta(minutes=1)
            storage.moment = self._now
            transaction.commit()
            connection.cacheMinimize()

    def _some_work(self, application: Application) -> None:
        for _number in range(EDITED):
            application.edit(self._chance.randrange(self._documents))

    def _work_for_a_day(self, storage: FileStorage) -> None:
        db = ZODB.DB(storage, cache_size=1_000_000, large_record_size=1 << 26)
        connection = db.open()
        application = Application(connection, self._chance)
        self._now = FOUNDED + YEARS - timedelta(hours=23)
        edited = int(self._documents * SHARE_OF_A_DAY)
        illustrated = _spread(int(self._blobs * BLOBS_OF_A_DAY), edited)
        for batch in _batches(range(edited), 10):
            self._now += timedelta(hours=22) / max(1, edited // 10 + 1)
            storage.moment = self._now
            for _number in batch:
                number = self._chance.randrange(self._documents)
                application.edit(number)
                if next(illustrated):
                    application.illustrate(number)
            transaction.commit()
        connection.close()
        db.close()


def _spread(chosen: int, total: int) -> Iterator[bool]:
    """Yield True *chosen* times in *total*, evenly."""
    for number in range(total):
        yield (number + 1) * chosen // total > number * chosen // total


def _batches(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in itertools.count(0, size):
        batch = items[start : start + size]
        if not batch:
            return
        yield batch


def main(directory: str, megabytes: str, blobs: str) -> None:
    """Build the site, or nothing of it."""
    # nobody will cut the power of a sample
    ZODB.FileStorage.FileStorage.fsync = None
    target = Path(directory)
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    Builder(States(partial), int(megabytes), int(blobs)).build()
    partial.rename(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
