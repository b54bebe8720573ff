"""``durascope compare``: two databases, or two folders of them, as text, Markdown, JSON or JUnit.

Every text of a database is written with its control characters escaped: it must not be able to move the cursor.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from xml.etree.ElementTree import Element, SubElement, tostring

from runs import comparing
from runs.catalogue import Catalogue, Database, only
from runs.clock import MICROSECOND, rfc3339
from runs.compare import fleet, making, words
from runs.compare.failing import Finding, findings
from runs.compare.fleet import Told
from runs.compare.records import Change, Comparison, ErrorGroup, Group, Lone, Options, Rate, Relation
from runs.compare.shapes import comparison_object
from runs.errors import DurascopeError
from runs.wording import NOTHING, duration, plural, visible

HOLDS, FAILS, NOT_COMPARED = 0, 1, 2
ROWS = 30  # workflows, errors and missing runs of each side that text and Markdown name


def compare(a: str, b: str, options: Options, form: str, fail_on: Sequence[str]) -> int:
    """Prints how two databases are related and what differs. 1 where a condition of ``fail_on`` found something, 2 where they could
    not be compared."""
    try:
        found = comparing.compare_now(only(a), only(b), options, _progress())
    except DurascopeError as problem:
        print(f"durascope: {problem}", file=sys.stderr)
        return NOT_COMPARED
    checked = findings(found.comparison, fail_on)
    print(_FORMS[form](found.comparison, found.missing(ROWS), checked), end="")
    return FAILS if any(finding.found for finding in checked) else HOLDS


def compare_fleet(a: str, b: str, options: Options, form: str, fail_on: Sequence[str]) -> int:
    """Prints a table of relations of the databases of two folders, matched by name. The exit code is the worst of all."""
    ours, theirs = ({database.slug: database for database in Catalogue((spec,)).databases()} for spec in (a, b))
    code, rows = HOLDS, []
    for name, said in _fleet_rows(ours, theirs, options, fail_on):
        row: dict[str, object] = {"database": name, "relation": None, "summary": "", "findings": []}
        if isinstance(said, str):
            row["summary"] = f"only in {said}"
            code = max(code, FAILS if "missing" in fail_on else HOLDS)
        elif said.problem:
            row["summary"] = f"could not be compared: {said.problem}"
            code = NOT_COMPARED
        else:
            failed = [{"condition": finding.condition, "found": list(finding.found)} for finding in said.findings]
            row |= {"relation": said.relation, "summary": said.summary, "findings": failed}
            code = max(code, FAILS if said.findings else HOLDS)
        rows.append(row)
    if form == "json":
        print(json.dumps({"databases": rows}, ensure_ascii=False, indent=2))
    else:
        width = max((len(str(row["database"])) for row in rows), default=0)
        for row in rows:
            print(visible(f"{row['database']:<{width}}  {row['relation'] or NOTHING:<13}  {row['summary']}"))
        print(f"{plural(len(rows), 'database')} compared." if rows else "Neither folder holds a database.")
    return code


def _fleet_rows(
    ours: Mapping[str, Database], theirs: Mapping[str, Database], options: Options, fail_on: Sequence[str]
) -> Iterator[tuple[str, Told | str]]:
    """Each name, and what is said of its two databases, or which of A and B has it alone. Large ones are compared here, one after
    another, and kept."""
    pairs = {name: (ours[name], theirs[name]) for name in sorted(ours.keys() & theirs.keys())}
    small = {name for name, pair in pairs.items() if making.small(*pair)}
    quick = fleet.told_of([pairs[name] for name in pairs if name in small], options, fail_on)
    with closing(quick):
        for name in sorted(ours.keys() | theirs.keys()):
            if name not in pairs:
                yield name, "A" if name in ours else "B"
            elif name in small:
                yield name, next(quick)
            else:
                yield name, _told(*pairs[name], options, fail_on)


def _told(a: Database, b: Database, options: Options, fail_on: Sequence[str]) -> Told:
    try:
        return fleet.told(comparing.compare_now(a, b, options, lambda *_: None).comparison, fail_on)
    except DurascopeError as problem:
        return Told(problem=str(problem))


def _progress() -> Callable[[str, int, int], None]:
    """Says how far it is on one line of a terminal; nothing where nobody looks."""
    if not sys.stderr.isatty():
        return lambda *_: None

    def say(stage: str, done: int, total: int) -> None:
        print(f"\r\x1b[K{stage}: {done:,}{f' of {total:,}' if total else ''}", end="", file=sys.stderr, flush=True)

    return say


def _text(found: Comparison, missing: Sequence[Lone], checked: Sequence[Finding]) -> str:
    return "".join(f"{visible(line)}\n" for line in _text_lines(found, missing, checked))


def _text_lines(found: Comparison, missing: Sequence[Lone], checked: Sequence[Finding]) -> Iterator[str]:
    for letter, side in (("A", found.a), ("B", found.b)):
        yield f"{letter}  {side.slug}  {side.label} {side.revision}  {plural(side.runs, 'run')}  {plural(side.events, 'event')}"
    yield ""
    yield f"{words.relation(found)} {words.summary(found)}".strip()
    yield from _evidence(found)
    yield ""
    counts = found.counts
    yield (
        f"{words.matched(counts)} Only in A: {counts.only_a:,}. Only in B: {counts.only_b:,}. Outside the time both cover: "
        f"{counts.outside_a + counts.outside_b:,}. Ambiguous: {counts.ambiguous:,}. Started by the clock: {counts.scheduled:,}."
    )
    verdicts = [f"{number:,} {words.VERDICTS[verdict][1]}" for verdict, number in counts.verdicts.items() if number]
    if verdicts:
        yield f"Pairs: {', '.join(verdicts)}."
    for each in found.rewritten[:ROWS]:
        yield f"rewritten: {each.run} at {each.position}: {each.a or 'nothing'} in A, {each.b or 'nothing'} in B"
    yield from _missing(found, missing)
    for title, groups in (("workflow", (found.all_runs, *found.workflows)), ("step", found.steps)):
        if any(group.a_count or group.b_count for group in groups):
            yield ""
            yield from _table(title, groups)
    for name in ("new", "gone", "more", "fewer"):
        for group in getattr(found.errors, name)[:ROWS]:
            yield f"{name} error: {_error(group)}"
    for setting in found.settings:
        if not setting.same:
            yield f"{setting.kind}: {setting.name}: {setting.a or 'not in A'} | {setting.b or 'not in B'}"
    yield from found.notes
    for finding in checked:
        yield f"{'FAILED' if finding.found else 'passed'}  {finding.condition}"
        yield from (f"        {line}" for line in finding.found[:ROWS])


def _missing(found: Comparison, missing: Sequence[Lone]) -> Iterator[str]:
    """The runs that only one side has, and how many more there are of them."""
    for side, total in (("a", found.counts.only_a), ("b", found.counts.only_b)):
        named = [run for run in missing if run.side == side]
        for run in named:
            yield f"only in {side.upper()}: {run.run}  {run.workflow}  {run.status}  {rfc3339(run.created_at)}"
        if total > len(named):
            yield f"and {total - len(named):,} more only in {side.upper()}"


def _table(title: str, groups: Sequence[Group]) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [
        (title, "runs A" if title == "workflow" else "A", "B", "failed A", "B", "p50 A", "B", "p95 A", "B", "")
    ]
    rows += [_row(group) for group in groups[: ROWS + 1]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *numbers, last = row
        cells = [number.rjust(width) for number, width in zip(numbers, widths[1:-1], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells, last]).rstrip()
    if len(groups) > ROWS + 1:
        yield f"and {len(groups) - ROWS - 1:,} more"


def _row(group: Group) -> tuple[str, ...]:
    sign, word = words.CHANGES[words.group_change(group)]
    took = (group.a_took.p50, group.b_took.p50, group.a_took.p95, group.b_took.p95)
    return (
        visible(group.name) or "all",
        f"{group.a_count:,}",
        f"{group.b_count:,}",
        _percent(group.a_failed),
        _percent(group.b_failed),
        *(NOTHING if value is None else duration(value * MICROSECOND) for value in took),
        f"{sign} {word}",
    )


def _error(group: ErrorGroup) -> str:
    counted = f"{group.a_count:,} → {group.b_count:,}"
    return f"{group.workflow}: {group.error.type} {group.error.message} ({counted})"


def _evidence(found: Comparison) -> list[str]:
    """How the relation is known, without the sentence that its summary is already."""
    return [sentence for sentence in found.evidence if sentence != found.incomparable]


def _percent(rate: Rate) -> str:
    return NOTHING if rate.value is None else f"{100 * rate.value:.1f} %"


def _markdown(found: Comparison, missing: Sequence[Lone], checked: Sequence[Finding]) -> str:
    lines = [f"## {_md(found.a.slug)} and {_md(found.b.slug)}", ""]
    mark = "⚠ " if found.relation is Relation.REWRITTEN else ""
    lines += [f"{mark}**{_md(words.relation(found))}** {_md(words.summary(found))}".rstrip(), ""]
    lines += [f"- {_md(sentence)}" for sentence in (*_evidence(found), words.matched(found.counts), *found.notes)]
    lines += [
        "",
        "| workflow | A | B | failed A | failed B | p50 A | p50 B | p95 A | p95 B | |",
        "|---|" + "--:|" * 8 + "---|",
    ]
    lines += [
        f"| {' | '.join(_md(cell) for cell in _row(group))} |" for group in (found.all_runs, *found.workflows[:ROWS])
    ]
    changed = [group for group in found.steps if words.group_change(group) in (Change.WORSE, Change.BETTER)]
    if changed:
        lines += [
            "",
            "| step | A | B | failed A | failed B | p50 A | p50 B | p95 A | p95 B | |",
            "|---|" + "--:|" * 8 + "---|",
        ]
        lines += [f"| {' | '.join(_md(cell) for cell in _row(group))} |" for group in changed[:ROWS]]
    for name in ("new", "gone", "more", "fewer"):
        for group in getattr(found.errors, name)[:ROWS]:
            lines.append(f"- {name} error: {_md(_error(group))}")
    lines += [f"- {_md(line)}" for line in _missing(found, missing)]
    for finding in checked:
        lines.append(f"- {'❌' if finding.found else '✅'} `{finding.condition}`")
        lines += [f"  - {_md(line)}" for line in finding.found[:ROWS]]
    return "\n".join(lines) + "\n"


def _md(text: str) -> str:
    """One line that Markdown shows as it is."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#&~" else char for char in visible(text))


def _as_json(found: Comparison, _: Sequence[Lone], checked: Sequence[Finding]) -> str:
    answer = comparison_object(found)
    answer["findings"] = [{"condition": finding.condition, "found": list(finding.found)} for finding in checked]
    return json.dumps(answer, ensure_ascii=False, indent=2) + "\n"


def _junit(found: Comparison, missing: Sequence[Lone], checked: Sequence[Finding]) -> str:
    """A test case for each condition; without any, one that says how they are related."""
    suite = Element("testsuite", name=f"durascope compare {found.a.slug} {found.b.slug}", tests=str(len(checked) or 1))
    suite.set("failures", str(sum(bool(finding.found) for finding in checked)))
    for finding in checked:
        case = SubElement(suite, "testcase", classname="durascope.compare", name=finding.condition)
        if finding.found:
            failure = SubElement(case, "failure", message=visible(finding.found[0]))
            failure.text = "\n".join(visible(line) for line in finding.found)
    if not checked:
        SubElement(suite, "testcase", classname="durascope.compare", name=words.relation(found))
    SubElement(suite, "system-out").text = _text(found, missing, checked)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suite, encoding="unicode") + "\n"


_FORMS: dict[str, Callable[[Comparison, Sequence[Lone], Sequence[Finding]], str]] = {
    "text": _text,
    "markdown": _markdown,
    "json": _as_json,
    "junit": _junit,
}
FORMS = tuple(_FORMS)
