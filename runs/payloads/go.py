"""Texts that DBOS for Go writes: base64 of JSON or of gob, ``__DBOS_NIL``, and errors in forms of their own.

An error is plain text, or base64 of a gob with a DBOSError, whatever serializer the row names (observed in files of
dbos-transact-golang 1.8.0); so each reader tries what it is told first, then the other, and takes plain text for
what it is.
"""

import base64
import binascii
import re
from typing import Final

from runs.payloads import gob, jsontext
from runs.payloads.tree import Decoded, Scalar

NIL: Final = "__DBOS_NIL"
BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}\s*")


def octets(text: str, *, truncated: bool = False) -> bytes | None:
    """The bytes of a base64 text, or None if it is none. Of a text that was cut, as many as are whole."""
    if not BASE64.fullmatch(text):
        return None
    text = text.strip()
    if truncated:
        text = text.rstrip("=")
        text = text[: len(text) // 4 * 4]
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


def read(text: str, *, prefer_gob: bool, truncated: bool = False) -> Decoded:
    """The tree of a text recorded as DBOS_GOB or DBOS_JSON."""
    if text == NIL:
        return Decoded(Scalar(None))
    data = octets(text, truncated=truncated)
    if not data:
        # Go writes plain errors as they are; and the empty text as "no error".
        return Decoded(Scalar(text), "the rest was not read" if truncated else "")
    first, second = (_gob, _json) if prefer_gob else (_json, _gob)
    decoded = first(data, truncated)
    if decoded.problem:
        other = second(data, truncated)
        if not other.problem or (decoded.tree is None and other.tree is not None):
            return other
    if decoded.problem and len(data) < 12 and not truncated:
        return Decoded(Scalar(text))  # a word like "boom" is base64 too
    return decoded


def _gob(data: bytes, truncated: bool) -> Decoded:
    return gob.read(data, truncated=truncated)


def _json(data: bytes, truncated: bool) -> Decoded:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        if not truncated:
            return Decoded(None, "not JSON: not UTF-8")
        text = data.decode("utf-8", "ignore")  # the cut may lie inside a character
    return jsontext.parse(text, truncated=truncated)
