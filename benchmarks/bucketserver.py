"""A server of S3 on this machine, for benchmarks: SeaweedFS, and a proxy that counts requests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from collective.recipe.backup.tests.servers import Proxy, end, keeper, proxied, start_weed

_VOLUMES = 400
"""Files in which the server keeps what it has: a bucket takes seven, and one for 64 MB."""


class Server:
    """The server at *port*, with a *proxy* before it that counts."""

    def __init__(self, port: int, proxy: Proxy) -> None:
        self.direct = f"http://127.0.0.1:{port}"
        self.counted = f"http://127.0.0.1:{proxy.port}"
        self._proxy = proxy
        self._client = keeper(port)

    def number(self) -> int:
        """Return how many requests went through the proxy since this was asked last."""
        number = len(self._proxy.asked)
        self._proxy.asked.clear()
        return number

    def make(self, bucket: str) -> None:
        """Make an empty *bucket*, in the place of one of that name."""
        with suppress(self._client.exceptions.NoSuchBucket):
            for key in self._keys(bucket):
                self._client.delete_object(Bucket=bucket, Key=key)
            self._client.delete_bucket(Bucket=bucket)
        self._client.create_bucket(Bucket=bucket)

    def copy(self, source: str, target: str) -> None:
        """Make the bucket *target* with all that *source* has."""
        self.make(target)
        for key in self._keys(source):
            there: dict[str, Any] = {"Bucket": source, "Key": key}
            self._client.copy_object(CopySource=there, Bucket=target, Key=key)

    def spoil(self, bucket: str) -> None:
        """Turn a bit of the largest object of a bucket."""
        key = max(self._listed(bucket), key=lambda each: int(each["Size"]))["Key"]
        data = bytearray(self._client.get_object(Bucket=bucket, Key=key)["Body"].read())
        data[len(data) // 2] ^= 1
        self._client.put_object(Bucket=bucket, Key=key, Body=bytes(data))

    def size(self, bucket: str) -> int:
        """Return the bytes of all that a bucket has."""
        return sum(each["Size"] for each in self._listed(bucket))

    def _keys(self, bucket: str) -> list[str]:
        return [each["Key"] for each in self._listed(bucket)]

    def _listed(self, bucket: str) -> list[dict[str, Any]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [each for page in pages for each in page.get("Contents", ())]


@contextmanager
def running(directory: Path) -> Iterator[Server]:
    """Run a server with its data in *directory*, which is made, during the body."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    started = start_weed(directory, volumes=_VOLUMES)
    try:
        with proxied(started.port) as proxy:
            yield Server(started.port, proxy)
    finally:
        end(started)
        shutil.rmtree(directory)
