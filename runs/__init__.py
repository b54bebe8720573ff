"""Durascope's app: from files to pages, in one direction.

    file ──► sources ──► engines ──► catalogue ──► timeline · diagnosis ──► views · api · cli
                │           │
                └── records · payloads · filters · paging · clock · errors ──┘

A *source* opens a database for one short snapshot. An *engine* reads its schema into *records*. Pure functions turn records into
timelines, diagnoses and decoded payloads. Views and the JSON interface put those before a person; nothing else knows Django.

**The layer rule.** A module imports only from layers above its own in ``LAYERS``; ``tests/test_layers.py`` reads the imports and
says so. Django is imported by the last layers and by ``inspector`` alone: everything else works in a bare Python shell.
"""

__version__ = "0.1.0"

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "clock", "wording", "home", "machine", "engine_servers"),
    ("records", "addresses"),
    ("digests", "filters", "paging", "payloads"),
    ("sources",),
    ("retry",),
    ("engines",),
    ("catalogue",),
    ("statements",),
    ("appending",),
    ("holding",),
    ("links", "lookup", "counting"),
    ("merge", "histogram", "fleet", "long_runs"),
    ("facets",),
    ("timeline",),
    ("compare",),
    ("diagnosis",),
    ("state",),
    ("releasing",),
    ("planning", "saving"),
    ("following",),
    ("retrying",),
    ("selection",),
    ("jobs",),
    ("jobs_process", "comparing"),
    ("views", "api", "templatetags", "urls", "apps", "demo"),
    ("terminal", "retry_commands", "compare_commands"),
)
