"""Whether pre-training in bfloat16 agrees with fp32 within seed noise: paired differences over seeds, and a verdict.

    python tests/studies/precision.py runs simclr ncp amoc

The yardstick is what other seeds alone would do: two means over as many seeds each, both of fp32, differ by less than
t sd sqrt(2 / n) in 95 % of cases (t of 2 (n - 1) degrees of freedom, sd over the seeds of fp32). A precision whose mean
difference is below that is one more seed, no more.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from scipy.stats import t

from bench.store import read_rows
from leaderboard.statistics.paired import paired_t

METRICS = ("sa", "ra_pgd20", "aa")


def seed_noise(values: pd.Series) -> float:
    """Half the width of the 95 % interval of the difference between two means over as many seeds as `values` has."""
    count = len(values)
    return float(t.ppf(0.975, 2 * (count - 1)) * values.std(ddof=1) * (2 / count) ** 0.5)


def lines(rows: pd.DataFrame, method: str, precision: str) -> list[str]:
    """A line per metric: both means, the paired difference with its 95 % interval, the seeds' noise, the verdict."""
    exact, other = (
        rows[rows["label"] == label].set_index("seed_pretrain").sort_index()
        for label in (method, f"{method}[precision={precision}]")
    )
    found = []
    for metric in METRICS:
        test, noise = paired_t(other[metric], exact[metric]), seed_noise(exact[metric])
        verdict = "agrees" if abs(test.mean_difference) <= noise else "DIFFERS"
        found.append(
            f"{method:8} {metric:9} {exact[metric].mean():6.2f} {other[metric].mean():6.2f} "
            f"{test.mean_difference:+6.2f} [{test.low:+.2f}, {test.high:+.2f}] noise {noise:.2f} {verdict}"
        )
    return found


if __name__ == "__main__":
    out, *methods = sys.argv[1:]
    results = read_rows(Path(out))
    table = [line for method in methods for line in lines(results, method, "bf16")]
    print("\n".join(table))
    sys.exit(any(line.endswith("DIFFERS") for line in table))
