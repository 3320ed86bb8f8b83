"""lm-eval tasks of several kinds over JSON lines on disk: enough to hold two models' whole runs together."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

WORDS = ("fox", "dog", "apple", "yes", "no", "Zwölf", "the lazy dog", "Deich")
CHOICE = """
    dataset_path: json
    dataset_kwargs: {data_files: {test: FOLDER/NAME.jsonl, train: FOLDER/shots.jsonl}}
    test_split: test
    fewshot_split: train
    output_type: multiple_choice
    doc_to_text: "Question: {{q}}\\nAnswer:"
    doc_to_choice: choices
    doc_to_target: gold
    target_delimiter: " "
    metric_list:
      - {metric: acc, aggregation: mean, higher_is_better: true}
      - {metric: acc_norm, aggregation: mean, higher_is_better: true}
    metadata: {version: 1.0}
    """
TEXTS = """
    dataset_path: json
    dataset_kwargs: {data_files: {test: FOLDER/texts.jsonl}}
    test_split: test
    output_type: loglikelihood_rolling
    doc_to_text: ""
    doc_to_target: text
    metric_list:
      - {metric: word_perplexity}
      - {metric: bits_per_byte}
    metadata: {version: 1.0}
    """
GENERATION = """
    dataset_path: json
    dataset_kwargs: {data_files: {test: FOLDER/animals.jsonl, train: FOLDER/shots.jsonl}}
    test_split: test
    fewshot_split: train
    output_type: generate_until
    doc_to_text: "Question: {{q}}\\nAnswer:"
    doc_to_target: "{{choices[gold]}}"
    generation_kwargs: {until: ["\\n", "stop"], max_gen_toks: 10, do_sample: false}
    metric_list:
      - {metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}
    metadata: {version: 1.0}
    """
FILTERS = """
    filter_list:
      - name: first-letters
        filter:
          - {function: regex, regex_pattern: "([A-Za-z]+)"}
          - {function: take_first}
      - name: whole
        filter:
          - {function: take_first}
    """
GROUP = """
    group: things
    group_alias: Things
    task: [animals, fruits]
    aggregate_metric_list:
      - {metric: acc, aggregation: mean, weight_by_size: true}
      - {metric: acc_norm, aggregation: mean, weight_by_size: false}
    metadata: {version: 2.0}
    """


def documents(name: str, count: int) -> list[dict[str, object]]:
    """Return multiple-choice documents with options of different lengths."""
    return [
        {
            "q": f"which of these is one of the {name}, {WORDS[n % len(WORDS)]} number {n * 7 % 5}?",
            "choices": [WORDS[(n + step) % len(WORDS)] for step in range(2 + n % 3)],
            "gold": n % 2,
        }
        for n in range(count)
    ]


def write_tasks(folder: Path) -> Path:
    """Write the tasks ``animals``, ``fruits``, ``texts`` and ``words``, and the group ``things``, to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[dict[str, object]]] = {
        "animals": documents("animals", 5),
        "fruits": documents("fruits", 3),
        "shots": documents("shots", 4),
        # The second is longer than the models' context, the third has no words that they know.
        "texts": [{"text": "The fox."}, {"text": "the lazy dog jumps, " * 20}, {"text": "日本語"}],
    }
    for name, lines in rows.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    write_task(folder, "animals", CHOICE + "num_fewshot: 2\nfewshot_config: {sampler: first_n}\n")
    write_task(folder, "fruits", CHOICE)
    write_task(folder, "texts", TEXTS)
    write_task(folder, "words", GENERATION + FILTERS)
    (folder / "things.yaml").write_text(textwrap.dedent(GROUP))
    return folder


def write_task(folder: Path, name: str, config: str, **changes: str) -> None:
    """Write one task; a change replaces the value of a key on one line of `config`, or adds it."""
    lines = [f"task: {name}"]
    lines += [line.removeprefix("    ") for line in config.splitlines() if line.strip()]
    for key, value in changes.items():
        lines = [line for line in lines if not line.startswith(f"{key}:")] + [f"{key}: {value}"]
    text = "\n".join(lines).replace("FOLDER", str(folder)).replace("NAME", name)
    (folder / f"{name}.yaml").write_text(text + "\n", encoding="utf-8")
