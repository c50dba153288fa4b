"""Draw the figures of README.md from the results of `deepmr demo`: `python docs/make_figures.py demo`."""

import sys
from pathlib import Path

import numpy as np

from deepmr.instruments.strength import select_instruments
from deepmr.io.effects import open_effects
from deepmr.io.tables import numbers, read_estimates, read_table
from deepmr.ism.members import pool_members
from deepmr.mr import estimate_effects
from deepmr.report.forest import forest
from deepmr.report.locus import locus_view
from deepmr.report.scatter import mr_scatter
from deepmr.types import MemberEffects

EXPOSURE, OUTCOME = "GATA", "TAL1"
OUT = Path(__file__).parent / "img"


def main(demo: Path) -> None:
    """Draw the pooled effects, and the locus whose instruments are strongest."""
    OUT.mkdir(exist_ok=True)
    truth = read_table(demo / "simulation" / "truth.tsv")
    truth["beta"] = numbers(demo / "simulation" / "truth.tsv", truth, "beta")
    truth = truth.groupby(["exposure", "outcome"], as_index=False)["beta"].mean()
    forest(read_estimates(demo / "meta.tsv"), truth=truth).savefig(OUT / "demo_forest.png", dpi=110)
    with open_effects(demo / "effects.h5") as effects:
        blocks = list(effects.blocks(10_000))
        stats = pool_members(MemberEffects(variants=blocks[0].variants, tasks=effects.tasks, delta=blocks[0].delta))
        instruments = select_instruments(stats, exposure=EXPOSURE, outcome=OUTCOME)
        strength = np.add.reduceat(
            np.abs(instruments.beta_exposure[:, 0]), instruments.offsets[:-1][instruments.counts > 0]
        )
        locus = np.asarray(instruments.loci)[instruments.counts > 0][strength.argmax()]
        members = effects.locus(str(locus))
        codes = effects.sequences.codes[effects.locus_row(str(locus))]
    names = [task.name for task in effects.tasks]
    view = locus_view(members.mean(axis=0), members.std(axis=0, ddof=1), codes, tasks=names)
    view.savefig(OUT / "demo_locus.png", dpi=110)
    scatter = mr_scatter([instruments], estimate_effects(instruments), locus=str(locus))
    scatter.savefig(OUT / "demo_scatter.png", dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
