"""Broken submissions made of a good adapter, each with one fault that intake must name.

Used by the demo and by tests: what intake should refuse is made here from real bytes, not described.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

from placet.intake.tensor_file import ITEM_BYTES, parse_header

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_NAN = {"F32": b"\x00\x00\xc0\x7f", "F16": b"\x00\x7e", "BF16": b"\xc0\x7f"}
OTHER_BASE = "meta-llama/Llama-3.2-1B-Instruct"

EXPECTED: dict[str, str] = {
    "broken-pickle": "pickle-file",
    "broken-base": "base-mismatch",
    "broken-truncated": "truncated-weights",
    "broken-nan": "non-finite-weights",
    "broken-symlink": "symlink",
}
"""Name of each broken submission, and the id of the finding that must refuse it."""


def make_broken(good_dir: Path, out_root: Path) -> dict[str, tuple[str, Path]]:
    """Make the broken submissions of :data:`EXPECTED` below `out_root` out of the adapter in `good_dir`.

    Making them again replaces them. Returns, by name in the table's order,
    the finding expected and the folder.
    """
    makers: dict[str, Callable[[Path], None]] = {
        "broken-pickle": _add_pickle,
        "broken-base": _name_another_base,
        "broken-truncated": _cut_weights,
        "broken-nan": _poison_weights,
        "broken-symlink": _link_outside,
    }
    made: dict[str, tuple[str, Path]] = {}
    for name, expected in EXPECTED.items():
        folder = out_root / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(good_dir, folder)
        for path in folder.iterdir():
            path.chmod(0o644)
        makers[name](folder)
        made[name] = (expected, folder)
    return made


def _add_pickle(folder: Path) -> None:
    # What trainers leave behind: harmless here, but nobody can tell without running it.
    (folder / "training_args.bin").write_bytes(pickle.dumps({"learning_rate": 0.001}))


def _name_another_base(folder: Path) -> None:
    config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = OTHER_BASE
    (folder / _CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def _cut_weights(folder: Path) -> None:
    path = folder / _WEIGHTS
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size * 2 // 3)


def _poison_weights(folder: Path) -> None:
    path = folder / _WEIGHTS
    with path.open("r+b") as stream:
        header = parse_header(stream, path.stat().st_size)
        middle = header.tensors[len(header.tensors) // 2]
        width = ITEM_BYTES[middle.spec.dtype]
        stream.seek(middle.begin + (middle.spec.elements // 2) * width)
        stream.write(_NAN[middle.spec.dtype])


def _link_outside(folder: Path) -> None:
    path = folder / _WEIGHTS
    outside = folder.parent / f".{folder.name}-outside.safetensors"
    path.replace(outside)
    path.symlink_to(Path("..") / outside.name)
