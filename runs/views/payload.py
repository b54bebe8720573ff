"""One payload: decoded to a tree that folds, each part with an address; as stored; or the bytes to keep."""

import hashlib
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from runs import lookup
from runs.catalogue import served
from runs.engines.base import Engine
from runs.errors import BadFilter, PayloadNotFound
from runs.payloads import decode
from runs.payloads.outline import Outline, outline
from runs.records import Body, Run
from runs.views.preferences import remember
from runs.wording import visible

PAGE_LINES = 3000
HEX_BYTES = 512


@dataclass(frozen=True, slots=True)
class Shown:
    """A payload ready to draw: an outline, or where nothing can be decoded the beginning of its bytes."""

    body: Body
    outline: Outline | None
    problem: str
    hex: str = ""
    sha256: str = ""


def show(body: Body, at: str = "", start: int = 0, lines: int = 0) -> Shown:
    """Decode and outline. Raises LookupError for a place that isn't there."""
    decoded = decode(body.payload.encoding, body.data, truncated=body.truncated)
    if decoded.tree is None:
        return Shown(body, None, decoded.problem, _hex(body.data), hashlib.sha256(body.data).hexdigest())
    found = outline(decoded.tree, at, start, lines) if lines else outline(decoded.tree, at, start)
    return Shown(body, found, decoded.problem)


def payload(request: HttpRequest, slug: str, segment: str, name: str) -> HttpResponse:
    """``GET /db/<slug>/runs/<id>/payloads/<name>/``; ``?raw`` gives the bytes as stored, ``?at=0.3`` a part."""
    database = served().database(slug)

    def read(engine: Engine) -> tuple[Run, Body]:
        run_id = lookup.run_id(engine, segment)
        return engine.run(run_id), engine.payload(run_id, name)

    run, body = database.read(read)
    if "raw" in request.GET:
        return _download(body, name)
    start = request.GET.get("from", "0")
    if not start.isdigit() or len(start) > 9:
        raise BadFilter(f"from={start[:20]!r} is not a whole number.")
    try:
        shown = show(body, request.GET.get("at", ""), int(start), PAGE_LINES)
    except LookupError:
        raise PayloadNotFound("It has no part at this place.", remedy="Go to its beginning.") from None
    context = {
        "here": "run",
        "slug": slug,
        "run": run,
        "name": name,
        "shown": shown,
        "at": request.GET.get("at", ""),
        "start": int(start),
        "stored": visible(body.data[:4000].decode("utf-8", "replace")) if request.GET.get("as") == "stored" else "",
    }
    response = render(request, "runs/payload.html", context)
    remember(request, response)
    return response


def _download(body: Body, name: str) -> HttpResponse:
    response = HttpResponse(body.data, content_type="application/octet-stream")
    response["Content-Disposition"] = f'attachment; filename="{name}.bin"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _hex(data: bytes) -> str:
    """``00000000  80 04 95 …  |...|`` a line for each 16 bytes of the beginning."""
    lines = []
    for offset in range(0, min(len(data), HEX_BYTES), 16):
        part = data[offset : offset + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{offset:08x}  {part.hex(' '):<47}  {text}")
    return "\n".join(lines)
