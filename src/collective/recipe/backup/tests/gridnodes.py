"""A grid of Tahoe-LAFS on this machine, in one process: the environment of tahoe-lafs runs this.

::

    python gridnodes.py DIRECTORY WEBPORT INTRODUCER STORAGE STORAGE STORAGE

There are an introducer, three storage nodes and a client; all but the directory are ports of
127.0.0.1.  A file is whole with two of its three shares.  The file ``ready`` in the directory
says that all of them are connected.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from allmydata.client import create_client
from allmydata.introducer.server import create_introducer
from twisted.internet import defer, reactor, task

_NODE = """\
[node]
nickname = {name}
web.port = {web}
tub.port = tcp:{port}:interface=127.0.0.1
tub.location = tcp:127.0.0.1:{port}
"""
_CLIENT = """\
[node]
nickname = {name}
web.port = tcp:{web}:interface=127.0.0.1
tub.port = disabled
tub.location = disabled
[client]
shares.needed = 2
shares.happy = 2
shares.total = 3
[storage]
enabled = false
"""


def _made(directory, furl, config):
    """Make a node in *directory* that the introducer at *furl* (None: it is one) knows."""
    (directory / "private").mkdir(parents=True)
    (directory / "tahoe.cfg").write_text(config)
    if furl is not None:
        introducers = {"introducers": {"main": {"furl": furl}}}
        (directory / "private" / "introducers.yaml").write_text(yaml.safe_dump(introducers))
    return directory


@defer.inlineCallbacks
def _start(_reactor, base, web, introducer, *storage):
    base = Path(base)
    config = _NODE.format(name="introducer", web="", port=introducer)
    directory = _made(base / "introducer", None, config)
    node = yield create_introducer(str(directory))
    node.startService()
    furl = (directory / "private" / "introducer.furl").read_text().strip()
    for number, port in enumerate(storage):
        config = _NODE.format(name=f"storage{number}", web="", port=port)
        config += "[storage]\nenabled = true\nreserved_space = 0\n"
        node = yield create_client(str(_made(base / f"storage{number}", furl, config)))
        node.startService()
    config = _CLIENT.format(name="client", web=web)
    client = yield create_client(str(_made(base / "client", furl, config)))
    client.startService()
    broker = client.get_storage_broker()
    while len(broker.get_connected_servers()) < len(storage):
        yield task.deferLater(reactor, 0.05, lambda: None)
    (base / "ready").touch()
    yield defer.Deferred()  # until it is killed


if __name__ == "__main__":
    task.react(_start, sys.argv[1:])
