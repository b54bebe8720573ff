"""Pictures in payloads, told by their first bytes: PNG, JPEG, GIF and WebP. Never SVG, which is a document that can act."""

import re
from typing import Final

from runs.payloads import go
from runs.payloads.tree import Bytes, Node, Scalar

HEAD: Final = 16  # bytes that tell
_DATA_ADDRESS: Final = re.compile(r"data:image/[a-z]{3,5};base64,")
NAMES: Final = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WebP"}


def kind_of(head: bytes) -> str:
    """The media type of bytes that begin like this; empty where it is none of the four."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return ""


def picture(node: Node) -> str:
    """The media type of a node that holds a picture, judged by its beginning; else empty."""
    return kind_of(_octets(node, HEAD))


def picture_bytes(node: Node) -> tuple[str, bytes]:
    """The media type and the whole bytes of a picture. Raises LookupError where the node holds none."""
    data = _octets(node, None)
    if not (kind := kind_of(data)):
        raise LookupError("no picture")
    return kind, data


def _octets(node: Node, count: int | None) -> bytes:
    """Bytes; text in base64, with or without ``data:image/png;base64,``; text of which each character is a byte."""
    if isinstance(node, Bytes):
        return node.data[:count]
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        return b""
    text = node.value[: count and 4 * count]
    if start := _DATA_ADDRESS.match(text):
        text = text[start.end() :]
    try:
        if kind_of(head := text[:HEAD].encode("latin-1")):
            return head if count else text.encode("latin-1")
    except UnicodeEncodeError:
        return b""
    # Groups of four characters; in the beginning of a longer text the last may be cut.
    text = text.rstrip() if count is None else text[: len(text) // 4 * 4]
    return go.octets(text, truncated=count is not None) or b""
