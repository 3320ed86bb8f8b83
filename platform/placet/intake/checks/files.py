"""Which files a submission may hold: names on a list, plain files, within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from placet.domain.records import CheckResult, Finding
from placet.intake.context import CONFIG, WEIGHTS, Context, concluded, grouped
from placet.intake.findings import finding
from placet.intake.limits import Limits
from placet.intake.survey import Kind

ACCEPTED: dict[str, str] = {
    CONFIG: "max_json_bytes",
    WEIGHTS: "max_weights_bytes",
    "tokenizer.json": "max_tokenizer_bytes",
    "tokenizer_config.json": "max_json_bytes",
    "special_tokens_map.json": "max_json_bytes",
    "chat_template.jinja": "max_text_bytes",
    "README.md": "max_text_bytes",
    "LICENSE": "max_text_bytes",
    "LICENSE.md": "max_text_bytes",
    "LICENSE.txt": "max_text_bytes",
    "NOTICE": "max_text_bytes",
    "training.json": "max_json_bytes",
    "provenance.json": "max_json_bytes",
    "provenance.dsse.json": "max_json_bytes",
    "trainer_state.json": "max_json_bytes",
    "all_results.json": "max_json_bytes",
    "train_results.json": "max_json_bytes",
    "eval_results.json": "max_json_bytes",
}
"""Names accepted at the top of the folder, with the limit on their size."""

_PICKLES = {".bin", ".ckpt", ".dill", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth"}
_CODE = {".bat", ".cu", ".dll", ".dylib", ".ipynb", ".js", ".ps1", ".py", ".pyc", ".pyd", ".sh", ".so"}


def size_limit(path: str, limits: Limits) -> int | None:
    """Return how many bytes the file `path` may hold, None where its name is not accepted."""
    field = ACCEPTED.get(path)
    return None if field is None else int(getattr(limits, field))


@dataclass(frozen=True, slots=True)
class FilesCheck:
    """Nothing but plain files with accepted names, and both files that make an adapter."""

    id: str = "files"
    version: str = "1"
    needs: tuple[str, ...] = ()

    def run(self, context: Context) -> CheckResult:
        """Judge the survey of the submitted folder; no file's content is looked at."""
        survey = context.survey
        names = [entry.path for entry in survey.of(Kind.FILE)]
        strange = [name for name in names if name not in ACCEPTED]
        pickles = [name for name in strange if PurePosixPath(name).suffix.lower() in _PICKLES]
        code = [name for name in strange if PurePosixPath(name).suffix.lower() in _CODE]
        other = [name for name in strange if name not in {*pickles, *code}]
        links = [entry.path for entry in survey.of(Kind.SYMLINK)]
        special = [entry.path for entry in survey.of(Kind.SPECIAL)]
        found = [
            *grouped("symlink", "a symlink: {}", links),
            *grouped("special-file", "not a plain file: {}", special),
            *grouped("pickle-file", "in a pickle format: {}", pickles),
            *grouped("code-file", "program code: {}", code),
            *grouped("unexpected-file", "not an accepted name: {}", other),
            *self._sizes(context),
        ]
        # Where something refused may stand for the missing file, that is the fault to mend first.
        if not found:
            if CONFIG not in names:
                found.append(finding("missing-config", f"there is no {CONFIG}", where=CONFIG))
            elif WEIGHTS not in names:
                found.append(finding("missing-weights", f"there is no {WEIGHTS}", where=WEIGHTS))
        return concluded(self, found)

    @staticmethod
    def _sizes(context: Context) -> list[Finding]:
        if not context.survey.complete:
            bound = f"more than {context.limits.max_entries:,} entries or {context.limits.max_depth} levels"
            return [finding("too-large", bound)]
        found = []
        for entry in context.survey.of(Kind.FILE):
            limit = size_limit(entry.path, context.limits)
            if limit is not None and (entry.size > limit or entry.path not in context.stored):
                found.append(
                    finding("too-large", f"more than {limit:,} bytes ({entry.size:,} seen)", where=entry.path)
                )
        return found
