"""Servers of stores on this machine, for tests: SeaweedFS, and what breaks on the way to it.

A server is one for all processes of a test run: the first that needs it starts it, and the
last that needed it ends it, by its process id.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import pytest

WEED = Path(sys.executable).parent / "weed"
BUCKET = "bucket"
KEY = "THE-KEY"
KEEPER = "THE-KEEPER"
SECRET = "VERY-SECRET-INDEED"
_IDENTITIES = {
    "identities": [
        {
            "name": "site",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Read", "Write", "List"],
        },
        {
            "name": "reader",
            "credentials": [{"accessKey": "READER", "secretKey": SECRET}],
            "actions": ["Read", "List"],
        },
        {
            "name": "keeper",
            "credentials": [{"accessKey": KEEPER, "secretKey": SECRET}],
            "actions": ["Admin"],
        },
        # so that the bucket can be made without a signature
        {"name": "anonymous", "actions": [f"Admin:{BUCKET}"]},
    ]
}

_children: dict[int, subprocess.Popen[bytes]] = {}
"""What this process started, by its id."""


class Started(NamedTuple):
    """A server that was started."""

    process: int
    port: int
    leaves: list[str]  # files elsewhere that it leaves when it is ended
    directory: str  # what it has to itself


@contextmanager
def one_for_all(
    factory: pytest.TempPathFactory, name: str, start: Callable[[Path], Started]
) -> Iterator[Started]:
    """Yield what *start* returned, which is called once for all processes of this test run."""
    base = factory.getbasetemp()
    # with xdist each worker has a directory of its own below the one of the run
    base = base.parent if base.name.startswith("popen-") else base
    directory = base / f"server-{name}"
    directory.mkdir(exist_ok=True)
    state = directory / "state.json"
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if state.exists():
            users, started = json.loads(state.read_text())
        else:
            # one that was ended has left its files: each has a directory of its own
            users, started = 0, start(Path(mkdtemp(dir=directory)))
        state.write_text(json.dumps([users + 1, started]))
        fcntl.flock(lock, fcntl.LOCK_UN)
        try:
            yield Started(*started)
        finally:
            fcntl.flock(lock, fcntl.LOCK_EX)
            users, _started = json.loads(state.read_text())
            state.write_text(json.dumps([users - 1, started]))
            if users == 1:
                state.unlink()
                end(Started(*started))


def started(process: subprocess.Popen[bytes], port: int, directory: Path) -> Started:
    """Return a server that this process has started, and that leaves nothing elsewhere."""
    _children[process.pid] = process
    return Started(process.pid, port, [], str(directory))


def is_server(process: int) -> bool:
    """Tell whether this process has started a server of that id, which other tests use as well."""
    return process in _children


def end(started: Started) -> None:
    """End a server that this run started, and wait until it is gone."""
    child = _children.pop(started.process, None)
    if child is not None:
        child.kill()
        child.wait()
    else:  # another process of this run started it
        with suppress(ProcessLookupError):
            os.kill(started.process, signal.SIGKILL)
    for path in started.leaves:
        Path(path).unlink(missing_ok=True)


def start_weed(directory: Path, *, volumes: int = 50) -> Started:
    """Start SeaweedFS with BUCKET; its port is the one where it speaks S3.

    It keeps objects in so many *volumes* of 64 MB at most.
    """
    ports = master, volume, filer, s3 = free_ports(4)
    kinds = ("master", "volume", "filer", "s3")
    sockets = [
        f"/tmp/seaweedfs-{kind}-grpc-{port + 10000}.sock"
        for kind, port in zip(kinds, ports, strict=True)
    ]
    config = directory / "identities.json"
    config.write_text(json.dumps(_IDENTITIES))
    (directory / "data").mkdir()
    arguments = {
        "dir": directory / "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.port": master,
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 64,
        "volume.port": volume,
        "volume.max": volumes,
        "filer.port": filer,
        "filer.localSocket": directory / "filer.sock",
        "s3.port": s3,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.config": config,
        "s3.autoCreateBucket": "false",
        "s3.localSocket": directory / "s3.sock",
    }
    options = [f"-{name}={value}" for name, value in arguments.items()]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [WEED, f"-logdir={directory}", "server", "-s3", *options],
            stdout=log,
            stderr=log,
            cwd=directory,
        )
    _children[process.pid] = process
    started = Started(process.pid, s3, sockets, str(directory))
    for _attempt in range(600):
        with suppress(OSError, http.client.HTTPException):
            if _asked(s3, "PUT", f"/{BUCKET}") in {200, 409}:
                return started
        if process.poll() is not None:
            break
        time.sleep(0.1)
    end(started)
    raise AssertionError(f"SeaweedFS did not start:\n{(directory / 'log').read_text()[-2000:]}")


def keeper(port: int) -> Any:
    """Return a client of whoever runs the server at *port*: one that may do all."""
    import botocore.session
    from botocore.config import Config

    return botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=KEEPER,
        aws_secret_access_key=SECRET,
        config=Config(s3={"addressing_style": "path"}),
    )


def keeping_bucket(port: int, mode: str) -> str:
    """Return a bucket that keeps versions, with a lock in this *mode* ("": none)."""
    client, name = keeper(port), f"kept-{mode.lower() or 'unlocked'}"
    with suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=bool(mode))
    if mode:
        rule = {"DefaultRetention": {"Mode": mode, "Days": 1}}
        lock = {"ObjectLockEnabled": "Enabled", "Rule": rule}
        client.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=lock)
    else:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def _asked(port: int, method: str, path: str) -> int:
    """Return the status of the answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path)
        with connection.getresponse() as found:
            found.read()
            return found.status


def free_ports(number: int) -> list[int]:
    """Return ports that are free, below those that systems give out, as are those above by 10000.

    SeaweedFS uses these too.
    """
    found: list[int] = []
    while len(found) < number:
        port = random.SystemRandom().randrange(12000, 22000)
        if port not in found and _is_free(port) and _is_free(port + 10000):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def answer(status: int, code: str) -> bytes:
    """Return what S3 says where it refuses."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>No.</Message></Error>".encode()
    head = f"HTTP/1.1 {status} No\r\nContent-Type: application/xml\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


class Proxy(ThreadingHTTPServer):
    """A proxy on the way to the server at *port*, which breaks what *fault* says.

    *fault* is asked with the method, the path and the number of each request, from 1.  It says
    "reset" (the request is not passed on), "lost" (it is, but its answer never comes), "cut" (the
    answer breaks off in the middle), "endless" (the answer goes on for ever), bytes that are the
    answer, or None.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.target = port
        self.port = self.server_address[1]
        self.fault: Callable[[str, str, int], str | bytes | None] = lambda *_request: None
        self.asked: list[tuple[str, str]] = []
        self.counting = threading.Lock()

    def handle_error(self, *_about: object) -> None:
        """Say nothing: connections break here."""


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a body waits 40 ms for its head to be acknowledged
    server: Proxy

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.counting:
            self.server.asked.append((self.command, self.path))
            number = len(self.server.asked)
        fault = self.server.fault(self.command, self.path, number)
        if fault == "reset":
            return self._reset()
        if isinstance(fault, bytes):
            self.close_connection = True
            self.wfile.write(fault)
            return None
        if fault == "endless":
            return self._go_on()
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.target)) as connection:
            # with the name of the host that was signed
            connection.request(self.command, self.path, body, dict(self.headers))
            found = connection.getresponse()
            data = found.read()
        return self._reset() if fault == "lost" else self._answer(found, data, fault)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = _pass

    def _answer(
        self, found: http.client.HTTPResponse, data: bytes, fault: str | bytes | None
    ) -> None:
        self.send_response_only(found.status)
        for name, value in found.getheaders():
            if name.lower() not in {"transfer-encoding", "connection"}:
                self.send_header(name, value)
        if found.getheader("Content-Length") is None:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if fault == "cut":
            self.wfile.write(data[: len(data) // 2])
            return self._reset()
        self.wfile.write(data)
        return None

    def _go_on(self) -> None:
        """Answer until the other side closes the connection."""
        self.close_connection = True
        size = 1 << 40
        self.wfile.write(
            b"HTTP/1.1 200 OK\r\nLast-Modified: Sun, 1 Mar 2026 00:00:00 GMT\r\n"
            b'ETag: "x"\r\nContent-Length: %d\r\n\r\n' % size
        )
        with suppress(OSError):
            while True:
                self.wfile.write(bytes(1 << 16))

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, *_about: object) -> None:
        """Say nothing."""


SSHD = "/usr/sbin/sshd"
ADDS_ALONE = "internal-sftp -P remove,rmdir,rename,posix-rename,setstat,fsetstat,lsetstat"
"""The command of a key that may neither remove, replace nor change what is there."""


def start_sshd(directory: Path) -> Started:
    """Start OpenSSH's server for two keys of ours, ``site`` and ``adder``."""
    import asyncssh

    [port] = free_ports(1)
    for name in ("host", "site", "adder"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(directory / name)
        key.write_public_key(directory / f"{name}.pub")
        (directory / name).chmod(0o600)
    adder = f'command="{ADDS_ALONE}",restrict {(directory / "adder.pub").read_text()}'
    (directory / "authorized").write_text((directory / "site.pub").read_text() + adder)
    config = directory / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nPidFile none\n"
        f"AuthorizedKeysFile {directory}/authorized\nStrictModes no\nUsePAM no\n"
        "PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "Subsystem sftp internal-sftp\n"
    )
    if os.getuid() == 0:  # where it leaves its rights behind, as its service makes it
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stdout=log, stderr=log)
    server = started(process, port, directory)
    for _attempt in range(200):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
            return server
        if process.poll() is not None:
            break
        time.sleep(0.05)
    end(server)
    raise AssertionError(f"sshd did not start:\n{(directory / 'log').read_text()[-2000:]}")


@contextmanager
def proxied(port: int) -> Iterator[Proxy]:
    """Yield a proxy on the way to the server at *port*."""
    with Proxy(port) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
