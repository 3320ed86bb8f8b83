"""Work cut into shards: one subject, one task, some of its documents; files in a folder, so anybody can run one.

A shard is a JSON file that says all there is to know; its name is the digest of that, and its result lies beside it.
Whoever runs shards (processes of this machine, a cluster's jobs) needs the folder and :func:`run_shard`, and
nothing of the engine has to know who it was.

Guarantees: a shard with a result is not run again; a result appears whole or not at all, and one that was damaged
counts as none; a shard's id does not depend on where files lie, so the same work in another folder has the same id,
and names what computes (engine, versions, device, threads), so that another engine's results are never mixed in.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from placet.domain.digests import digest_bytes, short
from placet.domain.errors import EvaluationError, StorageError
from placet.domain.records import EngineInfo
from placet.engine.tasks import Call, TaskSample, TaskSpec

if TYPE_CHECKING:
    from placet.engine.answers import RecordedAnswers
    from placet.engine.model import PlacetLM

DOCUMENTS_PER_SHARD = 64
"""Fixed, so that the same work has the same shards whoever runs it and with however many workers."""


@dataclass(frozen=True, slots=True)
class Model:
    """What a shard loads: a base and how to compute with it. `settings` are those of the engine, as JSON."""

    base_id: str
    base_folder: str
    dtype: str
    device: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Recorded:
    """An answer out of a signed record: which record, the kind and arguments of the request, and the answer.

    `answer` is ``[log-probability, greedy]`` or ``[text]``.
    """

    record: str
    kind: str
    arguments: tuple[Any, ...]
    answer: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What a shard gave: outcomes in the order of its samples, the engine and its figures, and records made use of."""

    samples: tuple[TaskSample, ...]
    engine: EngineInfo
    self_check: dict[str, str]
    reused: tuple[str, ...]


def cut(
    folder: Path,
    model: Model,
    adapter: tuple[str, str] | None,
    spec: TaskSpec,
    engine: EngineInfo,
    recorded: Sequence[Recorded] = (),
) -> tuple[str, ...]:
    """Write the shards of a task on one subject into `folder` and return their ids, in the order of the samples.

    Args:
        folder: Where shards and results lie; made if need be.
        model: The base, and how to compute.
        adapter: Weights id and folder of the adapter; None for the base.
        spec: The task, its documents, and the numbers to run.
        engine: What has to compute the answers.
        recorded: Answers that need not be computed.

    Raises:
        StorageError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        docs = _keep(folder, "docs", [dict(doc) for doc in spec.docs])
        known = _keep(folder, "recorded", [asdict(item) for item in recorded]) if recorded else None
        ids = []
        for start in range(0, len(spec.samples), DOCUMENTS_PER_SHARD):
            named = {
                "base": model.base_id,
                "dtype": model.dtype,
                "device": model.device,
                "settings": dict(model.settings),
                "engine": engine.to_json(),
                "weights": adapter[0] if adapter else None,
                "task": {"name": spec.name, "config": dict(spec.config), "chat": spec.chat_template},
                "docs": docs,
                "recorded": known,
                "samples": list(spec.samples[start : start + DOCUMENTS_PER_SHARD]),
            }
            shard_id = _name_of(_json(named))
            places = {"base": model.base_folder, "adapter": adapter[1] if adapter else None}
            _write(folder / f"{shard_id}.shard.json", {**named, "places": places})
            ids.append(shard_id)
    except OSError as error:
        raise StorageError(
            f"shards cannot be written to {folder}: {error.strerror}", hint="free some space and run it again"
        ) from error
    return tuple(ids)


def write_model(folder: Path, model: Model) -> str:
    """Write what a shard would load into `folder`, to be described, and return its id."""
    folder.mkdir(parents=True, exist_ok=True)
    return _keep(
        folder,
        "model",
        {
            "base": model.base_id,
            "dtype": model.dtype,
            "device": model.device,
            "settings": dict(model.settings),
            "places": {"base": model.base_folder},
        },
    )


def load_engine(folder: Path, model_id: str) -> EngineInfo:
    """Return what :meth:`Shards.describe` wrote."""
    return EngineInfo.from_json(_read(folder / f"{model_id}.engine.json"))


def is_done(folder: Path, shard_id: str) -> bool:
    """Return whether a shard has a result that is whole."""
    try:
        load_result(folder, shard_id)
    except EvaluationError:
        return False
    return True


def documents_in(folder: Path, shard_id: str) -> int:
    """Return how many documents a shard runs.

    Raises:
        EvaluationError: The shard cannot be read.
    """
    return len(_load_shard(folder, shard_id)["samples"])


def load_result(folder: Path, shard_id: str) -> ShardResult:
    """Return a shard's result.

    Raises:
        EvaluationError: It has none, or one that is damaged or not this shard's.
    """
    wanted = _load_shard(folder, shard_id)["samples"]
    try:
        kept = _read(_result_path(folder, shard_id))
        found = kept["result"]
        if (kept["shard"], kept["digest"]) != (shard_id, digest_bytes(_json(found))):
            raise ValueError("it is not as it was written")
        samples = tuple(
            TaskSample(
                item["sample"], item["doc_hash"], item["target"], _calls(item["calls"]), item["metrics"]
            )
            for item in found["samples"]
        )
        if [sample.sample for sample in samples] != wanted:
            raise ValueError("it has other documents than its shard")
        engine = EngineInfo.from_json(found["engine"])
        return ShardResult(samples, engine, found["self_check"], tuple(found["reused"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"the result of shard {shard_id[:12]} cannot be read: {error}",
            hint="remove its result file and run it again",
        ) from error


class Shards:
    """Runs shards, one after the other, on models that stay loaded in between."""

    def __init__(self) -> None:
        self._models: dict[bytes, PlacetLM] = {}

    def describe(self, folder: Path, model_id: str) -> None:
        """Write what computes the answers here, for :func:`load_engine`.

        Raises:
            UsageError: The base cannot be loaded.
            StorageError: It cannot be written.
        """
        try:
            info = self._model(_load_kept(folder, "model", model_id)).info()
            _write(folder / f"{model_id}.engine.json", info.to_json())
        except OSError as error:
            raise StorageError(
                f"model {model_id[:12]} cannot be described: {error.strerror}",
                hint="free some space and run it again",
            ) from error

    def run(self, folder: Path, shard_id: str) -> None:
        """Run a shard of `folder`, if it has no result yet, and write its result.

        Raises:
            EvaluationError: It could not be run.
            StorageError: Its result cannot be written.
        """
        if is_done(folder, shard_id):
            return
        shard = _load_shard(folder, shard_id)
        docs = _load_kept(folder, "docs", shard["docs"])
        known = _load_kept(folder, "recorded", shard["recorded"]) if shard["recorded"] else []
        result = self._computed(shard, docs, known)
        kept = {"shard": shard_id, "digest": digest_bytes(_json(result)), "result": result}
        try:
            _write(_result_path(folder, shard_id), kept)
        except OSError as error:
            raise StorageError(
                f"the result of shard {shard_id[:12]} cannot be written: {error.strerror}",
                hint="free some space and run it again; finished shards are kept",
            ) from error

    def _computed(self, shard: Any, docs: Any, known: Any) -> dict[str, Any]:
        from placet.domain.progress import NullProgress
        from placet.engine.answers import NullAnswers, RecordedAnswers
        from placet.engine.harness import HarnessRunner

        lm = self._model(shard)
        if lm.info() != EngineInfo.from_json(shard["engine"]):
            raise EvaluationError(
                "a shard is to be computed by another engine, or on another kind of device, than works here",
                hint="run all shards of an evaluation with the same versions, threads and device",
            )
        weights = shard["weights"]
        if weights is not None:
            lm.add_adapter(weights, Path(shard["places"]["adapter"]))
        lm.use_adapter(weights)
        answers = RecordedAnswers(NullAnswers())
        offer(lm, answers, [Recorded(**entry) for entry in known])
        lm.use_answers(answers)
        task = shard["task"]
        spec = TaskSpec(task["name"], task["config"], docs, tuple(shard["samples"]), task["chat"])
        runner = HarnessRunner(lm)
        samples = runner.run(spec, NullProgress(), task["name"])
        return {
            "samples": [asdict(sample) for sample in samples],
            "engine": lm.info().to_json(),
            "self_check": runner.self_check(),
            "reused": list(answers.used),
        }

    def _model(self, shard: Any) -> PlacetLM:
        from placet.engine.identity import EngineSettings
        from placet.engine.model import PlacetLM

        key = _json([shard["base"], shard["dtype"], shard["device"], shard["settings"]])
        if key not in self._models:
            self._models[key] = PlacetLM(
                shard["places"]["base"],
                base_id=shard["base"],
                dtype=shard["dtype"],
                device=shard["device"],
                batch_size=8,
                settings=EngineSettings(**shard["settings"]),
            )
        return self._models[key]


def offer(lm: PlacetLM, answers: RecordedAnswers, recorded: Sequence[Recorded]) -> None:
    """Offer recorded answers under the ids they have for what is at work in `lm`; sampled ones are left out."""
    from placet.engine.answers import Generated, Likelihood
    from placet.engine.model import is_sampled

    by_kind: dict[str, list[Recorded]] = {}
    for item in recorded:
        if item.kind != "generate_until" or not is_sampled(item.arguments[1]):
            by_kind.setdefault(item.kind, []).append(item)
    for kind, items in by_kind.items():
        keys = lm.answer_ids(kind, [tuple(item.arguments) for item in items])
        for key, item in zip(keys, items, strict=True):
            value = item.answer
            answer = Generated(value[0]) if kind == "generate_until" else Likelihood(value[0], value[1])
            answers.add(item.record, [(key, answer)])


def _load_shard(folder: Path, shard_id: str) -> Any:
    """Return what a shard says, which its id is the digest of but for where files lie."""
    try:
        shard = _read(folder / f"{shard_id}.shard.json")
        named = {name: value for name, value in shard.items() if name != "places"}
        if _name_of(_json(named)) != shard_id:
            raise ValueError("it does not say what its name is the digest of")
    except (OSError, ValueError, AttributeError) as error:
        raise EvaluationError(
            f"shard {shard_id[:12]} cannot be read: {error}", hint="cut the work into shards again"
        ) from error
    return shard


def _load_kept(folder: Path, kind: str, name: str) -> Any:
    """Return what :func:`_keep` wrote."""
    path = folder / f"{name}.{kind}.json"
    try:
        data = path.read_bytes()
        if _name_of(data) != name:
            raise ValueError("its content is not what it is named by")
        return json.loads(data)
    except (OSError, ValueError) as error:
        raise EvaluationError(
            f"{path.name} cannot be read: {error}",
            hint=f"remove {path} and cut the work into shards again: run the same command",
        ) from error


def _name_of(data: bytes) -> str:
    return short(digest_bytes(data), 64)


def _calls(found: Any) -> tuple[Call, ...]:
    return tuple(Call(**call) for call in found)


def _result_path(folder: Path, shard_id: str) -> Path:
    return folder / f"{shard_id}.result.json"


def _json(value: Any, *, in_order: bool = True) -> bytes:
    # Not RFC 8785: task configs and generation arguments hold floats.
    return json.dumps(value, sort_keys=in_order, separators=(",", ":"), ensure_ascii=True).encode()


def _read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _keep(folder: Path, kind: str, value: Any) -> str:
    """Write `value` under the digest of its content and return that."""
    # As they stand: lm-eval's hash of a document depends on the order of its fields.
    data = _json(value, in_order=False)
    name = _name_of(data)
    path = folder / f"{name}.{kind}.json"
    if not path.exists() or path.read_bytes() != data:
        _write_bytes(path, data)
    return name


def _write(path: Path, value: Any) -> None:
    _write_bytes(path, _json(value))


def _write_bytes(path: Path, data: bytes) -> None:
    # A name that no other writer has, on whatever machine of a shared folder: two may run the same shard.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
