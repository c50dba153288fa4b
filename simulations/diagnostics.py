"""How often are verdicts right? `diagnose_pair` in both directions on effects of two marks of which the truth is known.

    python simulations/diagnostics.py --out results/diagnostics [--rounds 25] [--seed 2000] [--design small other]

`small` is the design on which the limits of `docs/diagnostics.md` were set, with seeds from 1000; the default seeds are
others. `other` is one that no limit was set on: more loci and members, two sites a mark, errors twice as large. Writes
a row a verdict with the findings behind it (<design>.tsv), and prints a Markdown table a design. Verdicts are also made
without the finding `mixture` (own instruments have less than half of the whole slope), to see what it does.
"""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from deepmr.instruments.strength import effect_scales, select_pairs
from deepmr.ism.members import pool_members
from deepmr.meta import pool_estimates
from deepmr.mr import estimate_effects
from deepmr.mr.diagnostics import Diagnosis, Evidence, diagnose_pair, locus_totals, relate
from deepmr.mr.diagnostics.verdict import conclude
from deepmr.simulate.marks import MARKS, simulate_marks

TRUTHS: dict[str, dict[str, Any]] = {
    "no effect": {},
    "X -> Y, 0.8": {"x_to_y": 0.8},
    "X -> Y, 0.2": {"x_to_y": 0.2},
    "X -> Y, 0.05, the size that does not matter": {"x_to_y": 0.05},
    "X -> Y, 0.8 x^2": {"x_to_y": 0.8, "bend": lambda size: size**2},
    "Y -> X, 0.8": {"y_to_x": 0.8},
    "X -> Y, 0.8, no sites of Y": {"x_to_y": 0.8, "y_sites": 0.0},
    "a third mark moves both": {"common": 1.0},
}
DESIGNS: dict[str, dict[str, Any]] = {
    "small": {},
    "other": {"n_loci": 60, "n_sites": 2, "n_members": 8, "noise": 0.04},
}
SHORT = {
    "; sites that move both are there, which a third mark may bind, or sites that overlap": ", but shared sites",
    ": shared instruments, so the direction is undecided": ": shared instruments",
}
N_DRAWS = 199


def main() -> None:
    """Run the rounds and write what was said."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--seed", type=int, default=2000)
    parser.add_argument("--design", nargs="+", default=list(DESIGNS), choices=list(DESIGNS))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for design in arguments.design:
        seeds = range(arguments.seed, arguments.seed + arguments.rounds)
        rows = [row for truth in TRUTHS for seed in seeds for row in one_round(design, truth, seed=seed)]
        table = pd.DataFrame(rows)
        table.to_csv(arguments.out / f"{design}.tsv", sep="\t", index=False)
        print(f"{design}\n\n{markdown(table)}\n", flush=True)


def one_round(design: str, truth: str, *, seed: int) -> list[dict[str, Any]]:
    """Return what is said of both directions of one simulated ensemble."""
    stats = pool_members(simulate_marks(**DESIGNS[design], **TRUTHS[truth], seed=seed))
    scales, loci = effect_scales([stats]), tuple(dict.fromkeys(stats.variants["locus"]))
    pairs = [MARKS, MARKS[::-1]]
    chosen = list(select_pairs([stats], pairs=pairs, scales=scales, loci=loci))
    totals = locus_totals([stats], loci=loci)
    found: list[Diagnosis] = []
    for one, other, (x, y) in zip(chosen, chosen[::-1], pairs, strict=True):
        local = estimate_effects(one, methods=["ivw"])
        evidence = Evidence(
            instruments=one,
            backward=other,
            totals=totals,
            background=stats,
            sizes=(scales[x].quantile, scales[y].quantile),
        )
        row = dict(pool_estimates(local).table.iloc[0])
        found.append(diagnose_pair(evidence, estimates=local, pooled=row, n_draws=N_DRAWS, seed=seed))
    both = relate(found[0].verdict, found[1].verdict)
    return [{"truth": truth, "seed": seed, "both": both} | said_of(one) for one in found]


def said_of(one: Diagnosis) -> dict[str, Any]:
    """Return a verdict, what it would be without the finding that edits of both marks are mixed, and its reasons."""
    given = one.verdict
    rest = [f for f in given.findings if f.check != "mixture"]
    unmixed = conclude(rest, exposure=given.exposure, outcome=given.outcome, estimand=given.estimand, row=None)
    names = {
        severity: " ".join(dict.fromkeys(f.check for f in given.findings if f.severity == severity))
        for severity in ("against", "undecided", "doubt")
    }
    judgements = {"judgement": given.judgement, "judgement_without_mixture": unmixed.judgement}
    return {"exposure": given.exposure, "outcome": given.outcome} | judgements | names


def markdown(table: pd.DataFrame) -> str:
    """Return a row a truth: how often either direction is supported, and what is said of both."""
    lines = [
        "| truth | X -> Y supported | Y -> X supported | said of both |",
        "|---|--:|--:|---|",
    ]
    for truth, rows in table.groupby("truth", sort=False):
        said = Counter(rows.loc[rows["exposure"] == MARKS[0], "both"].map(shortened))
        words = "; ".join(f"{text} ({n})" for text, n in said.most_common())
        cells = " | ".join(supported(rows[rows["exposure"] == mark]) for mark in MARKS)
        lines.append(f"| {truth} | {cells} | {words} |")
    return "\n".join(lines)


def supported(rows: pd.DataFrame) -> str:
    """Return how many verdicts support an effect, how many of these with doubts, and how many without `mixture`."""
    held, unmixed = (
        int(rows[column].str.startswith("supported").sum()) for column in ("judgement", "judgement_without_mixture")
    )
    doubtful = int((rows["judgement"] == "supported with doubts").sum())
    notes = [f"{doubtful} with doubts"] if doubtful else []
    notes += [f"{unmixed} without *mixture*"] if unmixed != held else []
    return f"{held} ({'; '.join(notes)})" if notes else f"{held}"


def shortened(sentence: str) -> str:
    """Return what is said of both directions in a few words."""
    text = sentence.removeprefix(f"{MARKS[0]} and {MARKS[1]}: ").removesuffix(".")
    for long, short in SHORT.items():
        text = text.replace(long, short)
    return text.replace("; ", ", and ")


if __name__ == "__main__":
    main()
