"""Stop as soon as it is decided: a test that may be looked at after every document.

Guarantees: of a metric that is known to lie in [0, 1], whatever the adapter, and whenever and for whatever reason the
run stops, a harmful adapter passes with probability at most `alpha`, and a harmless one fails with probability at most
`alpha`. That the values seen lie there is not enough: whoever asks has to know it of those that could come. A test
that has ended takes no more values; the same values give the same state, so an auditor can replay it. No clock, no
randomness.

What "harmful" is about is the :class:`Claim` and is part of the result:

- ``BENCHMARK``: the mean over this very benchmark's documents, if the order is a uniformly random one of all of them.
  Nothing is assumed of the documents; they may come in groups. With the last document the mean is known, so a
  run to the end is decided.
- ``POPULATION``: the mean over all documents that could have been written, of which these are independent samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from placet.domain.errors import UsageError
from placet.domain.records import Outcome
from placet.stats.betting import Bet, Prior, Process, capital_under, prior_around
from placet.stats.bounds import Bounds, require_alpha

METHODS = {
    "benchmark": "betting, without replacement, any stopping time",
    "population": "betting, any stopping time",
}
_BISECTIONS = 50


class Claim(StrEnum):
    """What a sequential verdict speaks about."""

    BENCHMARK = "benchmark"
    POPULATION = "population"


class Kind(StrEnum):
    """What is asked of the mean; see `placet.stats.noninferiority`."""

    NOT_WORSE = "not_worse"
    FLOOR = "floor"
    CEILING = "ceiling"


class SequenceEndedError(UsageError):
    """A value was handed to a test that has ended: there is no second test after a failed early stop."""


@dataclass(frozen=True, slots=True)
class SequentialDesign:
    """Everything about a sequential test that is fixed before its first document; belongs into the plan.

    Attributes:
        kind: What is asked.
        limit: The margin (``NOT_WORSE``, in [0, 1)) or the threshold (``FLOOR``, ``CEILING``, in [0, 1]).
        documents: Documents of the benchmark: the N that the claim ``BENCHMARK`` is about.
        planned: How many of them may be run at most; None: all.
        alpha: Probability of a wrong PASS at most, and of a wrong FAIL at most.
        claim: What the verdict is about.
        expected: Difference (``NOT_WORSE``) or mean (others) that the author expects. It decides how the bets
            are spread and so how soon a test ends, never its error. None: no difference; for a floor or
            ceiling nothing in particular.
        discordance: Share of documents expected to be answered differently; only for ``NOT_WORSE``, and again
            without any influence on the error.
        companions: The base's own values of all `documents`, in the order of the run, known before it: they
            take off the part of the variance that they explain. Only for ``NOT_WORSE`` and the claim
            ``BENCHMARK``.

    Raises:
        ValueError: A field is out of range, or companions do not fit.
    """

    kind: Kind
    limit: float
    documents: int
    planned: int | None = None
    alpha: float = 0.05
    claim: Claim = Claim.BENCHMARK
    expected: float | None = None
    discordance: float = 0.1
    companions: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        require_alpha(self.alpha)
        top = 1.0 if self.kind is not Kind.NOT_WORSE else math.nextafter(1.0, 0.0)
        if not 0.0 <= self.limit <= top:
            raise ValueError(f"the limit of {self.kind} cannot be {self.limit}")
        if self.documents < 1:
            raise ValueError(f"a benchmark has at least one document, not {self.documents}")
        if self.planned is not None and not 1 <= self.planned <= self.documents:
            raise ValueError(f"cannot run {self.planned} of {self.documents} documents")
        if not 0.0 < self.discordance <= 1.0:
            raise ValueError(f"discordance must be in (0, 1], not {self.discordance}")
        if self.companions is None:
            return
        if self.kind is not Kind.NOT_WORSE or self.claim is not Claim.BENCHMARK:
            raise ValueError(
                "companions serve differences on a finite benchmark, over which their mean is known"
            )
        if len(self.companions) != self.documents or not all(map(math.isfinite, self.companions)):
            raise ValueError(f"companions must be {self.documents} finite numbers, one for each document")

    @property
    def most(self) -> int:
        """How many documents are run at most."""
        return self.documents if self.planned is None else self.planned

    @property
    def low(self) -> float:
        """Least possible value."""
        return -1.0 if self.kind is Kind.NOT_WORSE else 0.0

    @property
    def boundary(self) -> float:
        """The mean at which harm begins: minus the margin, or the threshold."""
        return -self.limit if self.kind is Kind.NOT_WORSE else self.limit

    def prior(self) -> Prior:
        """Return how the bets are spread over the distances between the mean and the boundary."""
        if self.kind is Kind.NOT_WORSE:
            variance = max(self.discordance, self.limit)
            expected: float | None = self.expected or 0.0
        else:
            edge = min(max(self.limit, 0.01), 0.99)
            variance = edge * (1.0 - edge)
            expected = self.expected
        # On a benchmark, the distance that is settled about halfway through it.
        halfway = math.sqrt(2.0 * variance * math.log(1.0 / self.alpha) / self.most)
        if expected is None:
            return prior_around(halfway, variance, spread=0.8)
        return prior_around(max(abs(expected - self.boundary), halfway / 2.0), variance)


@dataclass(frozen=True, slots=True)
class Step:
    """The state after a document.

    Attributes:
        n: Documents seen.
        e_pass: Evidence against harm: the capital of the side that bets on PASS; infinite if harm is ruled out.
        e_fail: Evidence against harmlessness, likewise.
    """

    n: int
    e_pass: float
    e_fail: float


@dataclass(frozen=True, slots=True)
class SequentialResult:
    """How a sequential test stands or has ended.

    Attributes:
        outcome: PASS, FAIL, or INCONCLUSIVE (also while it could go on).
        claim: What the outcome is about.
        used: Documents that it rests on.
        planned: Documents it could have used.
        e_pass: The evidence for PASS, an e-value; infinite if certain.
        e_fail: The evidence for FAIL, an e-value; infinite if certain.
        interval: Bounds that hold at any stopping time, each with error `alpha`.
        path: The state after each document.
    """

    outcome: Outcome
    claim: Claim
    used: int
    planned: int
    e_pass: float
    e_fail: float
    interval: Bounds
    path: tuple[Step, ...]


class SequentialTest:
    """One sequential test, from its first document to its end. Values come in the order of the plan.

    Args:
        design: Fixed beforehand.
    """

    def __init__(self, design: SequentialDesign) -> None:
        self.design = design
        self._turn = -1.0 if design.kind is Kind.CEILING else 1.0
        low, high = sorted((self._turn * design.low, self._turn))
        self._low, self._high = low, high
        self._boundary = self._turn * design.boundary
        self._process = Process(
            self._boundary,
            low,
            high,
            design.alpha,
            design.documents if design.claim is Claim.BENCHMARK else None,
            design.prior(),
            design.companions,
        )
        self._bets: tuple[list[Bet], list[Bet]] = ([], [])
        self._path: list[Step] = []
        self._exact = Fraction(0)
        self._outcome = Outcome.INCONCLUSIVE
        self._ended = False

    @property
    def outcome(self) -> Outcome:
        """PASS or FAIL once decided, else INCONCLUSIVE."""
        return self._outcome

    @property
    def ended(self) -> bool:
        """Whether it takes no more values: decided, or at its last document."""
        return self._ended

    @property
    def used(self) -> int:
        """Documents seen."""
        return len(self._path)

    @property
    def path(self) -> tuple[Step, ...]:
        """The state after each document."""
        return tuple(self._path)

    @property
    def e_pass(self) -> float:
        """The evidence for PASS, an e-value: PASS when it reaches ``1 / alpha``, infinite if certain."""
        return self._path[-1].e_pass if self._path else 1.0

    @property
    def e_fail(self) -> float:
        """The evidence for FAIL, an e-value: FAIL when it reaches ``1 / alpha``, infinite if certain."""
        return self._path[-1].e_fail if self._path else 1.0

    def update(self, value: float) -> Outcome:
        """Take the next document's value: a difference in [-1, 1], or a value in [0, 1].

        Returns:
            The outcome after it.

        Raises:
            SequenceEndedError: The test has ended.
            ValueError: The value is out of range.
        """
        if self._ended:
            raise SequenceEndedError(
                f"the sequential test ended with {self._outcome} after {self.used} documents and takes no more",
                hint="a decided test stands; measure again under a new plan, which will be accounted for too",
            )
        if not self.design.low <= value <= 1.0:
            raise ValueError(f"a value of {self.design.kind} is in [{self.design.low:g}, 1], not {value}")
        companions = self.design.companions
        turned = self._turn * value
        above, below = self._process.step(turned, companions[self.used] if companions else 0.0)
        self._bets[0].append(above)
        self._bets[1].append(below)
        self._exact += Fraction(turned)
        e_pass, e_fail = self._process.above.capital, self._process.below.capital
        if self.design.claim is Claim.BENCHMARK:
            certain = self._certainty()
            e_pass = math.inf if certain is Outcome.PASS else e_pass
            e_fail = math.inf if certain is Outcome.FAIL else e_fail
        self._path.append(Step(self.used + 1, e_pass, e_fail))
        goal = 1.0 / self.design.alpha
        if e_pass >= goal:
            self._outcome = Outcome.PASS
        elif e_fail >= goal:
            self._outcome = Outcome.FAIL
        self._ended = self._outcome is not Outcome.INCONCLUSIVE or self.used == self.design.most
        return self._outcome

    def interval(self) -> Bounds:
        """Return the bounds of the mean (or mean difference) that hold at any stopping time.

        They agree with the outcome: PASS if and only if the boundary lies beyond the harmless side's bound.

        Raises:
            ValueError: No value was seen yet.
        """
        if not self._path:
            raise ValueError("no values")
        n = self.used
        estimate = float(self._exact / n)
        finite = self.design.claim is Claim.BENCHMARK
        size = self.design.documents
        low, high = self._low, self._high
        if finite:
            low = float((self._exact + Fraction(self._low) * (size - n)) / size)
            high = float((self._exact + Fraction(self._high) * (size - n)) / size)
        if low < high:
            low = max(low, self._bound(self._bets[0], self._low, self._high, estimate))
            high = min(high, -self._bound(self._bets[1], -self._high, -self._low, -estimate))
        low, high = min(low, estimate), max(high, estimate)
        if self._turn < 0:
            estimate, low, high = -estimate, -high, -low
        return Bounds(estimate, low, high, self.design.alpha, METHODS[self.design.claim], n)

    def result(self) -> SequentialResult:
        """Return how the test stands.

        Raises:
            ValueError: No value was seen yet.
        """
        return SequentialResult(
            self._outcome,
            self.design.claim,
            self.used,
            self.design.most,
            self.e_pass,
            self.e_fail,
            self.interval(),
            self.path,
        )

    def _certainty(self) -> Outcome | None:
        """Return what is certain of the finite benchmark, whatever the values not seen would be."""
        size, left = self.design.documents, self.design.documents - self._process.count
        target = Fraction(repr(self._boundary)) * size
        least = self._exact + Fraction(self._low) * left
        most = self._exact + Fraction(self._high) * left
        if least > target or (least == target and self.design.kind is not Kind.NOT_WORSE):
            return Outcome.PASS
        if most < target or (most == target and self.design.kind is Kind.NOT_WORSE):
            return Outcome.FAIL
        return None

    def _bound(self, bets: list[Bet], low: float, high: float, estimate: float) -> float:
        population = self.design.documents if self.design.claim is Claim.BENCHMARK else None
        goal = 1.0 / self.design.alpha
        rejected, kept = low, estimate
        for _ in range(_BISECTIONS):
            middle = (rejected + kept) / 2.0
            if capital_under(bets, middle, population, low, high) >= goal:
                rejected = middle
            else:
                kept = middle
        return rejected


def decide(design: SequentialDesign, values: Iterable[float]) -> SequentialResult:
    """Return what the test says of `values`, which come in the order of the plan; for verdicts and for auditors.

    It stops at the first document that decides; values after it, which a run in batches may have, do not count.
    `used` says how many did.

    Raises:
        ValueError: No values, or more than planned before it is decided, or one out of range.
    """
    test = SequentialTest(design)
    for value in values:
        test.update(value)
        if test.ended:
            break
    return test.result()
