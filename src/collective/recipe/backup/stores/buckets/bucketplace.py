"""From a URL to a bucket, and to the clients of obstore that reach it.

::

    s3://BUCKET[/PREFIX][?endpoint=URL][&region=NAME][&profile=NAME][&class=NAME]
    gs://BUCKET[/PREFIX]
    az://CONTAINER[/PREFIX][?account=NAME]

A URL holds no credential.  obstore itself finds those in the environment, by web identity, and by
the metadata service of a machine of the provider; the files of AWS tools are read here (see
``awsprofile``).  The URL goes before the environment, and the environment before the files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.stores.buckets.awsprofile import AwsProfile, read_profile
from collective.recipe.backup.storeurls import shown_url

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = {"s3": ("endpoint", "region", "profile", "class"), "gs": (), "az": ("account",)}
"""By scheme of a URL, the settings that may follow its question mark."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,221}", re.ASCII)
_CLASS = re.compile(r"[A-Z][A-Z_]{1,40}", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Seconds to wait for a store."""

    connect: float = 20  # until a connection is made
    silent: float = 55  # without a byte of an answer, once all is sent that was asked for
    whole: float = 3600  # for a whole request: the largest object over a slow line
    retry: float = 180  # from the first failure on, as long as it fails for a moment
    pauses: tuple[float, float] = (0.2, 15)  # the first one, and the longest one


PATIENCE = Patience()


@dataclass(frozen=True, kw_only=True)
class BucketPlace:
    """A bucket, and how to reach it."""

    location: str  # its URL
    scheme: str  # one of SCHEMES
    bucket: str  # name of the bucket or the container
    prefix: str  # "": at the top of the bucket
    said: Mapping[str, str]  # what follows the question mark
    patience: Patience  # seconds to wait for answers

    @property
    def clock(self) -> str:
        """The URL of something whose answer tells the time of the store."""
        if self.scheme == "gs":
            return "https://storage.googleapis.com/"
        if self.scheme == "az":
            account = self.said.get("account") or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
            return f"https://{account}.blob.core.windows.net/"
        profile = self._profile()
        endpoint = self._endpoint(profile)
        return endpoint or f"https://s3.{self._region(profile) or 'us-east-1'}.amazonaws.com/"

    @property
    def bulk_class(self) -> str:
        """The class of storage of what little but restores reads; "": that of the bucket."""
        return self.said.get("class", "")

    def reading(self) -> ObjectStore:
        """Return a client for all but puts."""
        return self._client({"read_timeout": _seconds(self.patience.silent)})

    def writing(self) -> ObjectStore:
        """Return a client for puts: while bytes are on their way, no answer comes."""
        return self._client({})

    def _client(self, more: Mapping[str, timedelta]) -> ObjectStore:
        check_obstore()
        from obstore.store import AzureStore, GCSStore, S3Store

        first, longest = self.patience.pauses
        common: dict[str, Any] = {
            "prefix": self.prefix or None,
            "client_options": {
                "connect_timeout": _seconds(self.patience.connect),
                "timeout": _seconds(self.patience.whole),
                **more,
            },
            "retry_config": {
                "max_retries": 100,
                "retry_timeout": _seconds(self.patience.retry),
                "backoff": {"init_backoff": _seconds(first), "max_backoff": _seconds(longest)},
            },
        }
        if self.scheme == "gs":
            return GCSStore(self.bucket, **common)
        if self.scheme == "az":
            account = self.said.get("account")
            config: dict[str, Any] = {"account_name": account} if account else {}
            return AzureStore(self.bucket, **config, **common)
        config = self._of_s3()
        if config.get("endpoint", "").startswith("http:"):
            common["client_options"]["allow_http"] = True
        return S3Store(self.bucket, **config, **common)

    def for_botocore(self) -> dict[str, str | None]:
        """Return how botocore reaches it; it finds credentials in the usual places by itself."""
        profile = self._profile()
        return {
            "profile": self.said.get("profile"),
            "endpoint_url": self._endpoint(profile),
            "region_name": self._region(profile) or "us-east-1",
        }

    def _of_s3(self) -> dict[str, Any]:
        profile = self._profile()
        said = {"endpoint": self._endpoint(profile), "region": self._region(profile)}
        if profile.key and ("profile" in self.said or not os.environ.get("AWS_ACCESS_KEY_ID")):
            said["access_key_id"] = profile.key
            said["secret_access_key"] = profile.secret
            said["session_token"] = profile.token
        return {
            # a bucket with object lock wants one, and a single delete says that it is refused
            "checksum_algorithm": "SHA256",
            "disable_bulk_delete": True,
            **{key: value for key, value in said.items() if value},
        }

    def _profile(self) -> AwsProfile:
        return read_profile(self.said.get("profile"), os.environ)

    def _endpoint(self, profile: AwsProfile) -> str | None:
        variables = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
        return self.said.get("endpoint") or _of_environment(variables) or profile.endpoint

    def _region(self, profile: AwsProfile) -> str | None:
        variables = ("AWS_REGION", "AWS_DEFAULT_REGION")
        return self.said.get("region") or _of_environment(variables) or profile.region


def bucket_at(url: str) -> BucketPlace:
    """Return what *url*, of one of SCHEMES, means; nothing is looked at yet.

    Raises ConfigurationError, which does not show what may be a secret.
    """
    parts = urlsplit(url)
    scheme, bucket = parts.scheme.lower(), parts.netloc
    if "@" in bucket:
        raise _wrong("no credential may stand in the URL of a repository", url)
    if not _BUCKET.fullmatch(bucket):
        raise _wrong(f"{bucket!r} is no name of a bucket", url)
    prefix = unquote(parts.path).strip("/")
    if prefix and (not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/"))):
        raise _wrong("a prefix has letters, digits, dots, hyphens, underlines and slashes", url)
    said = dict(parse_qsl(parts.query, keep_blank_values=True))
    strange = sorted(said.keys() - set(SCHEMES[scheme]))
    if strange or parts.fragment:
        raise _wrong(f"unknown in such a URL: {', '.join(strange) or '#'}", url)
    endpoint = said.get("endpoint", "https://host")
    if not re.match(r"https?://[^/@]+/?$", endpoint):
        raise _wrong("an endpoint is http:// or https://, a host and perhaps a port", url)
    if not _CLASS.fullmatch(said.get("class", "STANDARD")):
        raise _wrong("a class of storage has capitals and underlines: GLACIER", url)
    return BucketPlace(
        location=url,
        scheme=scheme,
        bucket=bucket,
        prefix=prefix,
        said=said,
        patience=PATIENCE,
    )


def check_obstore() -> None:
    """Raise ConfigurationError if obstore is not installed."""
    if find_spec("obstore") is None:
        raise ConfigurationError(
            "a repository in a bucket needs a library that is not installed: obstore",
            hint="pip install 'collective.recipe.backup[s3]'; in a buildout: eggs = "
            "collective.recipe.backup[repository,s3] in this part",
        )


def _wrong(what: str, url: str) -> ConfigurationError:
    return ConfigurationError(
        what,
        where=shown_url(url.partition("?")[0]),
        hint="write s3://BUCKET/PREFIX?endpoint=https://HOST&region=NAME&profile=NAME, of which "
        "all but the bucket may be missing",
    )


def _of_environment(names: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _seconds(number: float) -> timedelta:
    return timedelta(seconds=number)
