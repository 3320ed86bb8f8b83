"""Resolve every dependency of every extra into constraints.txt.

PyTorch stays at one version that both the ordinary and the CPU-only build satisfy; the CUDA packages that
the ordinary build brings on Linux are left to its own metadata, so a machine without a GPU can do without.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "2.13.0"
HEADER = """\
# Versions known to work together: `make constraints` resolves them anew. Every install of a checkout uses
# this file; an installed Placet is held only by the ranges in pyproject.toml.
"""
_LEFT_OUT = re.compile(r"(nvidia-|cuda-|triton\b)")


def main() -> int:
    """Write constraints.txt; returns uv's exit status."""
    command = ["uv", "pip", "compile", "--quiet", "--all-extras", "--no-header", "--no-annotate"]
    command += ["--python-version", "3.11", "--constraint", "-", "pyproject.toml"]
    uv = Path(sys.executable).with_name("uv")
    result = subprocess.run(
        [str(uv), *command[1:]],
        cwd=ROOT,
        input=f"torch=={TORCH}\n",
        text=True,
        stdout=subprocess.PIPE,
        check=False,
    )
    if result.returncode:
        return result.returncode
    pins = [re.sub(r"\+cpu$", "", line) for line in result.stdout.splitlines() if "==" in line]
    kept = [pin for pin in pins if not _LEFT_OUT.match(pin)]
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(kept) + "\n", encoding="utf-8")
    print(f"constraints.txt: {len(kept)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
