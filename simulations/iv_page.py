"""Tables and figures of the study of nonlinear instrumental variables: docs/iv.md."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from iv_rounds import ARMS, DESIGNS, LEVEL, MODIFIERS, POINTS, read_units
from matplotlib.axes import Axes
from page_blocks import fill_blocks

from deepmr.report.style import CYCLE, DPI, GRID, INK, MUTED, VERMILLION, new_figure, styled
from deepmr.simulate.iv_designs import simulate_iv

ACCURATE = 10  # seeds of the tables of accuracy
BANDED = ("poly20", "effect_mod", "sine", "het20")  # designs by whose bands the methods are judged
LEAST, MOST, WIDEST = 0.85, 0.95, 0.35  # goals: coverage of both bands at least, pointwise at most, width at most
FEWEST, SOME, TINY = 20, 5, 1e-6  # seeds of which a share is told, and of which a method may be best
GATE, THRESHOLD = "gate_pvalue", 0.05
DRAWN_METHODS = ("sieve", "control_function")
# What a method of ours is set beside: its name in the table of anchors.
ANCHOR_METHODS = {
    "2sls": "2SLS",
    "lace": "LACE (repaired)",
    "delivr": "DeLIVR",
    "deep_iv_gaussian": "Deep IV, Gaussian",
    "dfiv": "DFIV",
    "quantile_iv": "Quantile IV",
}
PAIRS = {  # of our methods, the one of ml-mr that each is to be no worse than
    "tsls": "2sls",
    "doubly_ranked": "lace",
    "delivr": "delivr",
    "deep_iv": "deep_iv_gaussian",
    "dfiv": "dfiv",
    "quantile_iv": "quantile_iv",
}
# Set, of it, ml-mr's best, goal in words, column, design, size, best at most, by method at most.
GOALS = (
    ("poly20", "0.006-0.031", "mse", "poly20", 10_000, {"*": 0.002, "sieve": 0.004}),
    ("effect_mod, curve", "0.004-0.010", "mse", "effect_mod", 10_000, {"*": 0.002}),
    ("effect_mod, CATE", "not offered", "cate_mse", "effect_mod", 10_000, {"*": 0.004}),
    ("burgess_j", "0.157", "mse", "burgess_j", 10_000, {"control_function": 0.015}),
    ("sine", "0.161", "mse", "sine", 10_000, {"sieve": 0.006, "control_function": 0.003}),
    ("het20", "0.0007-0.0009", "mse", "het20", 10_000, {"sieve": 0.001}),
    ("demand, n = 1,000", "1,160-2,200 (DFIV, authors' code)", "grid_mse", "demand", 1_000, {"*": 1000.0}),
    ("demand, n = 5,000", "none", "grid_mse", "demand", 5_000, {"*": 300.0}),
)


def write_page(out: Path, docs: Path, *, anchors: Path) -> None:
    """Fill the blocks of the page, and draw its figures, from the units that are there.

    Parameters
    ----------
    out : folder with the units.
    docs : folder with the page.
    anchors : folder with measurements of other software; their block stays as it is where it is absent.
    """
    rows = read_units(out)
    there = rows[rows["error"].isna()]
    blocks: dict[str, Callable[[pd.DataFrame], str]] = {
        "goals": goals,
        "bands": bands,
        "accuracy": lambda found: by_design(found, "mse", DESIGNS),
        "centred": lambda found: by_design(found, "mse_centred", DESIGNS),
        "ate": lambda found: by_design(found, "ate_error", DESIGNS, root=True),
        "coverage": coverage,
        "demand": demand,
        "cate": cate,
        "gate": gate,
        "tests": tests,
        "cpu": lambda found: by_design(found, "cpu_s", DESIGNS),
        "literature": lambda found: by_design(found, "mse", ARMS["literature"][0], turned=True),
        "diagnostics": diagnostics,
        "failures": lambda _: failures(rows),
    }
    texts = {name: make(there) for name, make in blocks.items()}
    if (anchors / "anchors_mlmr.csv").is_file():
        given = pd.read_csv(anchors / "anchors_mlmr.csv")
        texts |= {"anchors": anchor_table(given), "paired": paired(there, given)}
    fill_blocks(docs / "iv.md", {name: text for name, text in texts.items() if text})
    (docs / "img").mkdir(exist_ok=True)
    draw_curves(there, docs / "img" / "iv_curves.png")
    draw_coverage(there, docs / "img" / "iv_coverage.png")


def number(value: float) -> str:
    """Write a number with three digits, small ones not as powers."""
    if not np.isfinite(value):
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if 0 < abs(value) < TINY:
        return f"{value:.0e}"
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")


def mean(values: pd.Series) -> str:
    """Write a mean with its Monte-Carlo error."""
    values = values.dropna().astype(float)
    if values.empty:
        return "-"
    if len(values) == 1:
        return number(values.iloc[0])
    error = values.std() / np.sqrt(len(values))
    if not error > 0:
        return number(values.mean())
    digits = max(0, 1 - int(np.floor(np.log10(error))))  # two of the error, and as many of the mean
    return f"{values.mean():,.{digits}f} ± {error:,.{digits}f}"


def percent(values: pd.Series) -> str:
    """Write a share in percent with its Monte-Carlo error."""
    values = values.dropna().astype(float)
    if values.empty:
        return "-"
    return f"{100 * values.mean():.1f} ± {100 * values.std() / np.sqrt(len(values)):.1f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a markdown table; the first column is text, the others are numbers."""
    if not rows:
        return ""
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def by_design(
    rows: pd.DataFrame, column: str, designs: Sequence[str], *, root: bool = False, turned: bool = False
) -> str:
    """Return the mean of a score, a row a method and a column a design, or turned."""
    rows = rows[rows["design"].isin(designs) & (rows["seed"] < ACCURATE) & (rows["n"] == 10_000)]
    if rows.empty or column not in rows:
        return ""
    methods, designs = list(rows["method"].unique()), [one for one in designs if one in set(rows["design"])]

    def cell(method: str, design: str) -> str:
        values = rows.loc[(rows["method"] == method) & (rows["design"] == design), column]
        if not root:
            return mean(values)
        values = values.dropna()
        return number(float(np.sqrt(np.mean(values**2)))) if len(values) else "-"

    if turned:
        return table(
            ["design", *methods],
            [[design, *(cell(method, design) for method in methods)] for design in designs],
        )
    counts = rows.groupby("method")["seed"].nunique()
    names = {one: one if counts[one] == ACCURATE else f"{one} ({counts[one]} seeds)" for one in methods}
    return table(["method", *designs], [[names[one], *(cell(one, design) for design in designs)] for one in methods])


def goals(rows: pd.DataFrame) -> str:
    """Return what was to be reached, and what was."""
    found = []
    for said, theirs, column, design, n, limits in GOALS:
        part = rows[(rows["design"] == design) & (rows["n"] == n) & (rows["seed"] < ACCURATE)]
        if part.empty or column not in part:
            continue
        groups = part.dropna(subset=[column]).groupby("method", sort=False)[column]
        means = groups.mean()[groups.size() >= min(SOME, part["seed"].nunique())]
        for method, limit in limits.items():
            if means.empty or (method != "*" and method not in means):
                continue
            chosen = str(means.idxmin()) if method == "*" else method
            who = f"best: {chosen}" if method == "*" else chosen
            met = "yes" if means[chosen] <= limit else "**no**"
            reached = mean(part.loc[part["method"] == chosen, column])
            found.append([said, theirs, f"{'best' if method == '*' else method} <= {limit:,g}", who, reached, met])
    return table(["set", "ml-mr's best", "goal", "method", "reached", "met"], found)


def bands(rows: pd.DataFrame) -> str:
    """Return what was to be reached by the bands of the sieve, and what was."""
    found = []
    for design in BANDED:
        part = rows[(rows["design"] == design) & (rows["method"] == "sieve") & (rows["n"] == 10_000)]
        if part.empty:
            continue
        held = part["covered"].map(lambda text: text.count("1") / len(text))
        wide = design != "sine" and part["uniform_width"].mean() > WIDEST
        met = LEAST <= held.mean() <= MOST and part["uniform"].mean() >= LEAST and not wide
        values = [percent(held), percent(part["uniform"].astype(float)), f"{part['width'].mean():.3f}"]
        found.append(
            [design, str(len(part)), *values, f"{part['uniform_width'].mean():.3f}", "yes" if met else "**no**"]
        )
    return table(["sieve", "seeds", "pointwise %", "uniform %", "width", "width of the uniform band", "met"], found)


def coverage(rows: pd.DataFrame) -> str:
    """Return how often bands hold, and how wide they are."""
    found = []
    for (method, design), part in _grouped(rows[(rows["n"] == 10_000) & rows["design"].isin(DESIGNS)]):
        held = part["covered"].dropna().map(lambda text: text.count("1") / len(text)) if "covered" in part else []
        if len(held) < FEWEST:
            continue
        uniform = part["uniform"].dropna() if "uniform" in part else pd.Series(dtype=float)
        found.append(
            [
                f"{method}, {design}",
                str(len(held)),
                percent(held),
                f"{part['width'].mean():.3f}",
                percent(uniform),
                f"{part['uniform_width'].mean():.3f}" if len(uniform) else "-",
                percent(part["ate_covered"]),
            ]
        )
    head = ["method, design", "seeds", "pointwise %", "width", "uniform %", "width", "ATE %"]
    return table(head, found)


def demand(rows: pd.DataFrame) -> str:
    """Return the structural errors of the demand design."""
    found = []
    for (method, n), part in _grouped(rows[rows["design"] == "demand"], by=["method", "n"]):
        values = part["grid_mse"].dropna()
        held = percent(part["grid_covered"]) if "grid_covered" in part else "-"
        found.append(
            [method, f"{n:,}", mean(values), number(values.median()), number(values.max()), held, mean(part["cpu_s"])]
        )
    return table(["method", "n", "mean", "median", "largest", "pointwise %", "CPU s"], found)


def cate(rows: pd.DataFrame) -> str:
    """Return the errors of the effect given the modifier."""
    found = []
    for (method, _), part in _grouped(rows[(rows["design"] == "effect_mod") & (rows["n"] == 10_000)]):
        held = percent(part["cate_covered"]) if "cate_covered" in part else "-"
        found.append([method, mean(part.loc[part["seed"] < ACCURATE, "cate_mse"]), held, str(len(part))])
    return table(["method", f"MSE at c = {', '.join(map(str, MODIFIERS))}", "held %", "seeds"], found)


def gate(rows: pd.DataFrame) -> str:
    """Return how often the gate of the control function rejects it."""
    found = []
    for (method, design), part in _grouped(rows[(rows["n"] == 10_000) & (rows["method"] == "control_function")]):
        said = [one[GATE] < THRESHOLD for one in part["diagnostics"] if GATE in one]
        if said:
            found.append([f"{method}, {design}", str(len(said)), percent(pd.Series(said))])
    return table(["method, design", "seeds", "rejected %"], found)


def tests(rows: pd.DataFrame) -> str:
    """Return how often every test of the records but the gate's is below 5 %, by method and design."""
    found = []
    for (method, design), part in _grouped(rows[(rows["n"] == 10_000) & rows["design"].isin(DESIGNS)]):
        values = pd.DataFrame(list(part["diagnostics"]), dtype=float)
        names = [name for name in values if name.endswith("pvalue") and not name.startswith("gate")]
        said = ", ".join(f"{name} {100 * (values[name].dropna() < THRESHOLD).mean():.0f} %" for name in names)
        if said:
            found.append([f"{method}, {design}", str(len(part)), said])
    return table(["method, design", "seeds", "P < 0.05"], found)


def diagnostics(rows: pd.DataFrame) -> str:
    """Return the mean of every number that records carry, by method and design."""
    found = []
    for (method, design), part in _grouped(rows[(rows["n"] == 10_000) & rows["design"].isin(DESIGNS)]):
        values = pd.DataFrame(list(part["diagnostics"]), dtype=float).mean()
        values = values[[name for name in values.index if not name.endswith("pvalue")]]
        warned = np.mean([bool(one) for one in part["warnings"]])
        said = ", ".join(f"{name} {number(value)}" for name, value in values.items())
        found.append([f"{method}, {design}", said or "-", f"{100 * warned:.0f} %"])
    return table(["method, design", "mean of the diagnostics", "fits with a warning"], found)


def failures(rows: pd.DataFrame) -> str:
    """Return what failed, and how."""
    bad = rows[rows["error"].notna()]
    if bad.empty:
        return f"None of {len(rows)} fits failed."
    groups = bad.groupby(["method", "design", "error"], sort=False).size()
    return table(["method, design", "fits", "error"], [[f"{m}, {d}", str(k), e] for (m, d, e), k in groups.items()])


def anchor_table(given: pd.DataFrame) -> str:
    """Return what ml-mr scores: the mean over its seeds, their range where there are several, and CPU seconds."""
    found = []
    for name, said in ANCHOR_METHODS.items():
        part = given[(given["method"] == name) & given["mse"].notna()]
        cells = []
        for design in DESIGNS:
            values = part.loc[part["design"] == design, "mse"]
            cells.append(" / ".join(number(value) for value in values) or "-")
        seconds = [number(part[column].mean()) for column in ("cpu_s_fast_loader", "cpu_s_stock_est")]
        found.append([said, *cells, f"{seconds[0]} ({seconds[1]})"])
    return table(["ml-mr", *DESIGNS, "CPU s, fast loader (stock)"], found)


def paired(rows: pd.DataFrame, given: pd.DataFrame) -> str:
    """Return our methods beside theirs on the same data, a column a design: means, and seeds won."""
    given = given[given["mse"].notna()].set_index(["method", "design", "seed"])["mse"]
    ours = rows[rows["n"] == 10_000].set_index(["method", "design", "seed"])["mse"]
    found = []
    for method, theirs in PAIRS.items():
        cells = []
        for design in DESIGNS:
            seeds = [seed for seed in range(ACCURATE) if (theirs, design, seed) in given.index]
            seeds = [seed for seed in seeds if (method, design, seed) in ours.index]
            pair = np.array([[ours[method, design, seed], given[theirs, design, seed]] for seed in seeds])
            if not seeds:
                cells.append("-")
                continue
            won = int((pair[:, 0] <= 1.01 * pair[:, 1]).sum())  # the same to the digits of theirs
            cells.append(f"{number(pair[:, 0].mean())} / {number(pair[:, 1].mean())} ({won} of {len(seeds)})")
        if set(cells) != {"-"}:
            found.append([method, *cells])
    return table(["ours / ml-mr", *DESIGNS], found)


def _grouped(rows: pd.DataFrame, by: Sequence[str] = ("method", "design")):
    return rows.groupby(list(by), sort=False)


@styled
def draw_curves(rows: pd.DataFrame, path: Path) -> None:
    """Draw the curves of the first ten seeds over the truth, a column a design and a row a method."""
    rows = rows[rows["design"].isin(DESIGNS) & (rows["n"] == 10_000) & (rows["seed"] < ACCURATE)]
    rows = rows[rows["curve"].notna()] if "curve" in rows else rows.iloc[:0]
    methods = [method for method in DRAWN_METHODS if method in set(rows["method"])]
    if not methods:
        return
    figure = new_figure(11.0, 2.5 * len(methods) + 0.3)
    panels = figure.subplots(len(methods), len(DESIGNS), squeeze=False, sharex="col", sharey="col")
    for across, design in enumerate(DESIGNS):
        drawn = simulate_iv(design, n=10_000, seed=0)
        for down, method in enumerate(methods):
            axes: Axes = panels[down, across]
            part = rows[(rows["design"] == design) & (rows["method"] == method)].sort_values("seed")
            if part.empty:
                continue
            for k, curve in enumerate(part["curve"]):
                if k == 0 and "low" in curve:
                    axes.fill_between(curve["x"], curve["low"], curve["high"], color=GRID, lw=0)
                axes.plot(curve["x"], curve["estimate"], color=CYCLE[0], lw=0.7, alpha=0.7)
            x = np.array(part["curve"].iloc[0]["x"])
            axes.plot(x, drawn.truth(x), color=VERMILLION, lw=1.6, ls="--")
            if down == 0:
                axes.set_title(design)
            if across == 0:
                axes.set_ylabel(method.replace("_", " "))
    figure.supxlabel("exposure, its central 95 %", fontsize=9)
    figure.savefig(path, dpi=DPI)


@styled
def draw_coverage(rows: pd.DataFrame, path: Path) -> None:
    """Draw how often pointwise bands hold along the exposure, a panel a design and a line a method."""
    rows = rows[(rows["n"] == 10_000) & rows["design"].isin(BANDED)]
    rows = rows[rows["covered"].notna()] if "covered" in rows else rows.iloc[:0]
    counts = rows.groupby(["method", "design"]).size()
    if counts.empty or counts.max() < FEWEST:
        return
    figure = new_figure(11.0, 3.0)
    panels = figure.subplots(1, len(BANDED), sharey=True)
    place = np.linspace(0, 100, POINTS)
    methods = [method for method in rows["method"].unique() if counts[method].max() >= FEWEST]
    for axes, design in zip(panels, BANDED, strict=True):
        axes.axhline(100 * LEVEL, color=MUTED, lw=0.8, ls=":")
        for k, method in enumerate(methods):
            part = rows[(rows["design"] == design) & (rows["method"] == method)]
            if len(part) < FEWEST:
                continue
            held = np.mean([[int(one) for one in text] for text in part["covered"]], axis=0)
            axes.plot(place, 100 * held, color=CYCLE[k % len(CYCLE)], lw=1.2, label=method.replace("_", " "))
        axes.set_title(design, color=INK)
        axes.set_xlabel("% of the way through the central 95 %")
    panels[0].set_ylabel("% of seeds that hold the truth")
    panels[0].legend()
    figure.savefig(path, dpi=DPI)
