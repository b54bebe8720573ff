"""Values of serializers that nobody here knows: a guess that shows as much as can be shown, and says that it is one."""

from runs.payloads import go, jsontext
from runs.payloads.tree import Bytes, Decoded, Scalar


def read(data: bytes, name: str, *, truncated: bool = False) -> Decoded:
    """JSON if it parses, text in base64 as what it holds, else text, else bytes. The problem is empty only for JSON."""
    try:
        text = data.decode("utf-8", "ignore" if truncated else "strict")
    except UnicodeDecodeError:
        return Decoded(Bytes(data), f"the serializer {name} is not known: shown as bytes")
    as_json = jsontext.parse(text, truncated=truncated)
    if not as_json.problem or (as_json.tree is not None and not as_json.problem.startswith("not JSON")):
        return as_json
    inner = go.octets(text, truncated=truncated) if len(text) >= 16 else None
    if inner:
        try:
            return Decoded(
                Scalar(inner.decode("utf-8"), "base64 text"),
                f"the serializer {name} is not known: shown as text in base64",
            )
        except UnicodeDecodeError:
            return Decoded(
                Bytes(inner, "base64 bytes"), f"the serializer {name} is not known: shown as bytes in base64"
            )
    return Decoded(Scalar(text), f"the serializer {name} is not known: shown as text")
