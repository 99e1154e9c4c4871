"""A real ZEO server for a site: a process of its own, and clients that commit through it.

It listens on a Unix socket, so that no other process can take its address while it is
being started again.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import ZODB
from ZEO.ClientStorage import ClientStorage

from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.scripts import PATIENCE, wait_until

CONFIGURATION = """
<zeo>
  address {address}
</zeo>
<filestorage 1>
  path {site.filestorage}
  blob-dir {site.blobstorage}
  pack-keep-old {keep_old}
</filestorage>
<eventlog>
  level info
  <logfile>
    path {log}
  </logfile>
</eventlog>
"""


class Zeo:
    """The ZEO server of *site*; without *keep_old* a pack removes what it took out."""

    def __init__(self, site: Site, *, keep_old: bool = True) -> None:
        self.site = site
        # a short path, for the name of a socket has no more than some 100 bytes
        self._directory = Path(tempfile.mkdtemp(prefix="zeo-"))
        self.address = str(self._directory / "socket")
        self._configuration = self._directory / "zeo.conf"
        self._log = self._directory / "log"
        self._output: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._configuration.write_text(
            CONFIGURATION.format(
                address=self.address,
                site=site,
                log=self._log,
                keep_old=str(keep_old).lower(),
            )
        )

    def __enter__(self) -> Zeo:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        shutil.rmtree(self._directory)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ZEO.runzeo", "-C", str(self._configuration)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        wait_until(self._is_answering, "the ZEO server does not answer")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop the server by a signal, and wait until it is gone."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None

    def restart(self, number: int = signal.SIGTERM) -> None:
        """Stop the server by a signal and start it again."""
        self.stop(number)
        self.start()

    def _is_answering(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the ZEO server ended: {self._log.read_text()}")
        with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
            connection.connect(self.address)
            return True
        return False

    @contextmanager
    def client(
        self, *, shared: bool = True, kept: Path | None = None, patience: float = PATIENCE
    ) -> Iterator[ZODB.DB]:
        """Give an open DB: with *shared* blobs as on the same machine, else as from afar.

        It keeps what it has read in the file *kept*, None: until it ends.  Raises
        ClientDisconnected if it has no connection after *patience* seconds.
        """
        cache = self.site.blobstorage if shared else Path(tempfile.mkdtemp(dir=self._directory))
        storage = ClientStorage(
            self.address,
            blob_dir=str(cache),
            shared_blob_dir=shared,
            cache=str(kept) if kept else None,
            wait_timeout=patience,
            server_sync=True,
        )
        db = ZODB.DB(storage)
        try:
            yield db
        finally:
            db.close()

    def pack(self, at: float | None = None) -> None:
        """Pack away what was no longer current at a time, by default the present one."""
        with self.client() as db:
            db.pack(at)
