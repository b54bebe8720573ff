"""The page that shows the OpenAPI document: rendered here like every page, without a script or a foreign style."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from ninja import NinjaAPI
from ninja.openapi.docs import DocsBase

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One word of a type: ``name`` leads to the object of that name where ``linked``."""

    name: str
    linked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A parameter, a key or a status with its type and what it means."""

    name: str
    type: tuple[Part, ...]
    about: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One address that can be asked."""

    id: str
    method: str
    path: str
    summary: str
    about: str
    parameters: tuple[Row, ...]
    body: tuple[Row, ...]
    answers: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """One object of the answers, with its keys; or a word with what it may be."""

    name: str
    about: str
    keys: tuple[Row, ...]
    words: tuple[str, ...]


class Reference(DocsBase):
    """Ninja's seam for a page of documentation."""

    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        """The page, from the very document that clients read."""
        document = api.get_openapi_schema(path_params=kwargs)
        context = {
            "title": document["info"]["title"],
            "about": document["info"]["description"],
            "document": self.get_openapi_url(api, kwargs),
            "operations": list(_operations(document)),
            "shapes": [_shape(name, schema) for name, schema in sorted(document["components"]["schemas"].items())],
        }
        return render(request, "runs/api.html", context)


def _operations(document: Schema) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield Operation(
                id=operation["operationId"],
                method=method.upper(),
                path=path,
                summary=operation["summary"],
                about=operation.get("description", ""),
                parameters=tuple(
                    Row(parameter["name"], _type(parameter["schema"]), parameter.get("description", ""))
                    for parameter in operation["parameters"]
                ),
                body=_sent(operation),
                answers=tuple(_answer(status, answer) for status, answer in sorted(operation["responses"].items())),
            )


def _sent(operation: Schema) -> tuple[Row, ...]:
    """The object that is sent; empty where none is."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return (Row("body", _type(content["schema"]), "As application/json."),) if content else ()


def _answer(status: int, answer: Schema) -> Row:
    types: list[Part] = []
    for media_type, content in answer.get("content", {}).items():
        types += [Part(", or ")] if types else []
        types += _type(content["schema"]) if media_type == "application/json" else [Part(media_type)]
    return Row(str(status), tuple(types), answer["description"])


def _shape(name: str, schema: Schema) -> Shape:
    return Shape(
        name=name,
        about=schema.get("description", ""),
        keys=tuple(
            Row(key, _type(value), value.get("description", "")) for key, value in schema.get("properties", {}).items()
        ),
        words=tuple(schema.get("enum", ())),
    )


def _type(schema: Schema) -> tuple[Part, ...]:
    """A JSON schema's type in words: ``text or null``, ``list of Run``."""
    if "$ref" in schema:
        return (Part(schema["$ref"].rsplit("/", 1)[-1], linked=True),)
    if "anyOf" in schema:
        parts: list[Part] = []
        for choice in schema["anyOf"]:
            parts += [Part(" or "), *_type(choice)] if parts else _type(choice)
        return tuple(parts)
    if schema.get("type") == "array":
        return (Part("list of "), *_type(schema["items"]))
    if "additionalProperties" in schema and isinstance(schema["additionalProperties"], Mapping):
        return (Part("object of "), *_type(schema["additionalProperties"]))
    if "enum" in schema:
        return (Part(" · ".join(schema["enum"])),)
    if schema.get("format") == "date-time":
        return (Part("instant"),)
    kind = schema.get("type", "any")
    return (Part("text" if kind == "string" else kind),)
