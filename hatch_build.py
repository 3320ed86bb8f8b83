"""Build hook: puts the checkout's evals/, policies/ and streamlit_app/ into the wheel.

They lie at the top of the repository because people edit them there; an installed Placet finds its copy
under placet/_resources/. An editable install carries no copy: it reads the checkout itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

RESOURCES = ("evals", "policies", "streamlit_app")
LEFT_OUT = {"__pycache__", ".DS_Store"}


class ResourcesHook(BuildHookInterface[Any]):
    """Adds every file of the resource folders to a standard wheel, caches left out."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Extend hatchling's map of forced files; called once before the build."""
        if version != "standard":
            return
        root = Path(self.root)
        for folder in RESOURCES:
            files = [path for path in sorted((root / folder).rglob("*")) if path.is_file()]
            files = [path for path in files if not LEFT_OUT.intersection(path.relative_to(root).parts)]
            if not files:
                raise FileNotFoundError(f"{folder}/ is missing or empty: a wheel without it would not work")
            for path in files:
                name = path.relative_to(root).as_posix()
                build_data["force_include"][str(path)] = f"placet/_resources/{name}"
