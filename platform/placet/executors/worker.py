"""`python -m placet.executors.worker`: run shards, as they are named on the standard input.

One line in, JSON: ``run`` or ``describe``, a folder, and the id of a shard or a model in it. One line out, JSON: the
error that stopped it, or nothing. The base stays loaded in between. A cluster's job does the same with one line.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from placet.domain.errors import Error
from placet.engine.shards import Shards
from placet.engine.startup import load_engine


def main() -> None:
    """Serve shards until the input ends."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    load_engine()
    shards = Shards()
    for line in sys.stdin:
        found: dict[str, str] = {}
        try:
            word, folder, name = json.loads(line)
            {"run": shards.run, "describe": shards.describe}[word](Path(folder), name)
        except Error as error:
            found = {"error": error.message, "hint": error.hint}
        except Exception as error:  # a bug: told like an error, so that other shards go on
            found = {"error": f"{type(error).__name__}: {error}", "hint": ""}
        answers.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
