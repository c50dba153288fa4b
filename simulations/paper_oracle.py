"""The arms of the paper's study that need no trained network: the true functions in the place of networks.

    python simulations/paper_oracle.py oracle  --out results/paper_oracle    # 17 minutes of a core
    python simulations/paper_oracle.py reverse --out results/paper_oracle    # 4 minutes
    python simulations/paper_oracle.py spacing --out results/paper_oracle    # half a minute
    python simulations/paper_oracle.py page    --out results/paper_oracle    # the tables of docs/paper_oracle.md

`oracle`: every estimator on the true, noise-free effects of all substitutions, beside the truth of the same loci.
`reverse`: effects of the outcome on the exposure, which are 0, before and after edits are given to the task that they
belong to; `spacing`: effects by the distance of the two motifs. Both with five members around the true functions.
"""

import argparse
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from page_blocks import fill_blocks
from paper_analysis import METHODS
from paper_oracle_page import blocks, draw_spacing
from paper_oracle_rounds import oracle_rows, reverse_rows, spacing_effects_of
from paper_rounds import SCENARIOS, Round, read_rows

from deepmr.io.files import atomic_path
from deepmr.report.spacing import Spacing, spacing_effects, spacing_heatmap
from deepmr.report.style import DPI
from deepmr.simulate.options import PRESETS, Scenario

log = logging.getLogger(__name__)
FAST = ("wald", "ivw", "ivw_random", "egger")  # hundredths of a second a round, all four
STRENGTHS = (1.0, 3.0, 10.0, 30.0)
N_SPACING, SPACING_SEED = 4000, 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Rounds of one scenario under one set of options.

    Attributes
    ----------
    rounds : in all, of the fast methods.
    slow : the first so many are of every method.
    """

    arm: str
    scenario: Scenario
    rounds: int
    slow: int

    @property
    def name(self) -> str:
        """File that keeps the rows."""
        return f"{self.arm}_{self.scenario}.tsv"

    def units(self) -> list[Round]:
        """Return the rounds."""
        changes = PRESETS.get(self.arm, {})
        first = Round(scenario=self.scenario, number=0, arm=self.arm, changes=changes, kinds=("both",))
        return [replace(first, number=k) for k in range(self.rounds)]


SETTINGS = (
    *(Setting(arm="main", scenario=scenario, rounds=500, slow=50) for scenario in SCENARIOS),
    *(Setting(arm="graded", scenario=scenario, rounds=500, slow=25) for scenario in ("unconfounded", "both")),
    *(Setting(arm="varying_confounder", scenario=scenario, rounds=500, slow=25) for scenario in ("sequence", "both")),
    *(Setting(arm="null", scenario=scenario, rounds=100, slow=0) for scenario in ("unconfounded", "both")),
)
REVERSE = tuple(Setting(arm="reverse", scenario=scenario, rounds=200, slow=0) for scenario in SCENARIOS)


SPACING = "spacing.tsv"


def methods_of(setting: Setting, number: int) -> dict[str, tuple[str, ...]]:
    """Return the methods of a round, by the rule of its instruments."""
    every = number < setting.slow
    graded = setting.arm == "graded"
    return {"relative": METHODS if every else FAST, "motif": METHODS if every and graded else FAST}


def compute(setting: Setting, out: Path) -> None:
    """Compute the rows of a setting, unless they are there."""
    path = out / setting.name
    if path.exists():
        return
    if setting.arm == "reverse":
        rows = [reverse_rows(unit) for unit in setting.units()]
    else:
        rows = [oracle_rows(unit, methods_of(setting, unit.number)) for unit in setting.units()]
    with atomic_path(path) as temporary:
        pd.concat(rows, ignore_index=True).to_csv(temporary, sep="\t", index=False, float_format="%.9g")
    log.info("%s", setting.name)


def spacing(out: Path) -> tuple[pd.DataFrame, Spacing]:
    """Pool the effects by the distance of the motifs, at several strengths, with the truth of the same loci beside."""
    effects, known = spacing_effects_of(STRENGTHS, n=N_SPACING, seed=SPACING_SEED)
    distances = known[["locus", "distance"]].drop_duplicates()
    found = spacing_effects(effects, distances, method="ivw")
    joined = effects.table.merge(known, on=["exposure", "locus"], suffixes=("", "_true"))
    truth = [
        joined[(joined["exposure"] == row["exposure"]) & joined["distance"].between(row["low"], row["high"])]
        for _, row in found.table.iterrows()
    ]
    table = found.table.assign(truth=[rows["beta_true"].mean() for rows in truth])
    with atomic_path(out / SPACING) as temporary:
        table.to_csv(temporary, sep="\t", index=False, float_format="%.9g")
    return table, found


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["oracle", "reverse", "spacing", "page"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder with paper_oracle.md, figures in img/")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("deepmr").setLevel(logging.WARNING)
    os.environ["OMP_NUM_THREADS"] = "1"
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if arguments.step in ("oracle", "reverse"):
        for setting in SETTINGS if arguments.step == "oracle" else REVERSE:
            compute(setting, out)
    elif arguments.step == "spacing":
        table, found = spacing(out)
        (arguments.docs / "img").mkdir(parents=True, exist_ok=True)
        draw_spacing(table, arguments.docs / "img" / "paper_spacing.png")
        spacing_heatmap(found, what="gap between the motifs (bases)").savefig(
            arguments.docs / "img" / "paper_spacing_heatmap.png", dpi=DPI
        )
    else:
        oracle, reverse = (
            pd.concat([read_rows(out / setting.name) for setting in part], ignore_index=True)
            for part in (SETTINGS, REVERSE)
        )
        fill_blocks(arguments.docs / "paper_oracle.md", blocks(oracle, reverse, read_rows(out / SPACING)))


if __name__ == "__main__":
    main()
