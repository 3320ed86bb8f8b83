"""Runs shards in processes of this machine.

Guarantees: a shard whose worker dies is given to a new worker once, and then fails by name; other shards go on, and
what is finished stays. Workers end with this process, however it ends: their input is then closed.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from placet.domain.errors import EvaluationError
from placet.domain.records import EngineInfo
from placet.engine.shards import Model, load_engine, write_model

_TRIES = 2
_DIED_HINT = "look for what killed it: most often the memory was full"


@dataclass(slots=True)
class _Round:
    """One call's shards: those that wait, how often each was tried, and what went wrong."""

    waiting: deque[str]
    done: Callable[[str], None]
    tries: dict[str, int] = field(default_factory=dict)
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)
    error: BaseException | None = None
    """What whoever listens raised."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class ProcessExecutor:
    """Runs shards with `workers` processes, each with its share of the machine's cores.

    Args:
        workers: How many; each loads the base.
        threads: torch's threads in each; the cores divided among the workers if not given.
    """

    def __init__(self, workers: int, threads: int | None = None) -> None:
        self.workers = workers
        self.threads = threads or max(1, (os.cpu_count() or 1) // workers)
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()

    def run(
        self, folder: Path, ids: Sequence[str], done: Callable[[str], None]
    ) -> dict[str, tuple[str, str]]:
        """Run shards `ids` of `folder`, calling `done` after each, and return those that failed: error and hint."""
        work = _Round(deque(ids), done)
        threads = [
            threading.Thread(target=self._serve, args=(folder, work), daemon=True)
            for _ in range(min(self.workers, len(ids)))
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)  # in steps, so that Ctrl-C is heard
        except BaseException:
            with work.lock:
                work.waiting.clear()
            self.close()
            raise
        if work.error is not None:
            raise work.error
        return work.failed

    def describe(self, folder: Path, model: Model) -> EngineInfo:
        """Return what computes the answers in a worker.

        Raises:
            EvaluationError: A worker cannot load the model.
        """
        model_id = write_model(folder, model)
        with self._worker() as worker:
            error = worker.run("describe", folder, model_id)
        if error is not None:
            raise EvaluationError(error[0], hint=error[1] or _DIED_HINT)
        return load_engine(folder, model_id)

    def close(self) -> None:
        """End the workers."""
        with self._lock:
            for worker in self._idle:
                worker.end()
            self._idle.clear()

    def _serve(self, folder: Path, work: _Round) -> None:
        with self._worker() as worker:
            while True:
                with work.lock:
                    if not work.waiting:
                        return
                    shard = work.waiting.popleft()
                    work.tries[shard] = work.tries.get(shard, 0) + 1
                error = worker.run("run", folder, shard)
                with work.lock:
                    if error is None:
                        if not _told(work, shard):
                            return
                    elif error[1] is None and work.tries[shard] < _TRIES:
                        work.waiting.append(shard)
                    else:
                        work.failed[shard] = (error[0], _DIED_HINT if error[1] is None else error[1])

    @contextlib.contextmanager
    def _worker(self) -> Iterator[_Worker]:
        with self._lock:
            worker = self._idle.pop() if self._idle else _Worker(self.threads)
        try:
            yield worker
        finally:
            with self._lock:
                self._idle.append(worker)


def _told(work: _Round, shard: str) -> bool:
    """Tell who listens that a shard is done; False, and nothing more is begun, if he raised."""
    try:
        work.done(shard)
    except BaseException as error:  # raised on by the thread that called
        work.error = work.error or error
        work.waiting.clear()
        return False
    return True


class _Worker:
    """One process, started when it is first needed and again after it died."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._process: subprocess.Popen[str] | None = None

    def run(self, word: str, folder: Path, name: str) -> tuple[str, str | None] | None:
        """Have a line done; return None, or what went wrong and a hint (None as the hint: the worker died)."""
        try:
            process = self._living()
            assert process.stdin is not None  # noqa: S101 - made with pipes
            assert process.stdout is not None  # noqa: S101
            process.stdin.write(json.dumps([word, str(folder), name]) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            code = self.end()
            return f"the worker that had to {word} {name[:12]} died ({_in_words(code)})", None
        try:
            answer = json.loads(line)
        except ValueError:  # it died in the middle of its answer
            return f"the worker that had to {word} {name[:12]} broke off ({_in_words(self.end())})", None
        return (answer["error"], answer.get("hint", "")) if "error" in answer else None

    def end(self) -> int | None:
        """Stop the process and return how it ended."""
        process, self._process = self._process, None
        if process is None:
            return None
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return process.returncode

    def _living(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is not None:
            self.end()
        if self._process is None:
            threads = str(self._threads)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "placet.executors.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
                text=True,
                # Ctrl-C is for whoever started the workers; it ends them.
                start_new_session=True,
            )
        return self._process


def _in_words(code: int | None) -> str:
    if code is None:
        return "it could not be started"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
