"""The engine as an lm-eval model: same requests, same answers as lm-eval's `hf`, less work.

Guarantees: every answer is the one `hf` gives for the same request with the same adapter, within rounding, and a
self-check compares a few with the ordinary path before any of a call's answers is returned. Requests the
packed path cannot take (an unknown architecture, sampling) go the ordinary way, which :meth:`PlacetLM.info` says.

`docs/explanation/engine.md` explains the method.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from tqdm import tqdm

from placet.domain.errors import UsageError
from placet.domain.records import EngineInfo
from placet.engine.answering import DocumentProgress, answer_all
from placet.engine.answers import (
    Answer,
    AnswerId,
    AnswerStore,
    Generated,
    Likelihood,
    NullAnswers,
    answer_head,
    answer_id,
)
from placet.engine.encoding import RequestEncoder
from placet.engine.families import greedy_obstacle, tree_mask_obstacle
from placet.engine.generation import GenerationLimits, GreedyGenerator, Prompt
from placet.engine.generation_check import check_generations, end_tokens, text_of
from placet.engine.identity import EngineSettings, PassSizes, engine_info, pass_sizes
from placet.engine.memory import needed_memory
from placet.engine.ordinary import OrdinaryLM, OrdinaryScoring
from placet.engine.quiet import without_progress_bars
from placet.engine.scoring import Encoded, Scoring
from placet.engine.selfcheck import TOLERANCES, SelfCheck
from placet.engine.weights import AdapterAtWork, ResidentBase

_LOG = logging.getLogger("lm_eval.models.placet")


class PlacetLM(OrdinaryLM):
    """A base model with any number of adapters, one at work at a time.

    Args:
        pretrained: A local model folder, or a loaded `transformers` model (then give `tokenizer`).
        base_id: The base's content id, part of every answer's id; needed with an answer store.
        peft: An adapter folder to put to work at once, as lm-eval's `hf` takes it.
        answers: Where answers are remembered; nowhere if not given.
        settings: Sizes and limits.
        dtype: The weights' and activations' type.
        device: Where to compute; a GPU if there is one, else the CPU.
        batch_size: Of what goes the ordinary way.
        softmax_dtype: The type of log-probabilities: 16-bit ones have steps of a sixteenth and more.
        options: Anything else lm-eval's `hf` model takes.

    Raises:
        UsageError: No base, or one that cannot be loaded with these arguments; an answer store without a base id.
        EvaluationError: The adapter in `peft` does not fit or does not act.
    """

    def __init__(
        self,
        pretrained: Any = None,
        *,
        base_id: str | None = None,
        peft: str | None = None,
        answers: AnswerStore | None = None,
        settings: EngineSettings | None = None,
        dtype: Any = "auto",
        device: str | None = None,
        batch_size: Any = 1,
        softmax_dtype: Any = "float32",
        **options: Any,
    ) -> None:
        if pretrained is None:
            raise UsageError(
                "no base is given", hint="pretrained=FOLDER among the model's arguments names it"
            )
        if answers is not None and not base_id:
            raise UsageError("an answer store needs the base's id", hint="pass base_id=the base's content id")
        if peft and options.get("delta"):
            raise UsageError(
                "both `peft` and `delta` are given", hint="give one: a base takes one or the other"
            )
        given: tuple[Any, ...] = (settings, answers)
        if any(isinstance(value, str) for value in given):
            raise UsageError(
                "`settings` and `answers` are objects of Python's and cannot be written on a command line",
                hint="leave them out; where the engine is imported, pass EngineSettings(...)",
            )
        self._settings = settings or EngineSettings()
        if self._settings.threads:
            torch.set_num_threads(self._settings.threads)
        # What else may change an answer, such as another attention or quantised weights.
        self._options = {name: str(value) for name, value in options.items()}
        where = device or ("cuda" if torch.cuda.is_available() else "cpu")
        options |= {"dtype": dtype, "device": where, "batch_size": batch_size, "softmax_dtype": softmax_dtype}
        with without_progress_bars(), _loading(pretrained):
            super().__init__(pretrained, **options)
        self._answers = NullAnswers() if answers is None else answers
        self._base_id = base_id or ""
        self._adapters: dict[str, Path] = {}
        self._current: str | None = None
        self._dtype = str(self.model.dtype).removeprefix("torch.")
        computed = str(self.mixed_precision_dtype or self.model.dtype).removeprefix("torch.")
        tolerance = TOLERANCES.get(computed, TOLERANCES["float16"])
        self._resident = ResidentBase(self.model)
        self._obstacle, self._generation_obstacle = self._obstacles()
        # A model that takes no packed pass need not even have what the sizes of passes follow from.
        self._sizes = (
            PassSizes(0, 0)
            if self._obstacle and self._generation_obstacle
            else pass_sizes(
                self._settings, self.model.config.get_text_config(), self.model.dtype, self.device
            )
        )
        self._check = SelfCheck(tolerance)
        self._checked_tasks: set[str] = set()  # whose requests were checked with the weights at work
        self._adapter: AdapterAtWork | None = None
        self._documents: DocumentProgress | None = None
        self._encoder = RequestEncoder(self)
        self._logits: dict[int, tuple[float, ...]] = {}  # of the generations under way, by request
        if peft:
            self.add_adapter(peft, Path(peft))
            self.use_adapter(peft)

    # --- adapters and facts ------------------------------------------------------------------------------

    @property
    def current(self) -> str | None:
        """The weights id at work; None is the base."""
        return self._current

    def add_adapter(self, weights_id: str, folder: Path) -> None:
        """Make the adapter in `folder` known as `weights_id`; nothing is read yet."""
        self._adapters[weights_id] = folder

    def use_adapter(self, weights_id: str | None) -> None:
        """Put an adapter, or with None the bare base, to work.

        Raises:
            UsageError: `weights_id` was never added.
            EvaluationError: The adapter does not fit or does not act; the base is then at work.
        """
        if weights_id == self._current:
            return
        if weights_id is not None and weights_id not in self._adapters:
            raise UsageError(f"no adapter {weights_id} was added", hint="add_adapter comes first")
        self._resident.restore()
        self._current, self._adapter = None, None
        self._checked_tasks.clear()
        if weights_id is not None:
            label = weights_id[:19] if weights_id.startswith("sha256:") else weights_id
            self._adapter = self._resident.attach(self._adapters[weights_id], label)
            self._current = weights_id

    def use_answers(self, answers: AnswerStore) -> None:
        """Look answers up in, and add new ones to, `answers` from now on.

        Raises:
            UsageError: The base's id is not known, so that answers of several bases would mix.
        """
        if not self._base_id:
            raise UsageError("an answer store needs the base's id", hint="pass base_id=the base's content id")
        self._answers = answers

    def answer_ids(self, kind: str, arguments: Sequence[tuple[Any, ...]]) -> list[AnswerId]:
        """Return the ids of the answers that what is at work gives to requests of `kind` with these arguments."""
        head = self._answer_head()
        return [answer_id(head, kind, tuple(request)) for request in arguments]

    def info(self) -> EngineInfo:
        """Return what computes the answers."""
        obstacles = (self._obstacle, self._generation_obstacle)
        return engine_info(self._settings, self._sizes, self._dtype, self.device, self.batch_size, obstacles)

    def self_check(self) -> dict[str, str]:
        """Return the self-check figures since :meth:`reset_self_check`, and those of the adapter at work."""
        figures = self._check.report()
        if self._adapter is not None:
            figures["adapter_effect"] = f"{self._adapter.effect:.6f}"
            figures["adapter_tensors"] = str(self._adapter.tensors)
        return figures

    def reset_self_check(self) -> None:
        """Start the figures anew, for the next measurement."""
        self._check = SelfCheck(self._check.tolerance)

    def report_documents(self, documents: DocumentProgress | None) -> None:
        """Report documents done to `documents` from now on."""
        self._documents = documents

    def get_model_info(self) -> dict[str, Any]:
        """Return the facts that lm-eval's `hf` reports, without asking the Hub about a local folder or a known base."""
        facts = {
            "model_num_parameters": self.model.num_parameters(),
            "model_dtype": str(self.model.dtype),
            "model_revision": self.revision,
            "model_sha": self._base_id,
        }
        if not self._base_id and not Path(str(self.pretrained)).exists():
            facts = super().get_model_info()
        if self._current is not None:
            # The name of an adapter that was given as a folder is a path, and no digest.
            facts["peft_sha"] = self._current if self._current.startswith("sha256:") else ""
        return facts

    # --- what lm-eval asks -------------------------------------------------------------------------------

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return log-probability and greediness of each continuation, as lm-eval's `hf` does."""
        if self.enable_thinking:  # lm-eval refuses this, in words
            return list(super().loglikelihood(requests, disable_tqdm=disable_tqdm))
        pieces = [[self._encoder.pair(*request.args)] for request in requests]
        answers = self._likelihoods("loglikelihood", requests, pieces, disable_tqdm)
        return [(answer.logprob, answer.greedy) for answer in answers]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the log-probability of each whole text, in windows, as lm-eval's `hf` does."""
        pieces = [self._encoder.windows(*request.args) for request in requests]
        answers = self._likelihoods("loglikelihood_rolling", requests, pieces, disable_tqdm)
        return [answer.logprob for answer in answers]

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Return each prompt's continuation up to its stop strings, as lm-eval's `hf` does at batch size 1."""
        greedy = not self._generation_obstacle
        encoded = [self._encoder.prompt(*request.args, greedy=greedy) for request in requests]
        prompts = [prompt for prompt, _ in encoded]
        self._note_truncated(sum(cut for _, cut in encoded))

        def compute(indices: list[int]) -> Iterator[list[tuple[int, Answer]]]:
            yield from self._generate(requests, prompts, indices)

        self._logits.clear()
        ids = self._ids("generate_until", requests)
        with self._reported("generate_until", requests, disable_tqdm) as done:
            answers = answer_all(ids, self._answers, compute, done)
        count = self._checks(requests).checked_generations
        check_generations(self, self._check, ids, prompts, answers, self._logits, count)
        self._note_checked(requests)
        return [answer.text for answer in answers if isinstance(answer, Generated)]

    def _loglikelihood_tokens(
        self, requests: list[Encoded], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        # Code of lm-eval's that calls this is answered by packs as well; it is not checked.
        scoring = self._scoring(self._settings)
        found = {place: answer for batch in scoring.score(requests) for place, answer in batch}
        return [(found[place].logprob, found[place].greedy) for place in range(len(requests))]

    # --- computing ---------------------------------------------------------------------------------------

    def _likelihoods(
        self, kind: str, requests: list[Any], pieces: list[list[Encoded]], disable_tqdm: bool
    ) -> list[Likelihood]:
        """Answer requests, each the sum over its pieces, and check a few."""
        self._note_truncated(sum(map(self._encoder.is_cut, pieces)))
        ids, scoring = self._ids(kind, requests), self._scoring(self._checks(requests))

        def compute(indices: list[int]) -> Iterator[list[tuple[int, Answer]]]:
            return scoring.compute(ids, pieces, indices)

        with self._reported(kind, requests, disable_tqdm) as done:
            answers = answer_all(ids, self._answers, compute, done)
        scoring.verify(ids, pieces, answers)
        self._note_checked(requests)
        return cast("list[Likelihood]", answers)

    def _checks(self, requests: list[Any]) -> EngineSettings:
        """Return the settings, with one check of each kind where the same weights' task was checked before.

        A sequential run asks for a task's documents in many small calls, each of which would be checked like a large
        one. Requests of no task are always checked in full.
        """
        settings = self._settings
        if not {request.task_name for request in requests} <= self._checked_tasks:
            return settings
        return replace(
            settings,
            checked_requests=min(1, settings.checked_requests),
            noise_requests=min(1, settings.noise_requests),
            checked_generations=min(1, settings.checked_generations),
        )

    def _note_checked(self, requests: list[Any]) -> None:
        self._checked_tasks.update(request.task_name for request in requests if request.task_name)

    def _scoring(self, settings: EngineSettings) -> Scoring:
        return Scoring(
            self.model,
            settings,
            self._sizes,
            max_length=self.max_length,
            ordinary=OrdinaryScoring(self),
            packed=not self._obstacle,
            check=self._check,
        )

    def _generate(
        self, requests: list[Any], prompts: list[Prompt | None], indices: list[int]
    ) -> Iterator[list[tuple[int, Answer]]]:
        own = [(index, prompt) for index in indices if (prompt := prompts[index]) is not None]
        limits = GenerationLimits(
            self._settings.generation_rows,
            self._settings.pass_bytes,
            self._sizes.pack_tokens,
            self._sizes.attention_block,
        )
        generator = GreedyGenerator(self.model, self.tokenizer, end_tokens(self.model), limits, self._check)
        for batch in generator.generate([prompt for _, prompt in own]):
            self._logits.update({own[place][0]: generator.logits_of(place) for place, _ in batch})
            yield [
                (own[place][0], Generated(text_of(self, tokens, own[place][1]), tokens))
                for place, tokens in batch
            ]
        others = [index for index in indices if prompts[index] is None]
        for index in self.in_order_of_hf(requests, others):
            with needed_memory("to generate for one prompt the ordinary way"):
                yield [(index, Generated(self.generate_alone(requests[index])))]

    def _note_truncated(self, count: int) -> None:
        """Keep, and say, that so many requests do not fit into the model's context."""
        if not count:
            return
        self._check.note_truncated(count)
        _LOG.warning(
            "%d requests are longer than the model's context of %d tokens and lose their beginning",
            count,
            self.max_length,
        )

    # --- identity, encoding, checks ----------------------------------------------------------------------

    def _ids(self, kind: str, requests: list[Any]) -> list[AnswerId]:
        seen: Counter[Any] = Counter()
        arguments = []
        for request in requests:
            asked = tuple(request.args)
            if kind == "generate_until" and is_sampled(asked[1]):
                # Asked several times, a sampled answer is another one each time.
                key = (asked[0], repr(asked[1]))
                seen[key] += 1
                asked = (*asked, seen[key])
            arguments.append(asked)
        return self.answer_ids(kind, arguments)

    def _answer_head(self) -> bytes:
        return answer_head(
            {
                "base": self._base_id,
                "weights": self._current,
                "engine": self.info().to_json(),
                "tokens": [self.max_length, self.add_bos_token, self.prefix_token_id, self.truncation],
                "options": self._options,
            }
        )

    @contextmanager
    def _reported(
        self, kind: str, requests: list[Any], disable_tqdm: bool
    ) -> Iterator[Callable[[int], None]]:
        """Give what is to be told of each request that is answered: a listener for documents, or lm-eval's bar."""
        if self._documents is not None:
            self._documents.expect([(request.task_name, request.doc_id) for request in requests])
            yield self._documents.done
            return
        hidden = disable_tqdm or self.rank != 0
        with tqdm(total=len(requests), disable=hidden, desc=f"Running {kind} requests") as bar:

            def done(_: int) -> None:
                bar.update()

            yield done

    def _obstacles(self) -> tuple[str, str]:
        """Return why scoring, and why generation, goes the ordinary way; "" where it does not."""
        if not self._settings.packed:
            return "packing is off", "packing is off"
        if self.mixed_precision_dtype is not None:
            return "mixed precision", "mixed precision"
        if self.backend != "causal":
            return f"a {self.backend} model", f"a {self.backend} model"
        packing = tree_mask_obstacle(self.model.config.get_text_config())
        generation = packing or greedy_obstacle(getattr(self.model, "generation_config", None))
        softmax = self.softmax_dtype or self.model.dtype
        if softmax != torch.float32:
            packing = packing or f"log-probabilities in {str(softmax).removeprefix('torch.')}"
        return packing, generation


@contextmanager
def _loading(pretrained: Any) -> Iterator[None]:
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # transformers and torch raise many kinds over a bad folder or argument
        name = pretrained if isinstance(pretrained, str) else type(pretrained).__name__
        raise UsageError(
            f"the base cannot be loaded from {name}: {type(error).__name__}: {error}",
            hint="give a model folder that can be reached from here, and arguments that lm-eval's hf model takes",
        ) from error


def is_sampled(arguments: Mapping[str, Any]) -> bool:
    """Return whether generation arguments of lm-eval's ask for random choices."""
    return bool(arguments.get("do_sample")) or float(arguments.get("temperature") or 0.0) > 0.0
