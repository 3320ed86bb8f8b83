"""`placet verify` of a bundle against `model_signing verify` of the same folder: cold processes, one after the other.

Both check the same files against a signature over them. `placet verify` also checks the trust root, the log's
checkpoint, every record with its proof, the evidence behind the verdict, the approvals and the revocations. Each run is
a new process with warm file caches; the two take turns, so that other work on the machine touches both alike, and
medians of their CPU seconds and of wall-clock seconds are compared.

What a process loads depends on what lies in its environment: an extra package may be picked up by another. For a fair
picture give each program an environment of its own (`--placet`, `--model-signing`), with nothing else in it.

What this does not show: large adapters. Both then spend their time hashing, and the ratio goes to one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from placet.domain.records import FileEntry, files_digest
from tests.support import offices


@dataclass(frozen=True)
class Runs:
    """What one program took, in seconds, for each run."""

    cpu: tuple[float, ...]
    wall: tuple[float, ...]


def make_bundle(folder: Path, size_bytes: int) -> tuple[Path, str, Path]:
    """Make an office with a release of an adapter of about `size_bytes`; return bundle, pin, public key."""
    sample = offices.make_office(folder / "office", key_files=False)
    plain = offices.make_adapter(sample, "desk-good")
    weights = offices.safetensors_bytes([index / 7 for index in range(size_bytes // 4)])
    contents = {**plain.contents, "adapter_model.safetensors": weights}
    files = tuple(
        FileEntry(path=path, size=len(data), sha256=sample.office.blobs.put_bytes(data))
        for path, data in contents.items()
    )
    adapter = offices.SampleAdapter(plain.ref.model_copy(update={"id": files_digest(files)}), files, contents)
    original, offices.make_adapter = offices.make_adapter, lambda *_, **__: replace(adapter)
    try:
        _, released, bundle = offices.walk_to_release(sample, "desk-good", suites=tuple(offices.SUITES))
    finally:
        offices.make_adapter = original
    public = folder / "files.pub"
    public.write_text(released.record.files_key)
    return bundle, sample.office.root.pin, public


def run_once(command: list[str]) -> tuple[float, float]:
    """Run `command` and return CPU and wall-clock seconds."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COV_")}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def take_turns(commands: dict[str, list[str]], rounds: int) -> dict[str, Runs]:
    """Run each command `rounds` times, by turns, after one round that does not count."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            once = run_once(command)
            if number:
                taken[name].append(once)
    return {
        name: Runs(tuple(cpu for cpu, _ in runs), tuple(wall for _, wall in runs))
        for name, runs in taken.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    here = Path(sys.executable).parent
    parser.add_argument("--rounds", type=int, default=15, help="runs of each program")
    parser.add_argument("--megabytes", type=float, default=1.8, help="size of the adapter's weights")
    parser.add_argument("--placet", default=str(here / "placet"), help="the program placet")
    parser.add_argument(
        "--model-signing", default=str(here / "model_signing"), help="the program model_signing"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with TemporaryDirectory() as scratch:
        bundle, pin, public = make_bundle(Path(scratch), int(options.megabytes * 1e6))
        signature = bundle / "placet" / "model.sig"
        commands = {
            "placet": [options.placet, "verify", str(bundle), "--pin", pin, "--as-of-release"],
            "model_signing": [
                options.model_signing, "verify", "key", "--signature", str(signature), "--public_key", str(public),
                str(bundle / "adapter"),
            ],
        }  # fmt: skip
        runs = take_turns(commands, options.rounds)
    figures = {
        name: {"cpu_s": statistics.median(item.cpu), "wall_s": statistics.median(item.wall)}
        for name, item in runs.items()
    }
    ours, theirs = figures["placet"], figures["model_signing"]
    pairs = [a / b for a, b in zip(runs["placet"].cpu, runs["model_signing"].cpu, strict=True)]
    ratio = {
        "cpu": ours["cpu_s"] / theirs["cpu_s"],
        "wall": ours["wall_s"] / theirs["wall_s"],
        "cpu_median_of_pairs": statistics.median(pairs),
    }
    if options.json:
        print(
            json.dumps({"rounds": options.rounds, "megabytes": options.megabytes, **figures, "ratio": ratio})
        )
        return
    print(f"{'':16}{'CPU s':>8}{'wall s':>8}   (medians of {options.rounds} cold runs, by turns)")
    for name, row in figures.items():
        print(f"{name:16}{row['cpu_s']:8.3f}{row['wall_s']:8.3f}")
    print(f"{'ratio':16}{ratio['cpu']:8.2f}{ratio['wall']:8.2f}   limit 0.75")
    print(f"{'median of pairs':16}{ratio['cpu_median_of_pairs']:8.2f}")


if __name__ == "__main__":
    main()
