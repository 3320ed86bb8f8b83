"""`python -m benchmarks NAME [arguments]`: run one benchmark; without a name, the engine's."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path


def main() -> None:
    """Run the benchmark named first on the command line."""
    folder = Path(__file__).parent
    names = sorted(
        path.stem for path in folder.iterdir() if path.stem[0] not in "._" and path.stem != "conftest"
    )
    words = sys.argv[1:]
    name = words.pop(0) if words and words[0] in names else "engine"
    if words[:1] in (["-h"], ["--help"]):
        print(
            f"benchmarks: {', '.join(names)}; each has its own --help. This is that of {name}.\n", flush=True
        )
    sys.argv = [f"python -m benchmarks.{name}", *words]
    runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
