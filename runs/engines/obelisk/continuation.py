"""Where a failed workflow can go on: the version up to which its history is kept, and what before it runs again."""

from collections.abc import Mapping
from dataclasses import dataclass

from runs.engines.obelisk import consumed
from runs.engines.obelisk.consumed import History, Request, Response, Wait
from runs.engines.obelisk.deployed import Deployment
from runs.engines.obelisk.executions import Execution, Ineligible
from runs.sources.base import Reader

AUTO = ("auto", "failed-only")
# Of a run that ended like this, the history can't be followed by the code that is deployed.
DIVERGED = '{"err":{"execution_failure":"nondeterminism_detected"}}'


@dataclass(frozen=True, slots=True)
class Continuation:
    """Of one workflow: ``cut`` is the last version that is kept, ``failure`` the wait that consumed what failed, or None
    where it goes on from its very end."""

    run: Execution
    history: History
    cut: int
    failure: Wait | None

    @property
    def requests(self) -> tuple[Request, ...]:
        """What was begun up to the cut."""
        return tuple(
            request for request in self.history.requests if request.version <= self.cut and not request.refused
        )

    @property
    def before(self) -> frozenset[int]:
        """Keys of the responses that were consumed before the failure."""
        last = self.failure.version if self.failure else self.cut + 1
        return frozenset(
            wait.response.key for wait in self.history.waits if wait.version < last and wait.response is not None
        )

    def again(self) -> tuple[Request, ...]:
        """The children that run again: what failed, and what was not consumed and did not end well."""
        answers, before = self.history.of_child(), self.before
        return tuple(
            request
            for request in self.requests
            if request.child and not self._keeps(answers.get(request.child), before)
        )

    def kept(self) -> tuple[Response, ...]:
        """The responses that are copied, in their order. A delay that races against a child which runs again is not: it
        would win at once."""
        before = self.before
        children, delays = self.history.of_child(), self.history.of_delay()
        racing = {request.join_set for request in self.again()}
        keys = set()
        for request in self.requests:
            response = children.get(request.child) if request.child else delays.get(request.delay)
            if response is None or not self._keeps(response, before):
                continue
            if response.key in before or request.child or request.join_set not in racing:
                keys.add(response.key)
        return tuple(response for response in self.history.responses if response.key in keys)

    def satisfied(self) -> bool:
        """Whether a copied response answers the wait at the cut already, so that nothing blocks it."""
        if self.failure is None or self.failure.tried:
            return True
        before = self.before
        return any(
            response.join_set == self.failure.join_set and response.key not in before for response in self.kept()
        )

    def _keeps(self, response: Response | None, before: frozenset[int]) -> bool:
        if response is None:
            return False
        # At the very end there is no failure to redo: whatever was answered stays answered.
        return self.failure is None or response.key in before or response.outcome in ("ok", "expired")


def find(
    reader: Reader,
    run: Execution,
    deployment: Deployment,
    start: str = "auto",
    *,
    from_end: bool = False,
    replayed: bool = False,
) -> Continuation:
    """Where this failed workflow goes on. ``start`` is a step's ordinal, or auto; ``from_end``: where no child failed it
    may go on from its end; ``replayed``: the server's replay will say whether other code than its own can go on with it. Raises
    Ineligible."""
    history = consumed.read(reader, run.id)
    failure = _failure(history, start)
    if failure:
        cut = failure.version - 1 if failure.tried else failure.version
    elif from_end:
        cut = _end(run, history)
    else:
        raise Ineligible(
            "There is nothing to redo: no child's failure ended it, so from there the same code would end the same way."
            " Run it again from its beginning instead."
        )
    if replayed:
        deployment.taker(reader, run)
    else:
        deployment.demand_same_code(reader, run)
    found = Continuation(run, history, cut, failure)
    _demand_replayable(found)
    return found


def _failure(history: History, start: str) -> Wait | None:
    """In the join set of the last failure that the program was told of, the first one: all that failed after it in that
    join set run again as well."""
    found = [wait for wait in history.waits if not wait.closing and wait.response is not None and wait.response.failed]
    if start not in AUTO:
        children = {request.child for request in history.requests if request.child and str(request.version) == start}
        chosen = [wait for wait in found if wait.response and wait.response.child in children]
        if not chosen:
            raise Ineligible(f"Step {start} is no child whose failure it awaited. Choose one that failed.")
        return chosen[0]
    return next((wait for wait in found if wait.join_set == found[-1].join_set), None) if found else None


def _end(run: Execution, history: History) -> int:
    """The last event, of a run that an execution failure ended."""
    if not history.events:
        raise Ineligible("It failed before it recorded anything. Run it again instead.")
    if run.result_kind == DIVERGED or not run.result_kind.startswith('{"err":{"execution_failure"'):
        raise Ineligible(
            "There is nothing to redo: no child's failure ended it, so from there the same code would end the same way."
            " Run it again from its beginning instead."
        )
    last = history.events[-1]
    if any(wait.version == last and wait.closing for wait in history.waits):
        raise Ineligible("It ended while it closed its join sets: it can't go on from there. Run it again instead.")
    return last


def _demand_replayable(found: Continuation) -> None:
    history, cut = found.history, found.cut
    for version, words in history.seeded:
        if version <= cut:
            raise Ineligible(
                f"At version {version}, before the failure, it {words}: such values are drawn from the run's own id, so a"
                " fork would diverge from its history. Run it again from its beginning instead."
            )
    if history.cancelling is not None and history.cancelling <= cut:
        raise Ineligible("Its cancellation was requested before the failure. Run it again from its beginning instead.")
    if history.versions != tuple(range(len(history.versions))) or cut not in history.versions:
        raise Ineligible("Rows of its log are missing: it is damaged. Run it again from its beginning instead.")
    last = found.failure.version if found.failure else cut + 1
    for wait in history.waits:
        lost = wait.response is None or (wait.response.child and not wait.response.outcome)
        if wait.version < last and lost:
            raise Ineligible(
                f"What it awaited at version {wait.version} is not recorded any more, and without that the engine could not"
                " follow its history. Run it again from its beginning instead."
            )
    again = {request.child for request in found.again()}
    for version, stub in history.answers:
        if version <= cut and any(stub == child or stub.startswith(f"{child}.") for child in again):
            raise Ineligible(
                f"At version {version} it answered {stub} itself, and would not do so again. Run it again from its beginning"
                " instead."
            )
    _demand_order(found)


def _demand_order(found: Continuation) -> None:
    """What failed is answered last now. A wait for one function must not meet another's answer in its place."""
    if found.failure is None or not found.failure.wanted:
        return
    names: Mapping[str, str] = {request.child: request.ffqn for request in found.history.requests if request.child}
    before = found.before
    for response in found.kept():
        if response.join_set == found.failure.join_set and response.key not in before:
            name = names.get(response.child, "a delay")
            if name != found.failure.wanted:
                raise Ineligible(
                    f"Its join set {response.join_set} holds {name} as well as {found.failure.wanted}, whose answer it wants"
                    " next: in a fork their order would differ. Run it again from its beginning instead."
                )
