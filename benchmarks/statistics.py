"""The rules of `placet.stats` on simulated adapters: how often they are wrong, what they can show, what they cost.

Four tables. *False verdicts*: adapters exactly as bad as a gate tolerates (or, for FAIL, barely better) and the share
of them that passes (fails), with a 99% Clopper-Pearson interval for the simulation's own error; the sequential rules
are looked at after every document. *Enumerated*: the same for the paired rule, summed over all outcomes at the worst
share of differing documents, so without any simulation error. *Power*: the paired rule against the exact
unconditional non-inferiority test of Hsueh, Liu & Chen (2001). *Documents used*: what share of a benchmark the
sequential rule takes.

What this does not show: documents that are not drawn at random, or scorers that err in a way nobody measured.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from placet.stats import exact
from placet.stats.judges import Calibration, corrected_rate
from placet.stats.mean import difference_bounds, mean_bounds
from placet.stats.multiplicity import holm
from placet.stats.planning import least_successes, most_successes, not_worse_power, score_power
from placet.stats.proportion import clopper_pearson, floor_p_value
from placet.stats.sequential import Claim, Kind, SequentialDesign
from placet.stats.simulation import simulate

ALPHA = 0.05
UNIT = (0.0, 1.0)
Rows = list[dict[str, Any]]
Random = np.random.Generator


# --- false verdicts -------------------------------------------------------------------------------------------------


def share_row(rule: str, adapters: str, wrong: int, runs: int, alpha: float | None = ALPHA) -> dict[str, Any]:
    bounds = clopper_pearson(int(wrong), runs, 0.005)
    return {
        "rule": rule,
        "adapters": adapters,
        "wrong": round(bounds.estimate, 4),
        "99%": [round(bounds.low, 4), round(bounds.high, 4)],
        "holds": None if alpha is None else bounds.low <= alpha,
    }


def fixed_rules(runs: int, random: Random) -> Iterator[dict[str, Any]]:
    for n, threshold in ((120, 0.8), (1000, 0.8)):
        right = random.binomial(n, threshold, runs)
        passed = right >= (least_successes(n, threshold) or n + 1)
        yield share_row("floor", f"n {n}, rate at the floor {threshold}", passed.sum(), runs)
        allowed = most_successes(n, 1 - threshold)
        passed = n - right <= (-1 if allowed is None else allowed)
        yield share_row("ceiling", f"n {n}, rate at the ceiling {1 - threshold:.1f}", passed.sum(), runs)
    for n, margin in ((200, 0.03), (380, 0.05), (2000, 0.03)):
        for discordance in (margin, 0.1, 0.4):
            table = random.multinomial(
                n, [(discordance - margin) / 2, (discordance + margin) / 2, 1 - discordance], runs
            )
            least = {m: exact.least_gained(int(m), n, margin) for m in np.unique(table[:, :2].sum(1))}
            wrong = sum(gained >= least[gained + lost] for gained, lost, _ in table)
            where = f"n {n}, loss at the margin {margin}, {discordance:g} differ"
            yield share_row("not worse, exact", where, wrong, runs)


def other_values(runs: int, random: Random) -> Iterator[dict[str, Any]]:
    def partly(size: int) -> np.ndarray:
        return np.where(random.random(size) < 0.9, 1.0, random.random(size))

    for n in (50, 200, 1000):
        wrong = sum(mean_bounds(partly(n).tolist(), within=UNIT).low > 0.95 for _ in range(runs))
        yield share_row("mean of [0, 1]", f"n {n}, nine in ten 1, mean at the floor 0.95", wrong, runs)
        wrong = 0
        for _ in range(runs):
            base = random.uniform(0.85, 0.95, n)
            kept = np.where(random.random(n) < 0.05, random.random(n), 1.0)
            adapter = base * kept + random.uniform(-0.01, 0.01, n) * (kept == 1.0)
            wrong += difference_bounds(adapter.tolist(), base.tolist(), within=UNIT).low > -0.0225
        yield share_row("difference of [0, 1]", f"n {n}, one in twenty collapses, loss 0.0225", wrong, runs)


def grouped_rules(runs: int, random: Random) -> Iterator[dict[str, Any]]:
    margin = 0.05
    cases = [
        (10, "all of 10", 0.1, 0.1),
        (15, "all of 10", 0.3, 0.3),
        (40, "all of 10", 0.1, 0.1),
        (40, "all of 10", 0.05, 0.3),
        (40, "geometric", 0.3, 0.3),
        (100, "all of 10", 0.05, 0.3),
        (100, "geometric", 0.1, 0.1),
        (100, "all of 10", 0.1, 0.0),
    ]
    for groups, kind, discordance, together in cases:
        wrong = sum(
            grouped_pass(groups, kind, discordance, together, -margin, margin, random) for _ in range(runs)
        )
        rule = "not worse, betting on groups" if groups < 20 else "not worse, cluster-robust"
        where = f"{groups} groups, {kind}, {discordance:g} differ, {together:g} of the groups as a whole"
        yield share_row(rule, where, wrong, runs)


def grouped_floors(runs: int, random: Random) -> Iterator[dict[str, Any]]:
    for groups, rate, together in ((25, 0.8, 0.3), (150, 0.8, 0.3), (150, 0.95, 0.3)):
        wrong = 0
        for _ in range(runs):
            labels = np.repeat(np.arange(groups), random.geometric(0.1, groups))
            whole, drawn = random.random(groups) < together, random.random(groups) < rate
            each = random.random(len(labels)) < rate
            values = np.where(whole[labels], drawn[labels], each).astype(float)
            wrong += mean_bounds(values.tolist(), groups=labels.tolist()).low > rate
        where = f"{groups} groups, geometric, rate at the floor {rate}, {together:g} of the groups as a whole"
        yield share_row("floor, cluster-robust", where, wrong, runs)


def grouped_pass(
    groups: int, kind: str, discordance: float, together: float, truth: float, margin: float, random: Random
) -> bool:
    sizes = np.full(groups, 10) if kind == "all of 10" else random.geometric(0.1, groups)
    gain, loss = (discordance + truth) / 2, (discordance - truth) / 2
    whole = random.random(groups) < together
    drawn = random.choice((1, -1, 0), p=(gain, loss, 1 - discordance), size=groups)
    labels = np.repeat(np.arange(groups), sizes)
    each = random.choice((1, -1, 0), p=(gain, loss, 1 - discordance), size=len(labels))
    change = np.where(whole[labels], drawn[labels], each)
    first, second = (change > 0).astype(float).tolist(), (change < 0).astype(float).tolist()
    largest = 10 if kind == "all of 10" else None  # geometric sizes have no end
    return (
        difference_bounds(first, second, within=UNIT, groups=labels.tolist(), largest=largest).low > -margin
    )


def unequal_groups(runs: int, random: Random) -> Iterator[dict[str, Any]]:
    """Floors where size goes with score: the rare large groups are the bad ones, and often none of them is met."""
    cases = ((15, 0.1, 20, 0.3, 2, 0.95), (18, 0.03, 30, 0.0, 1, 0.97), (60, 0.03, 30, 0.0, 1, 0.97))
    for groups, rare, large, bad, small, good in cases:
        size = rare * large + (1 - rare) * small
        floor = (rare * large * bad + (1 - rare) * small * good) / size
        wrong = 0
        for _ in range(runs):
            big = random.random(groups) < rare
            right = random.random(groups) < np.where(big, bad, good)
            labels = np.repeat(np.arange(groups), np.where(big, large, small))
            values = right[labels].astype(float).tolist()
            wrong += mean_bounds(values, within=UNIT, groups=labels.tolist(), largest=large).low > floor
        where = (
            f"{groups} groups, {rare:g} of them of {large} documents and {bad:g} right, the others of {small} and "
            f"{good:g}, mean at the floor {floor:.3f}"
        )
        yield share_row("floor, unequal groups, the largest size declared", where, wrong, runs)
    sizes, chances = np.array([20] * 2 + [2] * 13), np.array([0.3] * 2 + [0.95] * 13)
    documents = np.repeat(np.arange(15), sizes)
    floor = float(chances[documents].mean())
    for drawn in (66, 30, 15):
        wrong = 0
        for _ in range(runs):
            labels = random.permutation(documents)[:drawn]
            values = (random.random(15) < chances)[labels].astype(float).tolist()
            share = drawn / len(documents)
            held = mean_bounds(values, within=UNIT, groups=labels.tolist(), largest=20, drawn=share)
            wrong += held.low > floor
        where = f"{drawn} of 66 documents in 15 groups, 2 of 20 and 0.3 right, 13 of 2 and 0.95, mean at the floor"
        yield share_row("floor, betting on groups of a suite", where, wrong, runs)


def judged_rules(runs: int, random: Random) -> Iterator[dict[str, Any]]:
    for sensitivity, specificity, size in ((0.9, 0.95, 100), (0.6, 0.98, 100), (0.8, 0.8, 1000)):
        floor, n, wrong = 0.8, 200, 0
        flagged = floor * sensitivity + (1 - floor) * (1 - specificity)
        for _ in range(runs):
            judge = Calibration(
                int(random.binomial(size, sensitivity)), size, int(random.binomial(size, specificity)), size
            )
            wrong += corrected_rate(int(random.binomial(n, flagged)), n, judge).low > floor
        where = (
            f"n {n}, rate at the floor {floor}, Se {sensitivity}, Sp {specificity}, {size} + {size} judged"
        )
        yield share_row("floor, judge with errors", where, wrong, runs)
    right = random.binomial(150, 0.8, (runs, 5))
    wrong = sum(any(holm([partial(_passes_floor, int(x), 150, 0.8) for x in row])) for row in right)
    yield share_row("any of 5 subgroups, Holm", "n 150 each, all at the floor 0.8", wrong, runs)


def _passes_floor(ones: int, n: int, floor: float, alpha: float) -> bool:
    return floor_p_value(ones, n, floor) <= alpha


def sequential_rules(runs: int, random: Random) -> Iterator[dict[str, Any]]:
    size, margin = 2000, 0.03
    for discordance in (0.03, 0.1, 0.3):
        for loss, sign, verdict in ((60, 1, "PASS"), (59, -1, "FAIL")):
            lost = round(size * discordance / 2 + loss / 2)
            _, outcome = paired_runs(
                SequentialDesign(Kind.NOT_WORSE, margin, size), lost - loss, lost, runs, random
            )
            where = f"N {size}, {loss} lost net of margin 60, {discordance:g} differ: {verdict}"
            yield share_row("sequential, benchmark", where, (outcome == sign).sum(), runs)
    design = SequentialDesign(Kind.NOT_WORSE, margin, size)
    _, outcome = paired_runs(design, 70, 130, runs, random, accuracy=0.7)
    where = f"N {size}, loss at the margin, 0.1 differ, base's scores used: PASS"
    yield share_row("sequential, benchmark", where, (outcome == 1).sum(), runs)
    for discordance in (0.03, 0.1):
        open_end = SequentialDesign(Kind.NOT_WORSE, margin, size, claim=Claim.POPULATION)
        draws = partial(independent, ((discordance - margin) / 2, (discordance + margin) / 2), size)
        _, outcome = in_batches(open_end, draws, runs, random)
        where = f"up to {size}, loss at the margin {margin}, {discordance:g} differ: PASS"
        yield share_row("sequential, population", where, (outcome == 1).sum(), runs)
    for claim in Claim:
        design = SequentialDesign(Kind.FLOOR, 0.8, 500, claim=claim)
        population = np.array([1.0] * 399 + [0.0] * 101)
        draws = partial(
            shuffled if claim is Claim.BENCHMARK else resampled,
            population if claim is Claim.BENCHMARK else np.array([1.0] * 4 + [0.0]),
            500,
        )
        _, outcome = in_batches(design, draws, runs, random)
        where = "500 documents, rate at the floor 0.8 (399 of 500): PASS"
        yield share_row(f"sequential floor, {claim}", where, (outcome == 1).sum(), runs)


def peeking(runs: int, random: Random) -> Iterator[dict[str, Any]]:
    """What a fixed-sample rule does if it is looked at again and again: why the sequential rule is there."""
    size, margin, step = 2000, 0.03, 100
    values = independent((0.035, 0.065), size, runs, random)
    gained, lost = (values > 0).cumsum(1), (values < 0).cumsum(1)
    passed = np.zeros(runs, dtype=bool)
    for n in range(step, size + 1, step):
        b, m = gained[:, n - 1], gained[:, n - 1] + lost[:, n - 1]
        least = {int(k): exact.least_gained(int(k), n, margin) for k in np.unique(m)}
        passed |= b >= np.array([least[int(k)] for k in m])
    where = f"n {size}, loss at the margin {margin}, 0.1 differ, looked at every {step}"
    yield share_row("fixed rule, misused", where, passed.sum(), runs, alpha=None)


# --- simulated runs -------------------------------------------------------------------------------------------------


def shuffled(population: np.ndarray, size: int, runs: int, random: Random) -> np.ndarray:
    return random.permuted(np.tile(population, (runs, 1)), axis=1)[:, :size]


def resampled(population: np.ndarray, size: int, runs: int, random: Random) -> np.ndarray:
    return population[random.integers(0, len(population), size=(runs, size))]


def independent(chances: tuple[float, float], size: int, runs: int, random: Random) -> np.ndarray:
    u = random.random((runs, size))
    return np.where(u < chances[0], 1.0, np.where(u < sum(chances), -1.0, 0.0))


def in_batches(
    design: SequentialDesign, draw: Callable[[int, Random], np.ndarray], runs: int, random: Random
) -> tuple[np.ndarray, np.ndarray]:
    sizes = [min(2500, runs - start) for start in range(0, runs, 2500)]
    parts = [simulate(design, draw(size, random)) for size in sizes]
    return np.concatenate([used for used, _ in parts]), np.concatenate([outcome for _, outcome in parts])


def paired_runs(
    design: SequentialDesign, gained: int, lost: int, runs: int, random: Random, accuracy: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Run the test in random orders of a benchmark with so many gained and lost documents.

    With the base's `accuracy` its scores are used: losses are then among those it has right, gains among the others.
    """
    size = design.documents
    right = round(size * (accuracy or 0.5))
    change, base = np.zeros(size), np.zeros(size)
    base[:right], change[:lost], change[right : right + gained] = 1.0, -1.0, 1.0
    if accuracy is None:
        return in_batches(design, partial(shuffled, change, size), runs, random)
    informed = SequentialDesign(design.kind, design.limit, size, companions=tuple(base.tolist()))
    parts = []
    for start in range(0, runs, 2500):
        rows = min(2500, runs - start)
        order = random.permuted(np.tile(np.arange(size, dtype=np.int32), (rows, 1)), axis=1)
        parts.append(simulate(informed, change[order], base[order]))
    return np.concatenate([used for used, _ in parts]), np.concatenate([outcome for _, outcome in parts])


# --- the other tables -----------------------------------------------------------------------------------------------


def enumerated(_runs: int, _random: Random, sizes: list[int]) -> Rows:
    rows = []
    for n in sizes:
        for margin in (0.03, 0.05, 0.1):
            grid = [min(1.0, margin * (1 / margin) ** (step / 119)) for step in range(120)]
            rows.append(
                {
                    "n": n,
                    "margin": margin,
                    "exact rule": round(max(not_worse_power(n, margin, psi, -margin) for psi in grid), 4),
                    "Tango's score test": round(max(score_power(n, margin, psi, -margin) for psi in grid), 4),
                }
            )
    return rows


def reference_turning(n: int, margin: float) -> dict[int, int]:
    """Return the fewest gained of each number of discordant documents with which the reference test passes.

    Hsueh, Liu & Chen (2001): Tango's statistic, its critical value such that the largest error over every share of
    differing documents is just within alpha.
    """
    shares = [margin + (1 - margin) * (step / 400) ** 2 for step in range(401)]
    loose, strict = 1.5, 3.0
    for _ in range(16):
        middle = (loose + strict) / 2
        if max(exact._reach(n, -margin, middle, shares)) <= ALPHA:
            strict = middle
        else:
            loose = middle
    counts = np.arange(n + 1)
    return dict(enumerate(exact._turning(counts, n, -margin, strict).tolist()))


def power(_runs: int, _random: Random, sizes: list[int]) -> Rows:
    rows = []
    for n in sizes:
        for margin in (0.03, 0.05, 0.1):
            reference = reference_turning(n, margin)
            for discordance in (0.05, 0.1, 0.3):
                if discordance <= margin:
                    continue
                ours = not_worse_power(n, margin, discordance)
                theirs = summed_power(n, discordance, reference)
                rows.append(
                    {
                        "n": n,
                        "margin": margin,
                        "differ": discordance,
                        "rule": round(ours, 4),
                        "exact non-inferiority test": round(theirs, 4),
                        "points": round(100 * (ours - theirs), 2),
                    }
                )
    return rows


def summed_power(n: int, discordance: float, least: dict[int, int]) -> float:
    from scipy.stats import binom

    counts = np.arange(n + 1)
    tails = binom.sf(np.array([least[m] for m in range(n + 1)]) - 1, counts, 0.5)
    return float(binom.pmf(counts, n, discordance) @ tails)


def documents_used(runs: int, random: Random, _sizes: list[int]) -> Rows:
    rows = []
    limits = {"equal": 0.28, "one margin better": 0.10, "two margins worse": 0.25}
    cases = {"equal": (100, 100), "one margin better": (130, 70), "two margins worse": (40, 160)}
    for scores in (None, 0.5, 0.7, 0.85):
        for name, (gained, lost) in cases.items():
            design = SequentialDesign(Kind.NOT_WORSE, 0.03, 2000)
            used, outcome = paired_runs(design, gained, lost, runs, random, accuracy=scores)
            rows.append(used_row(name, "benchmark", scores, used, outcome, limits[name]))
    for name, (gained, lost) in cases.items():
        design = SequentialDesign(Kind.NOT_WORSE, 0.03, 2000, claim=Claim.POPULATION)
        draws = partial(independent, (gained / 2000, lost / 2000), 2000)
        used, outcome = in_batches(design, draws, runs, random)
        rows.append(used_row(name, "population", None, used, outcome, None))
    return rows


def used_row(
    name: str, claim: str, scores: float | None, used: Any, outcome: Any, limit: float | None
) -> dict[str, Any]:
    mean = float(used.mean()) / 2000
    return {
        "adapter": name,
        "claim": claim,
        "base's scores": "not used" if scores is None else f"used, accuracy {scores:g}",
        "share": round(mean, 4),
        "+-": round(2.58 * float(used.std()) / 2000 / math.sqrt(len(used)), 4),
        "median": round(float(np.median(used)) / 2000, 3),
        "PASS": round(float((outcome == 1).mean()), 4),
        "FAIL": round(float((outcome == -1).mean()), 4),
        "limit": limit,
        "holds": None if limit is None else mean <= limit,
    }


FALSE: dict[str, Callable[[int, Random], Iterator[dict[str, Any]]]] = {
    "fixed": fixed_rules,
    "sequential": sequential_rules,
    "groups": grouped_rules,
    "grouped floors": grouped_floors,
    "other values": other_values,
    "judges": judged_rules,
    "peeking": peeking,
    "unequal groups": unequal_groups,
}
TABLES: dict[str, Callable[[int, Random, list[int]], Rows]] = {
    "documents used": documents_used,
    "power": power,
    "enumerated": enumerated,
}


def show(title: str, rows: Rows) -> None:
    print(f"\n## {title}\n")
    heads = list(rows[0])
    cells = [[str(row[head]) for head in heads] for row in rows]
    widths = [max(len(head), *(len(row[i]) for row in cells)) for i, head in enumerate(heads)]
    print("  ".join(head.ljust(width) for head, width in zip(heads, widths, strict=True)))
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)), flush=True)


def main() -> None:
    """Run the benchmark and print tables, or JSON."""
    parts = (*FALSE, *TABLES)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=int, default=10_000, help="simulated adapters of each case (default 10,000)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default 1)")
    parser.add_argument(
        "--sizes", default="50,100,200,500,1000,2000", help="documents of the enumerated tables"
    )
    parser.add_argument("--only", default="", help=f"parts to run, of {', '.join(parts)} (default all)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    wanted = set(options.only.split(",")) if options.only else set(parts)
    if unknown := wanted - set(parts):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}")
    sizes = [int(size) for size in options.sizes.split(",")]
    results: dict[str, Any] = {"runs": options.runs, "seed": options.seed, "alpha": ALPHA}
    start = time.process_time()
    for number, (name, part) in enumerate(FALSE.items()):
        if name in wanted:
            # A part's random numbers do not depend on which others run.
            random = np.random.default_rng((options.seed, number))
            results.setdefault("false verdicts", []).extend(part(options.runs, random))
    for name, table in TABLES.items():
        if name in wanted:
            random = np.random.default_rng((options.seed, 7))
            results[name] = table(options.runs, random, sizes)
    results["cpu_s"] = round(time.process_time() - start, 1)
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for title, rows in results.items():
        if isinstance(rows, list):
            show(title, rows)
    print(f"\n{options.runs} adapters a case, {results['cpu_s']} CPU seconds")


if __name__ == "__main__":
    main()
