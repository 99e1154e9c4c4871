"""The parts of the URL of a store that may be shown: no passwords, no capabilities."""

from __future__ import annotations

import re

_CAPABILITY = re.compile(
    # each character may be written as a URL has it, %3A for a colon; %25 is a percent sign itself
    r"(?:U|%(?:25)*55)(?:R|%(?:25)*52)(?:I|%(?:25)*49)(?::|%(?:25)*3A)(?:[a-z0-9:+-]|%[0-9a-f]{2})+",
    re.IGNORECASE,
)
_PASSWORD = re.compile(
    # with a password up to the last @ of all, whatever is in it; a port is no password
    r"//(?:[^/?@]*:(?!\d+/)\S*|[^/]*)@"
)
_SHOWN = "(capability {})"
_DIGITS = 8


def shown_url(url: str) -> str:
    """Return *url* without a password, and with a digest in the place of a capability.

    A capability of Tahoe-LAFS is a key: it gives access to the files.  It has at least 128 random
    bits, so its digest reveals nothing about it.
    """
    return without_capabilities(_PASSWORD.sub("//...@", url))


def without_capabilities(text: str) -> str:
    """Return *text*, of any origin, with a digest in the place of each capability."""
    return _CAPABILITY.sub(lambda found: _SHOWN.format(_digest(found[0])), text)


def has_capability(url: str) -> bool:
    """Tell whether there is a capability in *url*."""
    return _CAPABILITY.search(url) is not None


def _digest(capability: str) -> str:
    import hashlib
    from urllib.parse import unquote

    while capability != (plain := unquote(capability)):
        capability = plain
    return hashlib.sha256(capability.encode()).hexdigest()[:_DIGITS]
