"""Whether the methods beat the control in `aa` (paired t by seed, Holm over the methods), and every row is in order.

    python tests/studies/control.py runs simclr ncp amoc

Prints the tests, the rows in which an image is robust but not clean-correct, and those in which AutoAttack leaves more
images right than PGD-20.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd

from bench.store import Store, read_rows
from leaderboard.statistics.paired import holm, paired_t


def against_control(rows: pd.DataFrame, control: str, methods: list[str]) -> None:
    """Print a line per method: mean difference in points, 95 % interval, p and adjusted p."""
    aa = {label: rows[rows["label"] == label].set_index("seed_pretrain")["aa"] for label in (control, *methods)}
    tests = [paired_t(aa[method], aa[control]) for method in methods]
    for method, test, p in zip(methods, tests, holm([test.p for test in tests]), strict=True):
        interval = f"[{test.low:.2f}, {test.high:.2f}]"
        print(f"{method} - {control}: {test.mean_difference:+.2f} {interval}, p {test.p:.2g}, Holm {p:.2g}")


def in_order(rows: pd.DataFrame, store: Store) -> None:
    """Print what contradicts that robust images are clean-correct and that AutoAttack is the stronger attack."""
    for row in rows.to_dict("records"):
        right = {name: store.outcomes(key) for name, key in json.loads(row["outcomes"]).items()}
        strays = int((right["autoattack"] & ~right["clean"]).sum() + (right["pgd20"] & ~right["clean"]).sum())
        excess = int(right["autoattack"].sum()) - int(right["pgd20"].sum())
        if strays or excess > 0:
            print(f"{row['label']} seed {row['seed_pretrain']}: {strays} strays, AutoAttack leaves {excess} more")
    print(f"{len(rows)} rows looked at")


if __name__ == "__main__":
    out, control, *methods = sys.argv[1:]
    rows = read_rows(Path(out))
    against_control(rows, control, methods)
    in_order(rows[rows["label"].isin([control, *methods])], Store.existing(out))
