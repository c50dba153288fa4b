"""What do intervals from ensemble members hold? Ensembles drawn around a known truth (`deepmr.simulate.members`).

    python simulations/intervals.py --out results/intervals [--rounds 400] [--members 2 3 5 10]

A round is one ensemble at 100 loci. For every kind of interval: how often it holds the effect that endlessly many
networks would show (limit) and the one that one more network shows (another), at single loci and in the mean over
them, and how wide it is. Prints a markdown table and writes a tab-separated one.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from deepmr.inference import MemberInterval
from deepmr.meta import global_intervals
from deepmr.mr.gls import ivw_gls
from deepmr.mr.intervals import member_intervals
from deepmr.mr.ivw import ivw
from deepmr.mr.resampling import jackknife_members, member_slopes
from deepmr.simulate.members import MemberRun, simulate_members
from deepmr.types import Estimates

SETTINGS: dict[str, dict[str, float]] = {
    "usual": {},
    "no effect": {"beta": 0.0},
    "no error common to loci": {"across": 0.0},
    "all error common to loci": {"across": 1.0, "within": 0.0, "uneven": 0.0},
    "weak": {"error": 0.35, "across": 0.1, "within": 0.2},
}
KINDS: tuple[MemberInterval, ...] = ("moderated", "members", "rubin", "mean", "jackknife", "paired_sd", "gls")


def main() -> None:
    """Run every setting and number of members; print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--members", type=int, nargs="+", default=[2, 3, 5, 10])
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for setting in arguments.settings:
        for members in arguments.members if setting == "usual" else [5]:
            found = study(members, rounds=arguments.rounds, **SETTINGS[setting])
            rows.append(found.reset_index(names="kind").assign(setting=setting, members=members))
            print(markdown(setting, members, found), flush=True)
    pd.concat(rows, ignore_index=True).to_csv(arguments.out / "intervals.tsv", sep="\t", index=False)


def study(members: int, *, rounds: int, seed: int = 0, **setting: float) -> pd.DataFrame:
    """Return a row a kind: coverage of both targets, locally and globally, and widths; P < 0.05 where beta is 0."""
    found = []
    for number in range(rounds):
        run = simulate_members(n_members=members, seed=seed + number, **setting)
        for kind, (local, pooled) in intervals_of(run).items():
            found.append({"kind": kind, **score(run, local, pooled)})
    return pd.DataFrame(found).groupby("kind", sort=False).mean()


def intervals_of(run: MemberRun) -> dict[str, tuple[Estimates, Estimates]]:
    """Return local and pooled estimates of one run with every kind of interval."""
    given, k = run.instruments, len(run.instruments.error_factors)
    plain, slopes = ivw(given), member_slopes(given, ivw)
    special = {"gls": ivw_gls(given, weights="joint")}
    if k > 2:
        special["jackknife"] = jackknife_members(given, ivw)
    found = {}
    for kind in KINDS:
        if kind == "jackknife" and k < 3:
            continue
        raw = special.get(kind, plain)
        found[str(kind)] = (member_intervals(raw, kind=kind), global_intervals(raw, kind=kind))
    found["moderated, member slopes"] = (member_intervals(slopes), global_intervals(slopes))
    found["members, member slopes"] = (member_intervals(slopes, kind="members"), global_intervals(slopes))
    return found


def score(run: MemberRun, local: Estimates, pooled: Estimates) -> dict[str, float]:
    """Return what one round's intervals hold."""
    one, all_ = local.table, pooled.table.iloc[0]
    at = pd.Index(run.instruments.loci).get_indexer(pd.Index(one["locus"]))
    low, high = one["ci_low"].to_numpy(float), one["ci_high"].to_numpy(float)
    held = {}
    for name in ("limit", "another"):
        target = getattr(run, name)
        held[f"local {name}"] = float(np.mean((low <= target[at]) & (target[at] <= high)))
        held[f"global {name}"] = float(all_["ci_low"] <= target.mean() <= all_["ci_high"])
    return held | {
        "local width": float(np.median(high - low)),
        "global width": float(all_["ci_high"] - all_["ci_low"]),
        "bias": float(all_["beta"] - run.limit.mean()),
    }


def markdown(setting: str, members: int, found: pd.DataFrame) -> str:
    """Return the table of one setting."""
    lines = [f"\n{setting}, {members} members\n", "| kind | " + " | ".join(found.columns) + " |"]
    lines.append("|---|" + "--:|" * len(found.columns))
    for kind, row in found.iterrows():
        shares = [str(name).endswith(("limit", "another")) for name in row.index]
        cells = [f"{100 * v:.1f}" if share else f"{v:.3g}" for v, share in zip(row, shares, strict=True)]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
