"""The wheel alone, without extras and in an empty environment, verifies and reads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from placet.domain.records import ReviewRule
from tests.support.offices import make_office, walk_to_release

ROOT = Path(__file__).resolve().parents[2]
RESOURCES = ("evals", "policies", "streamlit_app")
EXTRAS_ONLY = ("torch", "transformers", "peft", "lm_eval", "pandas", "pyarrow", "streamlit")
MAX_WHEEL_BYTES = 5_000_000

pytestmark = pytest.mark.slow

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def _uv_environment() -> dict[str, str]:
    """Hand pip's settings on to uv, as the Makefile does; nothing of the checkout is importable."""
    environment = {
        name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}
    }
    links = environment.get("PIP_FIND_LINKS", "").split()
    if links:
        environment.setdefault("UV_FIND_LINKS", ",".join(links))
    for pip_name, uv_name in (("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), ("PIP_EXTRA_INDEX_URL", "UV_INDEX")):
        if environment.get(pip_name):
            environment.setdefault(uv_name, environment[pip_name])
    return environment


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("placet-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Install the wheel without extras into a clean environment; give a way to run a program of it there."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home / "venv", with_pip=False)
    bin_folder = home / "venv" / "bin"
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "pip", "install", "--quiet", "--python", str(bin_folder / "python")]
    command += ["--constraint", str(ROOT / "constraints.txt"), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_uv_environment())
    assert done.returncode == 0, done.stderr

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(bin_folder / program), *arguments],
            cwd=home,
            env=_uv_environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_wheel_carries_the_resource_folders_and_no_caches(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    for folder in RESOURCES:
        kept = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        packed = {
            name.removeprefix("placet/_resources/") for name in names if f"/_resources/{folder}/" in name
        }
        assert packed == kept, folder
    assert not [name for name in names if "__pycache__" in name or name.startswith(("platform/", "tests/"))]
    assert wheel.stat().st_size < MAX_WHEEL_BYTES


def test_bare_install_has_no_model_library_and_no_app(installed: Run) -> None:
    code = f"""
import importlib.util, json
print(json.dumps([name for name in {EXTRAS_ONLY!r} if importlib.util.find_spec(name)]))
"""
    done = installed("python", "-c", code)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_bare_install_finds_its_resources_inside_itself(installed: Run) -> None:
    code = """
import pathlib, placet
folder = pathlib.Path(placet.__file__).parent / "_resources"
print(*sorted(path.name for path in folder.iterdir()))
"""
    done = installed("python", "-c", code)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == sorted(RESOURCES)


@pytest.mark.parametrize("arguments", [("--help",), ("verify", "--help"), ("audit", "--help")])
def test_bare_install_shows_help(installed: Run, arguments: tuple[str, ...]) -> None:
    done = installed("placet", *arguments)

    assert done.returncode == 0, done.stderr
    assert "placet" in done.stdout.lower()


def test_verifier_loads_neither_duckdb_nor_a_model_library(installed: Run) -> None:
    """The import contract sees what modules name; this sees what really gets loaded."""
    code = f"""
import json, sys
import placet.verify
print(json.dumps(sorted(set(sys.modules) & {{*{EXTRAS_ONLY!r}, "duckdb", "numpy"}})))
"""
    done = installed("python", "-c", code)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A released adapter whose approvals have not lapsed, and the pin of its office."""
    sample = make_office(tmp_path_factory.mktemp("office") / "office")
    lasting = ReviewRule(approvals=2, valid_days=365_000)
    _, _, path = walk_to_release(sample, rule=lasting)
    return path, sample.office.root.pin


def test_bare_install_verifies_a_bundle(installed: Run, bundle: tuple[Path, str]) -> None:
    path, pin = bundle

    done = installed("placet", "verify", str(path), "--pin", pin, "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_bare_install_refuses_a_bundle_with_one_byte_flipped(
    installed: Run, bundle: tuple[Path, str], tmp_path: Path
) -> None:
    path, pin = bundle
    changed = tmp_path / "bundle"
    shutil.copytree(path, changed)
    weights = changed / "adapter" / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(bytes(data))

    done = installed("placet", "verify", str(changed), "--pin", pin)

    assert done.returncode == 1
    assert "adapter_model.safetensors is not the file that was released" in " ".join(done.stdout.split())
