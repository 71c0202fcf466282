"""Profiles of the property tests: `quick`, the default, tries the same 500 graphs on every run;
GRAPHFLOW_PROPERTY=search looks at new
ones, 20 times as many."""

from __future__ import annotations

import os
import sys

from hypothesis import HealthCheck, settings

COMMON = {
    "deadline": None,  # the first graph of a run loads LLVM
    "suppress_health_check": [
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
        HealthCheck.function_scoped_fixture,
    ],
    "print_blob": True,
}
settings.register_profile("quick", derandomize=True, database=None, **COMMON)
settings.register_profile("search", **COMMON)
PROFILE = os.environ.get("GRAPHFLOW_PROPERTY", "quick")
settings.load_profile(PROFILE)


def pytest_terminal_summary(terminalreporter):
    """What the random graphs were made of."""
    running = sys.modules.get("running")
    counts = running.STATISTICS if running else {}
    if counts.get("graphs"):
        ops = sorted(((n, name[3:]) for name, n in counts.items() if name.startswith("op ")), reverse=True)
        terminalreporter.write_line(
            f"random graphs: {counts['graphs']} with {counts['nodes']} nodes, {counts['outputs']} outputs, "
            f"{counts['assigns']} assigns, {counts['failed runs']} runs that fail; run {counts['runs']} times; "
            + ", ".join(f"{name} {n}" for n, name in ops)
        )
