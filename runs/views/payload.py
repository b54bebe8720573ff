"""One payload: decoded to a tree that folds, each part with an address; as stored; or the bytes to keep."""

import hashlib
import json
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from runs import lookup
from runs.catalogue import served
from runs.engines.base import Engine
from runs.errors import BadFilter, PayloadNotFound
from runs.payloads import Bytes, Decoded, Node, decode, to_json
from runs.payloads.finding import Findings, Hit, find
from runs.payloads.outline import HEAD, OCTETS, Outline, outline, part
from runs.payloads.pictures import NAMES, picture_bytes
from runs.payloads.places import walk
from runs.payloads.stored import PREVIEW, Slice, hex_lines, hex_slice, text_slice
from runs.records import Body, Run
from runs.views.answers import page
from runs.views.preferences import preferences

PAGE_LINES = 2000
FORMS = ("", "stored", "hex", "json", "picture", "image")
BEFORE = 200  # characters before a found text, where a long text is shown from there on
# A picture is somebody else's bytes: whatever they are, they may not act or load anything.
PICTURE_POLICY = "default-src 'none'; sandbox"


@dataclass(frozen=True, slots=True)
class Shown:
    """A payload ready to draw: an outline, or where nothing can be decoded the beginning of its bytes."""

    body: Body
    outline: Outline | None
    problem: str
    hex: str = ""
    sha256: str = ""

    @property
    def partial(self) -> bool:
        """Whether what is drawn is not all that is stored."""
        whole = not self.problem or ": shown as " in self.problem
        return self.outline is not None and (self.body.truncated or not whole)


@dataclass(frozen=True, slots=True)
class Place:
    """A hit and the address, within the payload's page, of a view that shows it."""

    hit: Hit
    address: str


def show(body: Body, at: str = "", start: int = 0, lines: int = 0) -> Shown:
    """Decode and outline. Raises LookupError for a place that isn't there."""
    decoded = decode(body.payload.encoding, body.data, truncated=body.truncated)
    if decoded.tree is None:
        return _undecoded(body, decoded)
    drawn = outline(decoded.tree, at, start, lines) if lines else outline(decoded.tree, at, start)
    return Shown(body, drawn, decoded.problem)


def payload(request: HttpRequest, slug: str, segment: str, name: str) -> HttpResponse:
    """``GET /db/<slug>/runs/<id>/payloads/<name>/``.

    ``?raw`` gives the bytes as stored; ``?at=0.3`` a part, ``&from=100`` from its 100th child or character on; ``?find=text``
    searches; ``?as=stored`` and ``?as=hex`` show the bytes, ``?as=json`` answers a part as JSON, ``?as=picture`` is a page with
    the picture that ``?as=image`` answers. As a fragment for htmx, ``at`` and ``from`` give the lines that go in their place.
    """
    at, start, form = request.GET.get("at", ""), _start(request), request.GET.get("as", "")
    if form not in FORMS:
        raise BadFilter(f"as={form[:20]!r} is not one of {', '.join(FORMS[1:])}.")
    database = served().database(slug)

    def read(engine: Engine) -> tuple[Run, Body]:
        run_id = lookup.run_id(engine, segment)
        return engine.run(run_id), engine.payload(run_id, name)

    run, body = database.read(read)
    try:
        if "raw" in request.GET:
            return _download(body.data if not at else _octets(body, at), name if not at else f"{name}.{at}")
        if form == "json":
            return _json(body, at)
        if form == "image":
            return _image(body, at)
        if form == "" and request.headers.get("HX-Request-Type") == "partial":
            return _part(request, slug, body, at, start)
        seen = _seen(request, body, form, at, start)
    except LookupError:
        raise PayloadNotFound("It has nothing of the kind at this place.", remedy="Go to its beginning.") from None
    context = {"here": "run", "slug": slug, "run": run, "name": name, "at": at, "start": start, "form": form, **seen}
    return page(request, "runs/payload.html", context)


def _seen(request: HttpRequest, body: Body, form: str, at: str, start: int) -> dict[str, object]:
    """What the page shows of the payload, by the form asked for. Nothing is even decoded while payloads are hidden."""
    if preferences(request).hide:
        return {"shown": Shown(body, None, "")}
    if form in ("stored", "hex"):
        return {"shown": Shown(body, None, ""), **_stored(body, form, at, start)}
    tree = decode(body.payload.encoding, body.data, truncated=body.truncated)
    if tree.tree is None:
        return {"shown": _undecoded(body, tree)}
    if form == "picture":
        kind, data = picture_bytes(walk(tree.tree, at).node)
        return {"shown": Shown(body, None, ""), "picture": NAMES[kind], "picture_bytes": len(data)}
    text = request.GET.get("find", "")
    findings = find(tree.tree, text) if text else None
    wanted = [hit.place for hit in findings.hits] if findings else []
    drawn = outline(tree.tree, at, start, PAGE_LINES, wanted)
    shown = Shown(body, drawn, tree.problem)
    places = [Place(hit, _address(hit, findings, drawn)) for hit in findings.hits] if findings else []
    return {
        "shown": shown,
        "find": findings.text if findings else "",
        "findings": findings,
        "places": places,
        "marks": frozenset(wanted),
    }


def _undecoded(body: Body, decoded: Decoded) -> Shown:
    preview = hex_lines(body.data, 0, min(len(body.data), PREVIEW))
    return Shown(body, None, decoded.problem, preview, hashlib.sha256(body.data).hexdigest())


def _stored(body: Body, form: str, at: str, start: int) -> dict[str, Slice | bool]:
    """A slice of the bytes as stored, or of those that the payload holds at a place."""
    data = _octets(body, at) if at else body.data
    text = text_slice(data, start) if form == "stored" and not at else None
    return {"slice": text or hex_slice(data, start), "not_text": form == "stored" and text is None}


def _address(hit: Hit, findings: Findings, drawn: Outline) -> str:
    """Where a hit can be seen: on the page as it is, or from the place on where it begins."""
    kind = drawn.drawn.get(hit.place)
    seen = kind in ("text", "leaf", "open") or (kind == "link" and (hit.in_key or hit.offset + len(hit.match) < HEAD))
    if hit.octets and hit.offset + len(hit.match) > OCTETS:
        return "?" + urlencode({"as": "hex", "at": hit.place, "from": hit.offset // 16 * 16})
    if seen:
        return f"#at-{hit.place}"
    if hit.offset > HEAD:
        query = {"find": findings.text, "at": hit.place, "from": hit.offset - BEFORE}
    else:
        query = {"find": findings.text, "at": hit.within, "from": hit.position}
    return f"?{urlencode(query)}#at-{hit.place}"


def _part(request: HttpRequest, slug: str, body: Body, at: str, start: int) -> HttpResponse:
    """The lines that take the place of a link, without the page around them."""
    context: dict[str, object] = {"slug": slug, "payload": body.payload, "find": request.GET.get("find", "")[:200]}
    if not preferences(request).hide:
        context["lines"] = part(_tree(body), at, start)
        context["fragment"] = True
    return render(request, "runs/_lines.html", context)


def _json(body: Body, at: str) -> HttpResponse:
    """A part as JSON, indented; what JSON has not is an object that says what it is (runs.payloads.plain)."""
    text = json.dumps(to_json(walk(_tree(body), at).node), ensure_ascii=False, indent=2)
    return HttpResponse(text, content_type="application/json; charset=utf-8")


def _image(body: Body, at: str) -> HttpResponse:
    kind, data = picture_bytes(walk(_tree(body), at).node)
    response = HttpResponse(data, content_type=kind)
    response["Content-Security-Policy"] = PICTURE_POLICY
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _tree(body: Body) -> Node:
    """The decoded payload. Raises LookupError where nothing can be decoded: it has no parts."""
    decoded = decode(body.payload.encoding, body.data, truncated=body.truncated)
    if decoded.tree is None:
        raise LookupError(decoded.problem)
    return decoded.tree


def _octets(body: Body, at: str) -> bytes:
    """The bytes that a payload holds at a place. Raises LookupError where something else is."""
    node = walk(_tree(body), at).node
    if not isinstance(node, Bytes):
        raise LookupError(at)
    return node.data


def _download(data: bytes, name: str) -> HttpResponse:
    response = HttpResponse(data, content_type="application/octet-stream")
    response["Content-Disposition"] = f'attachment; filename="{name}.bin"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _start(request: HttpRequest) -> int:
    start = request.GET.get("from", "0")
    if not start.isascii() or not start.isdigit() or len(start) > 9:
        raise BadFilter(f"from={start[:20]!r} is not a whole number.")
    return int(start)
