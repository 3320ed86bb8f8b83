"""How quick the review app is on a large office: the first page of a process, and every one after it.

Makes an office of many adapters with real signatures (measured values are made up), and times what each page loads,
then each page as a whole by Streamlit's own test runner, the browser left out.

    python -m benchmarks.review_app --adapters 2000
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from placet.attest.predicates import Kind, spec_of
from placet.office import Office
from placet.report.adapter import load_adapter_report
from placet.report.ledger import load_ledger_page
from placet.report.queue import load_queue
from placet.report.snapshot import load_snapshot
from placet.resources import app_dir
from tests.support import offices
from tests.support.large_office import make_large_office

_VIEWS = ("queue", "adapter", "lineage", "ledger")


def _timed(work: Callable[[], Any]) -> float:
    """Return the CPU seconds of `work`: on a machine that others use, its wall clock says little."""
    start = time.process_time()
    work()
    return time.process_time() - start


def _load_after_a_write(home: Path) -> None:
    os.utime(home / "ledger.duckdb")
    load_snapshot(Office.open(home))


def measure(home: Path, repeats: int) -> dict[str, Any]:
    """Return CPU seconds for each load and each page: the first in this process, and the median of the next."""
    os.environ["PLACET_HOME"], os.environ["PLACET_PASSPHRASE"] = str(home), offices.PASSPHRASE
    count = len(Office.open(home).store.record_ids(spec_of(Kind.SUBMISSION).predicate_type))
    label = f"adapter-{count // 2:05d}"
    loads: dict[str, Callable[[], Any]] = {
        "verify ledger": lambda: load_snapshot(Office.open(home)),
        "load queue": lambda: load_queue(Office.open(home)),
        "load adapter": lambda: load_adapter_report(Office.open(home), label),
        "load ledger": lambda: load_ledger_page(Office.open(home)),
        "after a write": lambda: _load_after_a_write(home),
        **{f"page {name}": lambda name=name: _run(name, label) for name in _VIEWS},  # type: ignore[misc]
    }
    result: dict[str, Any] = {"records": Office.open(home).store.size()}
    for name, load in loads.items():
        first = _timed(load)
        result[name] = {"first_s": first, "next_s": statistics.median(_timed(load) for _ in range(repeats))}
    return result


def _run(name: str, label: str) -> None:
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(str(app_dir() / "views" / f"{name}.py"), default_timeout=600)
    if name in {"adapter", "lineage"}:
        app.query_params["adapter"] = label
    app.run()
    if app.exception:  # an error box is no failure: the made-up policy is none that could be read
        raise RuntimeError(f"page {name}: {app.exception}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--adapters", type=int, default=2000, help="how many adapters (default 2000)")
    parser.add_argument("--repeats", type=int, default=5, help="how often each is repeated (default 5)")
    parser.add_argument(
        "--office", type=Path, help="use this office, made by an earlier run; made if missing"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        home = options.office or Path(folder) / "office"
        if not (home / "office.json").exists():
            make_large_office(home, options.adapters)
        result = measure(home, options.repeats)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result.pop('records')} records; CPU seconds")
    for name, one in result.items():
        print(f"{name:14} first {one['first_s']:7.2f}   next {one['next_s']:7.2f}")


if __name__ == "__main__":
    main()
