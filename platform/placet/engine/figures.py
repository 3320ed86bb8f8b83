"""The engine's figures about itself, as records keep them. Importing this loads no model library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def joined_checks(checks: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the self-check figures over several runs.

    Counts are added up; of differences the largest stays, of reduced sizes the smallest, of the rest the last.
    """
    found: dict[str, str] = {}
    for check in checks:
        for name, value in check.items():
            if name in found and name.endswith(("_checked", "_truncated")):
                value = str(int(found[name]) + int(value))
            elif name in found and name.endswith("_difference"):
                value = max(found[name], value, key=float)
            elif name in found and name.endswith("_reduced_to"):
                value = min(found[name], value, key=int)
            found[name] = value
    return dict(sorted(found.items()))
