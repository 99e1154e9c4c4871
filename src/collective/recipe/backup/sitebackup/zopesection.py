"""The section ``<restorepoint>`` of a zope.conf or zeo.conf: a storage out of the backups.

``component.xml`` of this distribution declares it; ``%import collective.recipe.backup`` loads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ZConfig

from collective.recipe.backup import times
from collective.recipe.backup.config import PART, STANDARD, Config, load
from collective.recipe.backup.destinations.configured import chosen
from collective.recipe.backup.errors import BackupError, ConfigurationError, UsageError
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import MAIN, Place, Source
from collective.recipe.backup.momentwords import understood
from collective.recipe.backup.operations.momentopening import OpenOrder, open_moment, usual_room
from collective.recipe.backup.operations.objects import storage_number
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.options import Options
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.sitebackup.configuring import configured, run_directory
from collective.recipe.backup.sitebackup.settings import gathered
from collective.recipe.backup.times import When

if TYPE_CHECKING:
    from collective.recipe.backup.served.momentstorage import MomentStorage

_OF_BUILDOUT = ".json"


class RestorePointSection:
    """The section as ZConfig knows it; ZODB and ZEO call ``open``."""

    def __init__(self, config: Any) -> None:
        """Take the *config* that ZConfig has read.

        Raises ConfigurationError of ZConfig, which programs show as a sentence: there is a mistake
        in the section, or in the file that it names.
        """
        self.config = config
        self.name = config.getSectionName()
        with self._told():
            self._asked()

    def open(self, database_name: str = "", databases: Any = None) -> MomentStorage:  # noqa: ARG002  as ZODB calls it
        """Return the storage.

        Raises ConfigurationError of ZConfig if it cannot be opened: no command is here to show
        an error of ours and its hint.
        """
        with self._told():
            run, number, order = self._asked()
            storage, _stamp = open_moment(run, run.destinations()[number], order)
            return storage

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Make an error of ours, with its hint and the name of the section, one of ZConfig."""
        try:
            yield
        except BackupError as error:
            which = " ".join(filter(None, ("restorepoint", self.name)))
            where = f": {error.where}" if error.where else ""
            hint = f" ({error.hint})" if error.hint else ""
            raise ZConfig.ConfigurationError(f"<{which}>: {error}{where}{hint}") from None

    def _asked(self) -> tuple[Run, int, OpenOrder]:
        """Return the run, the number of the requested storage, and the order."""
        asked = self.config
        if (asked.config is None) == (asked.location is None):
            raise ConfigurationError(
                "this section needs either config or location",
                hint="config is a file that says where the backups are, location their directory",
            )
        run = self._run()
        number = storage_number(run, asked.storage)
        room = Path(asked.cache_dir) if asked.cache_dir else usual_room()
        order = OpenOrder(
            cache=room, when=_when(asked.moment, asked.before, run.now), cache_size=asked.cache_size
        )
        return run, number, order

    def _run(self) -> Run:
        config, path = self._loaded()
        return Run(
            config=config,
            config_path=path,
            verb="open",
            destination=self.config.of,
            now=times.utcnow(),
            files=Files(),
            progress=Silent(),
            name=chosen(config, self.config.of, getattr(self.config, "from"), everywhere=False),
        )

    def _loaded(self) -> tuple[Config, Path]:
        """Return the configuration, and the file that it is of or would be."""
        if self.config.config is None:
            return _of_directories(self.config.location, self.config.blob_location)
        path = Path(self.config.config)
        if path.suffix == _OF_BUILDOUT:
            return load(path), path
        config = configured(gathered(path, (), os.environ)).config
        return config, run_directory(config) / "sitebackup"


def _of_directories(location: str, blob_location: str | None) -> tuple[Config, Path]:
    filestorage = Path(location).absolute()
    blobs = Path(blob_location).absolute() if blob_location else None
    live = filestorage / "blobstorage" if blobs else None
    source = Source(name=MAIN, filestorage=filestorage / "Data.fs", blobstorage=live)
    place = Place(name=MAIN, filestorage=filestorage, blobstorage=blobs)
    config = Config(
        part=PART,
        sources=(source,),
        destinations={STANDARD: (place,)},
        options=Options(),
    )
    return config, filestorage


def _when(moment: str | None, before: str | None, now: datetime) -> When | None:
    """Return the moment that is meant; None: the newest there is.  Raises UsageError."""
    if before is not None:
        if moment is not None:
            raise UsageError(
                "before and moment cannot be used together", hint="leave one of them out"
            )
        tid = times.parse(before)
        if isinstance(tid, datetime):
            raise UsageError(f"{before!r} is no transaction", hint="write its tid, 16 hex digits")
        return times.tid_before(tid)
    return understood(moment, now) if moment else None
