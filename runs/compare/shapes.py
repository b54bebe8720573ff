"""A comparison as JSON: what the command prints, and what the JSON interface answers."""

from datetime import timedelta
from typing import Any

from runs.clock import rfc3339
from runs.compare import words
from runs.compare.asking import tolerance_text
from runs.compare.records import Comparison, ErrorGroup, Group, Lead, Rate, Side, Spread, Verdict


def comparison_object(found: Comparison) -> dict[str, Any]:
    """The whole comparison but its single pairs. Durations are seconds, rates fractions of 1."""
    counts = found.counts
    return {
        "relation": found.relation.value,
        "summary": f"{words.relation(found)} {words.summary(found)}".strip(),
        "evidence": list(found.evidence),
        "alike_until": rfc3339(found.alike_until),
        "a": _side(found.a, found.a_lead),
        "b": _side(found.b, found.b_lead),
        "options": {
            "match": found.options.match,
            "path": found.options.path or None,
            "ignore": list(found.options.ignore),
            "tolerance": tolerance_text(found.options.tolerance),
        },
        "runs": {
            "a": found.a.runs,
            "b": found.b.runs,
            "matched": counts.matched,
            "by": {rung.value: number for rung, number in counts.by.items()},
            "only_a": counts.only_a,
            "only_b": counts.only_b,
            "outside_a": counts.outside_a,
            "outside_b": counts.outside_b,
            "ambiguous": counts.ambiguous,
            "scheduled": counts.scheduled,
            "advanced": counts.verdicts.get(Verdict.A_AHEAD, 0) + counts.verdicts.get(Verdict.B_AHEAD, 0),
            "diverged": counts.verdicts.get(Verdict.DIVERGED, 0),
            "rewritten": counts.verdicts.get(Verdict.REWRITTEN, 0),
            "verdicts": {verdict.value: number for verdict, number in counts.verdicts.items()},
        },
        "rewritten": [
            {"run": each.run, "position": each.position, "a": each.a or None, "b": each.b or None}
            for each in found.rewritten
        ],
        "all_runs": _group(found.all_runs),
        "workflows": [_group(group) for group in found.workflows],
        "steps": [_group(group) for group in found.steps],
        "errors": {
            name: [_error(group) for group in getattr(found.errors, name)]
            for name in ("new", "gone", "more", "fewer", "same")
        },
        "settings": [
            {"kind": each.kind, "name": each.name, "a": each.a or None, "b": each.b or None}
            for each in found.settings
            if not each.same
        ],
        "notes": list(found.notes),
    }


def _side(side: Side, lead: Lead) -> dict[str, Any]:
    return {
        "slug": side.slug,
        "engine": side.engine,
        "schema": side.revision,
        "runs": side.runs,
        "events": side.events,
        "first_at": rfc3339(side.first_at),
        "last_at": rfc3339(side.last_at),
        "ahead": {
            "new_runs": lead.new_runs,
            "went_on": lead.went_on,
            "events": lead.events,
            "seconds": None if lead.time is None else lead.time / timedelta(seconds=1),
        },
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "matched": group.matched,
        "a": _sample(group.a_count, group.a_failed, group.a_took, group.a_retried),
        "b": _sample(group.b_count, group.b_failed, group.b_took, group.b_retried),
        "failures": group.failures.value,
        "durations": group.durations.value,
        "evidence": group.evidence,
    }


def _sample(count: int, failed: Rate, took: Spread, retried: int) -> dict[str, Any]:
    return {
        "count": count,
        "finished": failed.of,
        "failed": failed.failed,
        "failed_low": failed.low,
        "failed_high": failed.high,
        "retried": retried,
        "measured": took.count,
        "p50": _seconds(took.p50),
        "p95": _seconds(took.p95),
    }


def _error(group: ErrorGroup) -> dict[str, Any]:
    return {
        "fingerprint": group.fingerprint,
        "workflow": group.workflow,
        "type": group.error.type,
        "message": group.error.message,
        "a": group.a_count,
        "b": group.b_count,
        "a_example": group.a_example or None,
        "b_example": group.b_example or None,
        "first_at": rfc3339(group.first_at),
        "last_at": rfc3339(group.last_at),
    }


def _seconds(micros: int | None) -> float | None:
    return None if micros is None else micros / 1_000_000
