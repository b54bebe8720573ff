"""What a comparison says, in words: the same on pages, in a terminal, in Markdown."""

from datetime import timedelta

from runs.compare.records import Cause, Change, Comparison, Counts, Group, Lead, Presence, Relation, Rung, Verdict
from runs.wording import duration, plural

VERDICTS = {
    Verdict.SAME: ("=", "same"),
    Verdict.A_AHEAD: ("+", "went on in A"),
    Verdict.B_AHEAD: ("+", "went on in B"),
    Verdict.DIVERGED: ("≠", "diverged"),
    Verdict.REWRITTEN: ("!", "rewritten"),
    Verdict.DIFFERS: ("~", "differs"),
    Verdict.TIMING: ("⏱", "only timing"),
}
CAUSES = {
    Cause.INPUT: "different input",
    Cause.RESULT: "different result",
    Cause.CODE: "different code version",
    Cause.NONDETERMINISM: "non-deterministic code",
    Cause.TIMING: "only timing",
    Cause.PROGRESS: "one went on",
    Cause.REWRITTEN: "the past was rewritten",
}
RUNGS = {
    Rung.ID: "run id",
    Rung.ORDINAL: "parent and place in it",
    Rung.DEDUP: "deduplication id",
    Rung.PATH: "path into the input",
    Rung.INPUT: "workflow and input",
}
PRESENCES = {
    Presence.ONLY: "only in {side}",
    Presence.OUTSIDE: "in {side}, outside the time both cover",
    Presence.AMBIGUOUS: "in {side}, ambiguous",
    Presence.SCHEDULED: "in {side}, started by the clock",
}
CHANGES = {
    Change.WORSE: ("▲", "worse in B"),
    Change.BETTER: ("▼", "better in B"),
    Change.SAME: ("=", "same"),
    Change.TOO_FEW: ("·", "too few"),
}
_RELATIONS = {
    Relation.SAME: "Both hold the same.",
    Relation.A_EXTENDS_B: "B is an earlier copy of A.",
    Relation.B_EXTENDS_A: "A is an earlier copy of B.",
    Relation.FORKED: "Both come from one database, and each went on by itself.",
    Relation.INDEPENDENT: "No run is in both.",
    Relation.REWRITTEN: "The recorded past differs.",
}


def relation(found: Comparison) -> str:
    """The relation in one sentence."""
    if found.relation is Relation.INDEPENDENT and not (found.a.runs and found.b.runs):
        return f"{' and '.join(side.slug for side in (found.a, found.b) if not side.runs)} holds no runs."
    return _RELATIONS[found.relation]


def summary(found: Comparison) -> str:
    """The relation in numbers, in one sentence or two."""
    rewritten = found.counts.verdicts.get(Verdict.REWRITTEN, 0)
    past = f"{plural(rewritten, 'run')} rewritten." if rewritten else "No event was rewritten."
    match found.relation:
        case Relation.SAME:
            return f"{plural(found.a.runs, 'run')} and {plural(found.a.events, 'event')}, every one of them alike."
        case Relation.A_EXTENDS_B:
            return f"A is {ahead(found.a_lead)}. {past}"
        case Relation.B_EXTENDS_A:
            return f"B is {ahead(found.b_lead)}. {past}"
        case Relation.FORKED:
            diverged = plural(found.counts.verdicts.get(Verdict.DIVERGED, 0), "run")
            return f"{diverged} diverged; A has {_more(found.a_lead)}, B has {_more(found.b_lead)}. {past}"
        case Relation.REWRITTEN:
            return f"{past} A has {_more(found.a_lead)}, B has {_more(found.b_lead)}."
        case Relation.INDEPENDENT:
            return matched(found.counts) if found.a.runs and found.b.runs else ""


def ahead(lead: Lead) -> str:
    """``3 h 12 m ahead: 412 new runs, 1,204 runs went on, 9,812 events more``."""
    time = f"{duration(lead.time)} ahead" if lead.time is not None and lead.time > timedelta() else "ahead"
    return f"{time}: {_more(lead)}"


def matched(counts: Counts) -> str:
    """How many pairs, and by what."""
    by = " · ".join(f"{RUNGS[rung]} {number:,}" for rung, number in counts.by.items() if number)
    return f"{plural(counts.matched, 'pair')} matched{f', by {by}' if by else ''}."


def group_change(group: Group) -> Change:
    """A workflow's or step's change in one word: what got worse counts before what got better."""
    both = (group.failures, group.durations)
    for change in (Change.WORSE, Change.BETTER, Change.SAME):
        if change in both:
            return change
    return Change.TOO_FEW


def _more(lead: Lead) -> str:
    went_on = f"{plural(lead.went_on, 'run')} that went on"
    return f"{plural(lead.new_runs, 'new run')}, {went_on}, {plural(lead.events, 'event')} more"
