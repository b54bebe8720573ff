"""The active deployment: which component exports a function now. New executions are of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from runs.engines.obelisk.executions import Execution, Ineligible
from runs.engines.obelisk.shapes import Unparsed, compact, mapping, parse, text, whole
from runs.sources.base import Reader

_COMPONENTS = """SELECT d.deployment_id, c.component_name, c.component_type, c.component_digest, m.exports_json
FROM {schema}t_deployment d JOIN {schema}t_deployment_component c ON c.deployment_id = d.deployment_id
JOIN {schema}t_component_metadata m ON m.component_digest = c.component_digest
WHERE d.status = 'active' ORDER BY c.component_name"""

_PARAMETERS = """SELECT json_array_length(l.json_value, '$.created.params'), l.json_value->>'$.created.ffqn'
FROM {schema}t_execution_log l WHERE l.execution_id = :id AND l.version = 0 AND l.variant = 'created'"""

SHOWN = 12  # hex digits of a digest


@dataclass(frozen=True, slots=True)
class Export:
    """A function that can be executed, and the component that has it."""

    component: str
    component_type: str
    digest: bytes
    parameters: int

    @property
    def component_id(self) -> str:
        """As the JSON of a ``created`` row names it."""
        found = {
            "component_type": self.component_type,
            "name": self.component,
            "component_digest": f"sha256:{self.digest.hex()}",
        }
        return compact(found)


@dataclass(frozen=True, slots=True)
class Deployment:
    """The active deployment and its exports by their full function names."""

    id: str
    exports: Mapping[str, Export]

    def taker(self, reader: Reader, execution: Execution) -> Export:
        """The export that would run this execution's function with its recorded parameters. Raises Ineligible."""
        found = self.exports.get(execution.ffqn)
        if found is None:
            raise Ineligible(
                f"No component of the active deployment exports {execution.ffqn}. Deploy one that does, then retry."
            )
        if found.component_type != execution.component_type:
            raise Ineligible(
                f"{execution.ffqn} was of a component of type {execution.component_type}; in the active deployment it"
                f" is of type {found.component_type}. Submit it anew through the server."
            )
        rows = reader.rows(_PARAMETERS, {"id": execution.id})
        if not rows or rows[0][0] is None or rows[0][1] != execution.ffqn:
            raise Ineligible(f"The first row of {execution.id} does not say how it was created.")
        given = whole(rows[0][0])
        if given != found.parameters:
            raise Ineligible(
                f"{execution.ffqn} was called with {given} parameters; the active deployment's takes"
                f" {found.parameters}. Submit it anew through the server."
            )
        return found

    def demand_same_code(self, reader: Reader, execution: Execution) -> None:
        """Raises Ineligible where its history was not written by the code that is deployed: only the engine's replay
        could say whether that code goes on with it."""
        if other := self.other_code(reader, execution):
            raise Ineligible(
                f"{other} Run it again from its beginning instead, deploy the earlier component, or name the engine's server"
                " with --engine-url."
            )

    def other_code(self, reader: Reader, execution: Execution) -> str:
        """In words, that its history was written by other code than is deployed; empty where it is the same. Raises Ineligible."""
        found = self.taker(reader, execution)
        if found.digest == execution.digest:
            return ""
        return (
            f"{execution.ffqn} ran with the component {execution.digest.hex()[:SHOWN]}; the active deployment has"
            f" {found.digest.hex()[:SHOWN]}. Only the engine's own replay can say whether that goes on with the recorded"
            " history."
        )


def active(reader: Reader) -> Deployment:
    """Raises Ineligible where no deployment is active, or where its exports can't be read."""
    rows = reader.rows(_COMPONENTS)
    if not rows:
        raise Ineligible("No deployment is active, so nothing would take it up. Start the server with one, then retry.")
    exports: dict[str, Export] = {}
    for _, name, component_type, digest, source in rows:
        try:
            functions = parse(source)
        except Unparsed:
            raise Ineligible(f"The exports of the deployed component {text(name)} can't be read.") from None
        for function in functions if isinstance(functions, list) else ():
            fields = mapping(function)
            parameters = fields.get("parameter_types")
            if fields.get("extension") is None and isinstance(parameters, list):
                found = Export(
                    text(name), text(component_type), digest if isinstance(digest, bytes) else b"", len(parameters)
                )
                exports[text(fields.get("ffqn"))] = found
    return Deployment(text(rows[0][0]), exports)
