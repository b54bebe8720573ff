"""Comparing two databases and two runs. Pure but for ``reading`` (of the databases) and ``store`` (our own file).

database A ─► reading ─┐
                       ├─► relation · matching ─► tables · errors · statistics ─► store ─► pages · command · JSON
database B ─► reading ─┘
run A, run B ─► align ─► verdicts · cause · values                             ─► pages · command · JSON
"""
