"""The command ``durascope``: serve databases in a browser, or say the same in a terminal."""

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from inspector.config import Config, described, whole_port
from runs import __version__
from runs.errors import BadConfiguration, BadRequest, DurascopeError

USAGE = """durascope serve PATH... [--host HOST] [--port PORT] [--open]
       durascope PATH...                     the same
       durascope demo [--host HOST] [--port PORT] [--open]
       durascope check PATH... [--json]
       durascope runs PATH [--status STATUS] [--workflow NAME] [--find TEXT] [--json]
       durascope show PATH RUN_ID [--json]
       durascope retry PATH RUN_ID [--operation OPERATION] [--from STEP] [--children deep|whole] [--pin VERSION]
                       [--engine-url NAME=URL] [--release] [--reason WHY] [--dry-run] [--yes]
       durascope audit verify|export
       durascope compare A B [--match auto|id|ordinal|dedup|path|input] [--path '$.order_id'] [--ignore PATH]...
                       [--tolerance 20%%,50ms] [--format text|markdown|json|junit] [--fail-on rewritten,new-errors,'p95>1.5x']
       durascope compare --fleet A-FOLDER B-FOLDER [the same options]
       durascope manage COMMAND..."""
MAX_LIMIT = 10_000
ENGINE_URL: dict[str, Any] = {
    "action": "append",
    "metavar": "NAME=URL",
    "help": "the server of this database's engine, whose replay checks a fork before it is released; may repeat",
}
ABOUT = "Open the database of a durable-workflow engine and see what happened: runs, timelines, payloads."
PATHS = """PATH is a SQLite file of DBOS or Obelisk, NAME=file to name it, a folder (new files in it are found
while serving), or a glob in quotes. Files are only ever read, unless a retry is allowed and confirmed."""
NOTHING_TO_SERVE = """No database is given. Serve one, or a folder of them:

    durascope serve PATH

or look around with databases that come with Durascope:

    durascope demo
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. The exit code: 0, 1 where something can't be read or started, 2 where it was asked wrongly."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode still gets the facts
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["manage"]:
        return _manage(given[1:])
    if given[:1] not in ([name] for name in ("-h", "--help", "--version", *COMMANDS)):
        if given and _is_mistyped(given[0]):
            print(
                f"durascope: {given[0]!r} is neither a command nor a file here. See durascope --help.", file=sys.stderr
            )
            return 2
        given.insert(0, "serve")
    options = _parser().parse_args(given)
    try:
        return COMMANDS[options.command](options)
    except DurascopeError as problem:
        print(f"durascope: {problem}", file=sys.stderr)
        return 2 if isinstance(problem, BadRequest) else 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of our output (head, less) has seen enough; nothing may be written to it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _is_mistyped(word: str) -> bool:
    """Whether what stands in the place of a command looks like one, and nothing is there that could be served."""
    return word.isalpha() and not os.path.lexists(word)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="durascope",
        usage=USAGE,
        description=f"{ABOUT}\n\n{PATHS}",
        epilog=f"variables of the environment:\n{described()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"Durascope {__version__}")
    commands = parser.add_subparsers(prog="durascope", dest="command", metavar="COMMAND", required=True)

    serve = commands.add_parser("serve", help="serve databases in a browser", description=PATHS)
    serve.add_argument("paths", nargs="*", metavar="PATH")
    demo = commands.add_parser("demo", help="serve databases that come with Durascope, one of them live")
    for command in (serve, demo):
        command.add_argument("--host", help="the address to listen on (127.0.0.1)")
        command.add_argument("--port", type=_port, help="the port (8765); 0 takes a free one")
        command.add_argument("--open", action="store_true", help="open the browser")
        command.add_argument(
            "--allow-retry",
            action="append",
            metavar="NAME",
            help="let runs of this database be retried; may repeat. Only on an address of this machine",
        )

    serve.add_argument("--engine-url", **ENGINE_URL)

    check = commands.add_parser("check", help="engine, schema, sizes, runs and problems of each", description=PATHS)
    check.add_argument("paths", nargs="+", metavar="PATH")

    runs = commands.add_parser("runs", help="the runs of a database, newest first", description=PATHS)
    runs.add_argument("path", metavar="PATH")
    runs.add_argument("--status", action="append", default=[], help="only these; may repeat")
    runs.add_argument("--workflow", default="", help="only this workflow")
    runs.add_argument(
        "--find", default="", metavar="TEXT", help="an id by its beginning, or an error by any part; children too"
    )
    runs.add_argument("--all", action="store_true", help="children too")
    runs.add_argument("--hide-recovered", action="store_true", help="no failures of which a retry has succeeded")
    runs.add_argument("--limit", type=_limit, default=50, help="how many at most (50)")
    runs.add_argument("--after", help="go on from the place that the last answer named")

    show = commands.add_parser("show", help="one run, with its timeline as text")
    show.add_argument("path", metavar="PATH")
    show.add_argument("run_id", metavar="RUN_ID")
    for command in (check, runs, show):
        command.add_argument("--json", action="store_true", help="as JSON, like /api/v1/ answers it")

    retry = commands.add_parser("retry", help="plan a retry; with --yes append it to the engine's own log")
    retry.add_argument("path", metavar="PATH")
    retry.add_argument("run_id", metavar="RUN_ID")
    retry.add_argument("--operation", default="", help="auto, fork, run_again, retry_now, unpause or skip_delay (auto)")
    retry.add_argument("--from", dest="start", default="", metavar="STEP", help="auto, failed-only or a step's number")
    retry.add_argument("--children", default="", help="deep: only what failed in a child; whole: the child (deep)")
    retry.add_argument("--pin", default="", metavar="VERSION", help="the version that must take it up")
    retry.add_argument("--reason", default="", metavar="WHY", help="for those who read the audit")
    retry.add_argument("--dry-run", action="store_true", help="the plan alone, even with --yes")
    retry.add_argument("--yes", action="store_true", help="append it")
    retry.add_argument("--engine-url", **ENGINE_URL)
    retry.add_argument("--release", action="store_true", help="check again, and release, what was appended paused")
    audit = commands.add_parser("audit", help="who retried what and why: verify it, or export it as JSON lines")
    audit.add_argument("action", choices=("verify", "export"))

    compare = commands.add_parser("compare", help="how two databases are related, and what differs")
    compare.add_argument("a", metavar="A")
    compare.add_argument("b", metavar="B")
    compare.add_argument("--fleet", action="store_true", help="two folders: each database with the one of its name")
    compare.add_argument("--match", default="", help="auto, id, ordinal, dedup, path or input (auto: each in turn)")
    compare.add_argument("--path", default="", help="a path into the input by which runs are matched: $.order_id")
    compare.add_argument(
        "--ignore", action="append", default=[], metavar="PATH", help="a path that does not count; may repeat"
    )
    compare.add_argument("--tolerance", default="", help="by how much durations may differ (20%%,50ms)")
    compare.add_argument("--format", choices=("text", "markdown", "json", "junit"), default="text", dest="form")
    compare.add_argument(
        "--fail-on",
        default="",
        metavar="WHAT",
        help="exit with 1 on: rewritten, diverged, missing, different, "
        "new-errors, more-errors, failures, slower, p95>1.5x; several with commas",
    )

    commands.add_parser("manage", help="Django's own commands, for developing", add_help=False)
    return parser


def _port(text: str) -> int:
    try:
        return whole_port(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(f"{text!r} is not {problem}") from None


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_LIMIT:
        raise argparse.ArgumentTypeError(f"not a whole number from 1 to {MAX_LIMIT:,}")
    return int(text)


def _serve(options: argparse.Namespace) -> int:
    config = _configured(options)
    if options.paths:
        if broken := [path for path in options.paths if len(path.splitlines()) != 1]:
            raise BadConfiguration(f"{broken[0]!r} can't be served: it is empty or holds a line break.")
        config = replace(config, paths=tuple(options.paths))
    if not config.paths:
        print(NOTHING_TO_SERVE, end="", file=sys.stderr)
        return 2
    _say_unknown(config)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until gunicorn takes over there is nothing to clean up
    return _run(config, opens=options.open)


def _say_unknown(config: Config) -> None:
    """Which names of --allow-retry and --engine-url no database has, as far as can be seen at the start."""
    from runs.catalogue import Catalogue

    known = {database.slug for database in Catalogue(config.paths).databases()}
    for name in dict.fromkeys((*config.retry, *(pair.partition("=")[0] for pair in config.engine_url))):
        if name not in known:
            print(f"durascope: no database is called {name} yet", file=sys.stderr)


def _demo(options: argparse.Namespace) -> int:
    # Until gunicorn takes over, a signal is only noted: what a handler raises is lost where Python happens to run a callback.
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: asked.append(number))
    from runs.demo import SLUGS, prepared

    config = _configured(options)
    with prepared() as folder:
        config = replace(config, paths=(str(folder),))
        if config.is_local and not config.now:
            # These are copies: retrying them is what they are for. What is kept of it goes with them.
            config = replace(config, retry=SLUGS, state=str(folder.parent / "state"))
        return _run(config, opens=options.open, asked_to_end=asked)


def _configured(options: argparse.Namespace) -> Config:
    """The variables, and the options of the command that win over them. Raises BadConfiguration."""
    config = Config.from_environ(os.environ)
    given = {name: str(value) for name in ("host", "port") if (value := getattr(options, name)) is not None}
    if options.allow_retry:
        given["retry"] = ",".join(options.allow_retry)
    if getattr(options, "engine_url", None):
        given["engine_url"] = ",".join(options.engine_url)
    return Config.from_environ({**config.to_environ(), **{f"DURASCOPE_{n.upper()}": v for n, v in given.items()}})


def _run(config: Config, *, opens: bool, asked_to_end: Sequence[int] = ()) -> int:
    """Serves until a signal comes. Prints one line when it answers; what is missing is said before, on stderr.

    ``asked_to_end``: the signals noted by the caller until then. Raises SystemExit instead of serving where there are any.
    """
    from inspector.server import Server, address, listen, open_browser

    listener = listen(config.host, config.port)
    url = address(listener)
    os.environ.update(config.to_environ())  # Django's settings and the catalogue read it from there
    if config.retry:
        _prepare_retrying(config)
    count = _count(config.paths)
    if not config.is_local:
        print(
            f"durascope: whoever reaches {config.host} can read everything: there is no sign-in yet.", file=sys.stderr
        )

    def ready() -> None:
        if asked_to_end:
            raise SystemExit(128 + asked_to_end[0])
        noun = "database" if count == 1 else "databases"
        print(f"Durascope serves {count or 'no'} {noun}{'' if count else ' yet'} at {url}", flush=True)
        if opens:
            open_browser(url)

    Server(config, listener, ready).run()
    return 0


def _prepare_retrying(config: Config) -> None:
    """Makes our state ready, and has jobs go on that were interrupted. Raises BadConfiguration where retrying can't be allowed."""
    from runs.home import JOBS_SLUG
    from runs.state import place

    if not config.is_local:
        raise BadConfiguration(
            f"--allow-retry is refused on {config.host}: whoever reaches it could retry, and there is no sign-in yet.",
            remedy="Listen on 127.0.0.1.",
        )
    if config.now:
        raise BadConfiguration(
            "--allow-retry is refused while DURASCOPE_NOW fixes the clock: a retry writes the instant at which it is appended.",
            remedy="Unset it.",
        )
    if JOBS_SLUG in config.retry:
        raise BadConfiguration(f"{JOBS_SLUG} is our own: its runs go on by themselves.")
    place.prepare()
    from runs import jobs  # it has models: only once Django is set up

    jobs.resume()


def _count(specs: Sequence[str]) -> int:
    """How many databases there are now; what is missing is said on stderr, and served all the same: it may come."""
    from runs.catalogue import MAX_DATABASES, Catalogue

    for spec in specs:
        catalogue = Catalogue((spec,))
        found = catalogue.databases()
        if not found:
            print(f"durascope: nothing to read in {spec} yet", file=sys.stderr)
        if catalogue.cut:
            print(f"durascope: {spec} holds more than the {MAX_DATABASES:,} databases that are served", file=sys.stderr)
        for database in found:
            if database.source.facts() is None:
                print(f"durascope: {database.source.place} is missing", file=sys.stderr)
    return len(Catalogue(specs).databases())


def _check(options: argparse.Namespace) -> int:
    from runs.terminal import check

    return check(options.paths, as_json=options.json)


def _runs(options: argparse.Namespace) -> int:
    from runs.terminal import runs

    query = {
        "status": options.status,
        "workflow": [options.workflow],
        "q": [options.find],
        "root": ["" if options.all or options.find else "true"],
        "recovered": ["false" if options.hide_recovered else ""],
    }
    return runs(options.path, query, limit=options.limit, after=options.after, as_json=options.json)


def _show(options: argparse.Namespace) -> int:
    from runs.terminal import show

    return show(options.path, options.run_id, as_json=options.json)


def _retry(options: argparse.Namespace) -> int:
    if options.engine_url:
        os.environ["DURASCOPE_ENGINE_URL"] = ",".join(options.engine_url)
    _set_up_django()
    from runs import planning, retry_commands

    if options.release:
        return retry_commands.release(options.path, options.run_id)
    chosen = planning.options(options.operation, options.start, options.children, options.pin)
    return retry_commands.retry(
        options.path, options.run_id, chosen, options.reason, dry_run=options.dry_run, yes=options.yes
    )


def _audit(options: argparse.Namespace) -> int:
    _set_up_django()
    from runs import retry_commands

    return retry_commands.verify() if options.action == "verify" else retry_commands.export()


def _compare(options: argparse.Namespace) -> int:
    _set_up_django()  # a large comparison may be left to the jobs process, which has models
    from runs import compare_commands
    from runs.compare import asking, failing

    chosen = asking.options(options.match, options.path, options.ignore, options.tolerance)
    work = compare_commands.compare_fleet if options.fleet else compare_commands.compare
    return work(options.a, options.b, chosen, options.form, failing.conditions(options.fail_on))


def _set_up_django() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inspector.settings")
    django.setup()


def _manage(arguments: Sequence[str]) -> int:
    from django.core.management import execute_from_command_line

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inspector.settings")
    execute_from_command_line(["durascope manage", *arguments])
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "serve": _serve,
    "demo": _demo,
    "check": _check,
    "runs": _runs,
    "show": _show,
    "retry": _retry,
    "audit": _audit,
    "compare": _compare,
}


if __name__ == "__main__":
    sys.exit(main())
