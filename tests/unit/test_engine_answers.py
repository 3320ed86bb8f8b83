"""Answers are found under their own id only, and a journal survives whatever kills its writer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from placet.domain.errors import StorageError
from placet.engine.answering import DocumentProgress, answer_all
from placet.engine.answers import (
    Answer,
    AnswerId,
    AnswerStore,
    Generated,
    JournalAnswers,
    Likelihood,
    MemoryAnswers,
    RecordedAnswers,
    answer_head,
    answer_id,
)

A, B, C = (AnswerId(letter * 64) for letter in "abc")
SCORE = Likelihood(-1.2345678901234567, True)
TEXT = Generated("höflich \ud83d\n", (5, 6))


@pytest.fixture(params=["memory", "journal"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> AnswerStore:
    return MemoryAnswers() if request.param == "memory" else JournalAnswers(tmp_path / "answers.jsonl")


def test_a_store_gives_back_what_was_put(store: AnswerStore) -> None:
    store.put([(A, SCORE), (B, TEXT)])
    store.put([(A, SCORE)])
    assert (store.get(A), store.get(B), store.get(C)) == (SCORE, TEXT, None)


def test_a_journal_is_read_again_exactly(tmp_path: Path) -> None:
    with JournalAnswers(tmp_path / "j" / "answers.jsonl") as journal:
        journal.put([(A, SCORE), (B, TEXT)])
    again = JournalAnswers(tmp_path / "j" / "answers.jsonl")
    assert (again.get(A), again.get(B), again.damaged_lines) == (SCORE, TEXT, 0)


@pytest.mark.parametrize("kept", range(1, 140, 23))
def test_a_torn_last_line_is_dropped_and_the_next_answers_are_whole(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "answers.jsonl"
    with JournalAnswers(path) as journal:
        journal.put([(A, SCORE)])
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:kept])
    with JournalAnswers(path) as journal:
        assert (len(journal), journal.damaged_lines) == (1, 1)
        journal.put([(B, TEXT)])
    again = JournalAnswers(path)
    assert (again.get(A), again.get(B)) == (SCORE, TEXT)


def test_an_edited_line_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with JournalAnswers(path) as journal:
        journal.put([(A, SCORE)])
    path.write_bytes(path.read_bytes().replace(b"-1.23", b"-0.23"))
    assert JournalAnswers(path).get(A) is None


def test_a_journal_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as caught:
        JournalAnswers(tmp_path / "file" / "answers.jsonl").put([(A, SCORE)])
    assert caught.value.hint


def test_an_id_depends_on_everything_that_makes_the_answer() -> None:
    head = answer_head({"base": "b", "weights": None, "engine": {"version": "1"}})
    other = answer_head({"base": "b", "weights": "w", "engine": {"version": "1"}})
    requests = [
        ("loglikelihood", ("a", "b")),
        ("loglikelihood", ("ab", "")),
        ("generate_until", ("a", {"until": ["\n"], "temperature": 0.0})),
        ("generate_until", ("a", {"until": ["\n"], "temperature": 0.5})),
    ]
    ids = {answer_id(h, kind, request) for h in (head, other) for kind, request in requests}
    assert len(ids) == 2 * len(requests)


def test_distinct_requests_are_computed_once_stored_first_and_then_reported() -> None:
    store, events = MemoryAnswers(), []

    def compute(indices: list[int]) -> Iterator[list[tuple[int, Answer]]]:
        events.append(("compute", indices))
        for index in reversed(indices):
            yield [(index, Likelihood(float(index), False))]

    def done(index: int) -> None:
        events.append(("done", index, len(store)))

    store.put([(B, SCORE)])
    answers = answer_all([A, B, A, C], store, compute, done)
    assert answers == [Likelihood(0.0, False), SCORE, Likelihood(0.0, False), Likelihood(3.0, False)]
    assert events == [
        ("done", 1, 1),
        ("compute", [0, 3]),
        ("done", 3, 2),
        ("done", 0, 3),
        ("done", 2, 3),
    ]


def test_a_killed_run_resumes_where_it_stopped(tmp_path: Path) -> None:
    path, computed = tmp_path / "answers.jsonl", []

    def compute(indices: list[int]) -> Iterator[list[tuple[int, Answer]]]:
        for index in indices:
            if len(computed) == 2:
                raise KeyboardInterrupt
            computed.append(index)
            yield [(index, SCORE)]

    with pytest.raises(KeyboardInterrupt):
        answer_all([A, B, C], JournalAnswers(path), compute, lambda _: None)
    first, computed[:] = list(computed), []
    answer_all([A, B, C], JournalAnswers(path), compute, lambda _: None)
    assert (first, computed) == ([0, 1], [2])


def test_a_document_is_done_when_all_its_requests_are() -> None:
    class Listener:
        total = 0

        def advance(self, step: str, count: int = 1) -> None:
            self.total += count

    listener = Listener()
    documents = DocumentProgress(listener, "suite on base")  # type: ignore[arg-type]
    documents.expect(["x", "x", "y"])
    seen = []
    for index in (0, 2, 1):
        documents.done(index)
        seen.append(listener.total)
    assert seen == [0, 1, 2]


# --- answers out of records ----------------------------------------------------------------------------------


def test_only_records_that_gave_an_answer_are_named() -> None:
    answers = RecordedAnswers(MemoryAnswers())
    answers.add("r3", [(C, SCORE)])
    answers.add("r1", [(A, SCORE)])
    answers.add("r2", [(A, Likelihood(-9.0, False)), (B, TEXT)])
    assert answers.used == ()
    assert answers.get(A) == SCORE, "of several records the first that was offered answers"
    assert answers.used == ("r1",)
    assert (answers.get(B), answers.get(A)) == (TEXT, SCORE)
    assert answers.used == ("r1", "r2")


def test_an_answer_of_the_interrupted_run_is_nobodys_record() -> None:
    store = MemoryAnswers()
    store.put([(A, SCORE)])
    answers = RecordedAnswers(store)
    answers.add("r1", [(B, TEXT)])
    assert (answers.get(A), answers.get(C), answers.used) == (SCORE, None, ())


def test_what_is_on_record_is_not_written_to_the_journal_and_what_is_new_is(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    computed = []

    def compute(indices: list[int]) -> Iterator[list[tuple[int, Answer]]]:
        computed.extend(indices)
        yield [(index, Likelihood(float(index), False)) for index in indices]

    with JournalAnswers(path) as journal:
        answers = RecordedAnswers(journal)
        answers.add("r1", [(A, SCORE)])
        assert answer_all([A, B, A], answers, compute, lambda _: None)[0] == SCORE
    again = JournalAnswers(path)
    assert (computed, answers.used) == ([1], ("r1",))
    assert (again.get(A), again.get(B)) == (None, Likelihood(1.0, False))


def test_where_every_answer_is_on_record_no_journal_is_made(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    answers = RecordedAnswers(JournalAnswers(path))
    answers.add("r1", [(A, SCORE)])
    answer_all([A, A], answers, lambda _: iter(()), lambda _: None)
    assert not path.exists()
