"""From a URL to a directory on a server: ``sftp://[USER@]HOST[:PORT]/PATH``.

``~/.ssh/config`` completes the URL. Keys come from there, from the agent, or from the usual files;
the program never asks for a password.
"""

from __future__ import annotations

from importlib.util import find_spec
from urllib.parse import unquote, urlsplit

from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.storeurls import shown_url


@dataclass(frozen=True, kw_only=True)
class SftpPlace:
    """A directory on a server."""

    location: str  # its URL
    host: str  # or its alias in ~/.ssh/config
    port: int | None  # None: as ~/.ssh/config has it, or 22
    user: str | None  # None: as ~/.ssh/config has it, or the one who runs this
    root: str  # absolute, or relative to the home of the user on the server


def directory_at(url: str) -> SftpPlace:
    """Return what *url* means; nothing is looked at yet.

    ``/~/`` before a path means the home of the user there.  Raises ConfigurationError, which
    shows no password.
    """
    parts = urlsplit(url)
    if parts.password is not None:
        raise _wrong("no password may stand in the URL of a repository", url)
    try:
        port = parts.port
    except ValueError:
        raise _wrong("the port is no number from 1 to 65535", url) from None
    path = unquote(parts.path).rstrip("/")
    if not parts.hostname or not path or "\0" in path or ".." in path.split("/"):
        raise _wrong("there is no host, or no path on it", url)
    if parts.query or parts.fragment:
        raise _wrong("an sftp: URL has nothing after its path", url)
    return SftpPlace(
        location=url,
        host=parts.hostname,
        port=port,
        user=unquote(parts.username) if parts.username else None,
        root=path.removeprefix("/~/"),
    )


def check_asyncssh() -> None:
    """Raise ConfigurationError if asyncssh is not installed."""
    if find_spec("asyncssh") is None:
        raise ConfigurationError(
            "a repository by SFTP needs a library that is not installed: asyncssh",
            hint="pip install 'collective.recipe.backup[sftp]'; in a buildout: eggs = "
            "collective.recipe.backup[repository,sftp] in this part",
        )


def _wrong(what: str, url: str) -> ConfigurationError:
    return ConfigurationError(what, where=shown_url(url), hint="write sftp://USER@HOST:PORT/PATH")
