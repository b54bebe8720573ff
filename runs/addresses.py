"""Run ids in addresses: the only encoder and decoder.

A WSGI server decodes ``%2F`` before routing, clients fold ``..``, and a newline matches no path. So an id is written with
``[A-Za-z0-9_-]`` as they are and every other byte of its UTF-8 form as ``~xx``: ``wf/42`` is ``wf~2f42``. An id whose written form
passes 1,500 characters is addressed by its SHA-256: ``~~`` and 64 hex digits.
"""

import hashlib
import re

MAX_ENCODED = 1500
PATTERN = "[A-Za-z0-9_~-]+"
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_SIMPLE = re.compile(r"[A-Za-z0-9_-]{1,1500}", re.ASCII)
_DIGEST = re.compile(r"~~[0-9a-f]{64}")
_ENCODED = re.compile(r"(?:[A-Za-z0-9_-]|~[0-9a-f]{2})+")
EMPTY = "~~"


def encode(text: str) -> str:
    """The text as one segment of an address. Never longer than 1,500 characters, never empty."""
    if not text:
        return EMPTY
    if _SIMPLE.fullmatch(text):
        return text
    data = text.encode("utf-8", "surrogatepass")
    written = "".join(chr(byte) if byte in _PLAIN else f"~{byte:02x}" for byte in data)
    return written if len(written) <= MAX_ENCODED else f"~~{hashlib.sha256(data).hexdigest()}"


def decode(segment: str) -> str:
    """The text of a segment that ``encode`` wrote in full. Raises ValueError for anything else, digests included."""
    if segment == EMPTY:
        return ""
    if not _ENCODED.fullmatch(segment):
        raise ValueError(f"not an encoded id: {segment[:80]!r}")
    data = re.sub(r"~([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), segment).encode("latin-1")
    text = data.decode("utf-8", "surrogatepass")
    if encode(text) != segment:
        raise ValueError(f"not the way this id is written: {segment[:80]!r}")
    return text


def is_digest(segment: str) -> bool:
    """Whether the segment names a long id by its SHA-256."""
    return _DIGEST.fullmatch(segment) is not None
