"""Small suites on disk, and a runner that answers without a model."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

from placet.domain.progress import Progress
from placet.domain.records import EngineInfo
from placet.engine.tasks import Call, TaskSample, TaskSpec

ENGINE = EngineInfo(name="fake", version="1", dtype="float32", device="cpu", layout="none")

FILES = {
    "suite.yaml": """
        id: colours
        version: "1"
        title: Colours of things
        stage: evaluation
        kind: multiple_choice
        task: task.yaml
        metric: acc
        range: [0, 1]
        data:
          generator: {file: data.py, function: rows, arguments: {count: 6}}
        """,
    "task.yaml": """
        output_type: multiple_choice
        doc_to_text: "Q: {{q}}\\nA:"
        doc_to_choice: "{{choices}}"
        doc_to_target: gold
        target_delimiter: " "
        metric_list:
          - {metric: acc, aggregation: mean, higher_is_better: true}
        """,
    "data.py": """
        from __future__ import annotations
        from dataclasses import dataclass

        @dataclass
        class Thing:
            name: str

        def rows(source: bytes | None, *, count: int) -> list[dict]:
            extra = len(source or b"")
            return [
                {"id": f"c{i}", "q": f"what colour is {Thing(str(i + extra)).name}?",
                 "choices": ["red", "green or blue", "no"], "gold": i % 3}
                for i in range(count)
            ]
        """,
    "scorer.py": """
        import datasets
        import evaluate

        class Shouts(evaluate.Metric):
            def _info(self):
                return evaluate.MetricInfo(
                    description="1 where a response has a capital letter", citation="", inputs_description="",
                    features=datasets.Features(
                        {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
                    ),
                )

            def _compute(self, predictions, references):
                return {"shout_rate": [int(text != text.lower()) for text in predictions]}
        """,
    "README.md": "for people",
}
GENERATION = {
    "suite.yaml": """
        id: shouting
        version: "1"
        title: Does it shout?
        stage: safety
        kind: generation
        task: task.yaml
        metric: shout_rate
        higher_is_better: false
        range: [0, 1]
        chat_template: true
        data:
          generator: {file: data.py, function: rows, arguments: {count: 5}}
        scorer: scorer.py
        """,
    "task.yaml": """
        output_type: generate_until
        doc_to_text: "{{q}}"
        doc_to_target: "{{choices[gold]}}"
        generation_kwargs: {until: ["\\n"], max_gen_toks: 8, do_sample: false}
        metric_list:
          - {metric: exact_match, aggregation: mean, higher_is_better: true}
        """,
}

FILES = {name: textwrap.dedent(text).strip() + "\n" for name, text in FILES.items()}
GENERATION = {name: textwrap.dedent(text).strip() + "\n" for name, text in GENERATION.items()}


def write_suite(folder: Path, **changes: str | None) -> Path:
    """Write the example suite to `folder`; a change replaces ``name_ext``, None leaves that file out."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, str | None] = {**FILES, **{".".join(k.rsplit("_", 1)): v for k, v in changes.items()}}
    for name, text in files.items():
        if text is not None:
            (folder / name).write_text(textwrap.dedent(text).lstrip())
    return folder


def write_generation_suite(folder: Path, **changes: str | None) -> Path:
    """Write the example of a scored generation suite to `folder`."""
    return write_suite(
        folder, **{name.replace(".", "_"): text for name, text in GENERATION.items()} | changes
    )


class FakeRunner:
    """A `TaskRunner` whose outcomes `answer` makes from a document's number."""

    def __init__(self, answer: Callable[[int], tuple[tuple[Call, ...], dict[str, float]]]) -> None:
        self.answer = answer
        self.specs: list[tuple[TaskSpec, str]] = []

    def run(self, spec: TaskSpec, progress: Progress, step: str) -> tuple[TaskSample, ...]:
        self.specs.append((spec, step))
        return tuple(TaskSample(n, f"hash{n}", "t", *self.answer(n)) for n in spec.samples)

    def info(self) -> EngineInfo:
        return ENGINE

    def self_check(self) -> dict[str, str]:
        return {"tolerance": "0.0005"}
