"""A client of the JSON interface that checks every answer against the schema that the OpenAPI document declares for it."""

import re
from typing import Any
from urllib.parse import urlencode

from django.test import Client

from runs.api import shapes


class Asker:
    """``ask("/api/v1/runs/", limit=2)``: the JSON of an answer with the expected status."""

    def __init__(self) -> None:
        self.client = Client()
        self.document: dict[str, Any] = self.client.get("/api/v1/openapi.json").json()

    def __call__(self, address: str, *, expect: int = 200, **parameters: Any) -> Any:
        query = urlencode(parameters, doseq=True)
        answer = self.client.get(f"{address}?{query}" if query else address)
        body = answer.json()
        assert answer.status_code == expect, (address, body)
        schema = self._declared(address, answer.status_code)
        assert schema is not None, f"{address} may not answer {answer.status_code}"
        wrong = list(faults(body, schema, self.document))
        assert not wrong, (address, wrong[:5])
        return body

    def pages(self, address: str, key: str, **parameters: Any) -> list[Any]:
        """All rows of a list, page by page."""
        rows: list[Any] = []
        places: set[str] = set()
        while True:
            body = self(address, **parameters)
            rows += body[key]
            if body["next"] is None:
                return rows
            assert body[key] or any(each["error"] == shapes.PARTLY_READ for each in body.get("problems", ())), (
                "an empty page leads on, and not because its search was bounded"
            )
            assert body["next"] not in places, "paging goes in a circle"
            places.add(body["next"])
            parameters["after"] = body["next"]

    def _declared(self, address: str, status: int) -> Any:
        path = address.partition("?")[0]
        for template, methods in self.document["paths"].items():
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
                content = methods["get"]["responses"].get(str(status), {}).get("content", {})
                return content.get("application/json", {}).get("schema")
        # Other addresses below /api/ answer with the object of every error.
        return {"$ref": "#/components/schemas/Problem"} if status >= 400 else None


TYPES: dict[str, Any] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict,
    "null": type(None),
}  # fmt: skip


def faults(value: Any, schema: Any, document: Any, at: str = "$") -> list[str]:
    """Where a value is not as its schema says: the part of JSON Schema that the document uses, and an error for more."""
    if "$ref" in schema:
        target = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return faults(value, target, document, at)
    unknown = schema.keys() - {
        "type", "anyOf", "enum", "pattern", "items", "properties", "required", "additionalProperties", "propertyNames",
        "format", "title", "description", "examples",
    }  # fmt: skip
    assert not unknown, f"the checker knows no {unknown}"
    if "anyOf" in schema:
        choices = [faults(value, choice, document, at) for choice in schema["anyOf"]]
        return [] if any(not choice for choice in choices) else min(choices, key=len)
    kind = schema.get("type")
    if kind and (not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return [f"{at}: {value!r} is no {kind}"]
    found: list[str] = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is none of {schema['enum']}")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{at}: {value!r} is not like {schema['pattern']}")
    if kind == "array":
        for number, item in enumerate(value):
            found += faults(item, schema.get("items", {}), document, f"{at}[{number}]")
    if kind == "object":
        properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        found += [f"{at}: {key} is missing" for key in schema.get("required", ()) if key not in value]
        for key, item in value.items():
            if key in properties:
                found += faults(item, properties[key], document, f"{at}.{key}")
            elif more is False:
                found.append(f"{at}: {key} is too much")
            elif isinstance(more, dict):
                found += faults(key, schema.get("propertyNames", {}), document, f"{at} key")
                found += faults(item, more, document, f"{at}.{key}")
    return found
