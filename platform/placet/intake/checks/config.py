"""The adapter's configuration, and the base it names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from placet.domain.records import CheckResult
from placet.intake.context import CONFIG, Context, concluded
from placet.intake.findings import finding, quoted

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class ConfigCheck:
    """adapter_config.json reads in one way only, and asks for nothing that Placet would not evaluate."""

    id: str = "config"
    version: str = "1"
    needs: tuple[str, ...] = ("files",)

    def run(self, context: Context) -> CheckResult:
        """Parse the configuration; everything found is reported at once."""
        _, findings = context.config
        return concluded(self, findings)


@dataclass(frozen=True, slots=True)
class BaseCheck:
    """The adapter names the base it is submitted for.

    A name proves nothing; the fit check looks at shapes. Naming another base is a mistake to stop early.
    """

    id: str = "base"
    version: str = "1"
    needs: tuple[str, ...] = ("config",)

    def run(self, context: Context) -> CheckResult:
        """Compare the configuration's base name, and a commit where it gives one, with the base's."""
        named, revision = context.lora.base_name, context.lora.base_revision
        label = context.base.ref.label
        where = f"{CONFIG}: base_model_name_or_path"
        if named is None:
            return concluded(
                self, [finding("base-not-named", f"no base is named; expected {quoted(label)}", where)]
            )
        if named.rstrip("/") not in context.base.names:
            message = f"it names {quoted(named)}; it was submitted for {quoted(label)}"
            return concluded(self, [finding("base-mismatch", message, where)])
        commit = context.base.commit
        if revision and commit and _COMMIT.fullmatch(revision) and revision != commit:
            message = f"it names commit {revision[:12]} of the base; registered is {commit[:12]}"
            return concluded(self, [finding("base-mismatch", message, f"{CONFIG}: revision")])
        return concluded(self, [])
