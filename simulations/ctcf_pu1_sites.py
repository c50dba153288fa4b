"""Which sites drive the effects of `ctcf_pu1.py`: seqlets named by their motif, and the effect by each kind of site."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepmr.commands.chosen import choose_instruments
from deepmr.commands.source import open_source
from deepmr.instruments.strength import Selection
from deepmr.io.calibration import read_calibration
from deepmr.io.tables import read_table
from deepmr.meta import pool_estimates
from deepmr.mr import METHODS
from deepmr.report.style import CYCLE, DPI, GRID, MUTED, WIDTH, new_figure, settle, styled
from deepmr.types import ALPHABET

# Bases allowed at each position of the core, and how many may differ: each is met by chance at about 2 % of seqlets.
MOTIFS = {
    "CTCF": (("C", "C", "A", "CG", "CT", "A", "G", "AG", "GT", "G", "G", "C"), 2),
    "PU.1": (("G", "A", "G", "G", "A", "A", "G", "T"), 1),
}
SAID = {
    "CTCF site": "edits of\nCTCF sites",
    "PU.1 site": "edits of\nPU.1 sites",
    "other site": "edits of\nother seqlets",
}
SAID |= {"in no site": "edits in\nno seqlet", "all": "all edits"}
KINDS = tuple(SAID)
BESIDE = 8  # bases on either side of a seqlet in which the core may lie
FEW = 10  # loci
FAMILY = 5  # seqlets from which on a family is named as one
COLUMNS = ("policy", "exposure", "outcome", "site", "n", "loci", "share", "beta", "ci_low", "ci_high")


def mismatches(codes: np.ndarray, motif: Sequence[str]) -> np.ndarray:
    """Return the fewest mismatches of a motif at every place of a sequence, on the better strand."""
    wrong = np.array([[base not in allowed for base in ALPHABET] for allowed in motif])
    windows = np.lib.stride_tricks.sliding_window_view(codes, len(motif))
    place = np.arange(len(motif))
    both = [table[place, np.minimum(windows, 3)].sum(axis=1) for table in (wrong, wrong[::-1, ::-1])]
    return np.minimum(*both)


def name_seqlets(table: pd.DataFrame, codes: Mapping[str, np.ndarray]) -> pd.Series:
    """Name every seqlet as a site of CTCF, of PU.1 or of neither: by its family's majority, or its own match.

    Parameters
    ----------
    table : of `deepmr seqlets`, numbers as numbers.
    codes : bases of each locus, A, C, G, T as 0 to 3.
    """
    found = {}
    for name, (motif, most) in MOTIFS.items():
        best = []
        for locus, start, end in zip(table["locus"], table["start"], table["end"], strict=True):
            around = codes[locus][max(0, start - BESIDE) : end + BESIDE]
            best.append(int(mismatches(around, motif).min()) <= most if len(around) >= len(motif) else False)
        found[name] = pd.Series(best, index=table.index, dtype=bool)
    matches = pd.DataFrame(found)
    large = table.groupby("family")["family"].transform("size").ge(FAMILY) & (table["family"] >= 0)
    share = matches.groupby(table["family"]).transform("mean")
    rate = share.where(large, matches.astype(float), axis=0)
    return (rate.idxmax(axis=1) + " site").where(rate.max(axis=1) >= 0.5, "other site")


def describe_families(table: pd.DataFrame, kind: pd.Series, most: int = 6) -> list[str]:
    """Return a line a family of seqlets: its strongest sequence, what it is, at how many loci, its slope."""
    lines = []
    for number, mine in sorted(table.groupby("family"), key=lambda item: -len(item[1]))[:most]:
        lead = mine.loc[mine["strength"].idxmax()]
        verdicts = ", ".join(f"{count} {word}" for word, count in mine["verdict"].value_counts().items())
        lines.append(
            f"- family {number}: {lead['sequence']}, {kind[lead.name]}, {len(mine)} seqlets at "
            f"{mine['locus'].nunique()} loci, median slope {mine['beta'].median():.2f}; {verdicts}"
        )
    return lines


def effects_by_site(out: Path, policy: str, exposure: str, outcome: str) -> pd.DataFrame:
    """Pool the effect over the instruments of each kind of site alone; a kind with none at two loci has no row.

    Parameters
    ----------
    out : folder of a policy, with effects.h5, calibration.json and the seqlets of both exposures.
    policy : its name.
    exposure, outcome : the direction.
    """
    calibration = read_calibration(out / "calibration.json")
    with open_source(out / "effects.h5") as source:
        if source.file is None:
            raise ValueError(f"{out / 'effects.h5'} has no sequences")
        codes = dict(zip(source.loci, source.file.sequences.codes, strict=True))
        (given,) = choose_instruments(
            source, [(exposure, outcome)], selection=Selection(), calibration=calibration
        ).ways[0]
        first = dict(zip(source.loci, source.file.loci["start"], strict=True))
    table = read_seqlets(out / f"seqlets.{exposure}.tsv")
    spans = {
        locus: list(zip(rows["start"], rows["end"], rows["kind"], strict=True))
        for locus, rows in table.assign(kind=name_seqlets(table, codes)).groupby("locus")
    }
    at = given.variants["pos"].to_numpy(int) - 1 - given.variants["locus"].map(first).to_numpy(int)
    kind = np.array(
        [
            next((name for a, b, name in spans.get(locus, ()) if a <= p < b), "in no site")
            for locus, p in zip(given.variants["locus"], at, strict=True)
        ]
    )
    square = given.beta_exposure[:, 0] ** 2
    rows = []
    for name in KINDS:
        mine = np.ones(len(kind), dtype=bool) if name == "all" else kind == name
        local = METHODS["ivw"](given.take(mine), min_instruments=3, level=0.95)
        if len(local) < 2:
            continue
        pooled = pool_estimates(local, level=0.95).table.iloc[0]
        rows.append(
            {"policy": policy, "exposure": exposure, "outcome": outcome, "site": name}
            | {"n": int(mine.sum()), "loci": len(local), "share": float(square[mine].sum() / square.sum())}
            | {column: float(pooled[column]) for column in ("beta", "ci_low", "ci_high")}
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def read_seqlets(path: Path) -> pd.DataFrame:
    """Read a table of `deepmr seqlets` with its numbers as numbers."""
    table = read_table(path)
    for name in ("start", "end", "family", "n", "strength", "share", "beta"):
        table[name] = pd.to_numeric(table[name])
    return table


@styled
def draw_sites(rows: pd.DataFrame, policies: Mapping[str, str], out: Path) -> Figure:
    """Draw the effect by each kind of site, a panel a direction, a colour a policy; dots grow with the share.

    Parameters
    ----------
    rows : of `effects_by_site`; what rests on fewer than `FEW` loci is left out.
    policies : names of policies, and what the legend calls them.
    out : image to write.
    """
    rows = rows[rows["loci"] >= FEW]
    kinds = [kind for kind in KINDS if kind in set(rows["site"])]
    directions = list(dict.fromkeys(zip(rows["exposure"], rows["outcome"], strict=True)))
    figure = new_figure(WIDTH, 4.2)
    panels = figure.subplots(1, len(directions), sharex=True, sharey=True)
    for axes, (exposure, outcome) in zip(panels, directions, strict=True):
        for k, policy in enumerate(policies):
            mine = rows[(rows["policy"] == policy) & (rows["exposure"] == exposure)]
            for row in mine.to_dict("records"):
                y = kinds.index(row["site"]) + 0.16 * (k - (len(policies) - 1) / 2)
                axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=CYCLE[k], lw=1.3, solid_capstyle="butt")
                axes.scatter(row["beta"], y, s=6 + 30 * row["share"], color=CYCLE[k], lw=0, zorder=3)
        axes.axvline(0, color=MUTED, lw=0.8, zorder=0)
        for y in range(1, len(kinds)):
            axes.axhline(y - 0.5, color=GRID, lw=0.8, zorder=0)
        axes.set_title(f"{exposure} → {outcome}".replace("PU1", "PU.1"), loc="left")
        axes.set_xlabel(f"change of {outcome} per unit of {exposure}".replace("PU1", "PU.1"))
        axes.set_ylim(len(kinds) - 0.5, -0.5)
    panels[0].set_yticks(range(len(kinds)), [SAID[kind] for kind in kinds])
    for k, label in enumerate(policies.values()):
        panels[0].plot([], [], "o-", color=CYCLE[k], ms=4, lw=1.3, label=label)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(policies), fontsize=8)
    settle(figure)
    figure.savefig(out, dpi=DPI)
    return figure
