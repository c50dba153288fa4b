"""Put what the study found into its pages: every block of tables between its markers, and the figures."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import paper_tables as tables
from page_blocks import fill_blocks
from paper_page import STRONG, draw_rounds, page
from paper_rounds import SCENARIOS, read_rows

# The files of measured rows, by the name that the tables know them by.
FILES = {
    "main": "main",
    "null": "null",
    "members": "members.members",
    "directions": "main.directions",
    "ablation": "main.ablation",
    "exposure_only": "main.exposure_only",
    "bootstrap": "bootstrap.bootstrap",
    "published_training": "published_training",
    "n_train": "n_train",
    "strength": "strength",
    "varying_confounder": "varying_confounder",
    "graded": "graded",
}
FIGURES = {
    "paper_model": ("interval", "moderated", "Effect in the model, no labels"),
    "paper_calibrated": ("labels", "100 x 5", "Calibrated on 100 loci x 5 labelled edits"),
    "paper_training_set": ("labels", "training set", "Calibrated on variants that the training set holds"),
}
Found = Mapping[str, pd.DataFrame]
BLOCKS: dict[str, Callable[[Found], str]] = {
    "goals": tables.goals,
    "rounds": lambda found: _rounds(found["main"]),
    "methods": lambda found: page(found["main"]),
    "ablation": lambda found: tables.ablation(found["ablation"]),
    "directions": lambda found: tables.directions(found["directions"]),
    "exposure_only": lambda found: tables.exposure_only(found["exposure_only"]),
    "members": lambda found: tables.members(found["members"]),
    "bootstrap": lambda found: tables.bootstrap(found["bootstrap"]),
    "published_training": lambda found: tables.arm(found["published_training"], ["scenario"]),
    "n_train": lambda found: tables.arm(found["n_train"], ["scenario", "setting"]),
    "strength": lambda found: tables.arm(found["strength"], ["scenario", "setting"]),
    "varying_confounder": lambda found: tables.arm(found["varying_confounder"], ["scenario"]),
    "graded": lambda found: tables.arm(found["graded"], ["scenario"]),
}
PAGES = ("paper.md", "paper_tables.md")


def write_pages(out: Path, docs: Path) -> None:
    """Fill the blocks of the pages whose rows are there, and draw the figures.

    Parameters
    ----------
    out : folder with the measured rows.
    docs : folder with the pages.
    """
    paths = {name: out / f"{file}.tsv.gz" for name, file in FILES.items()}
    found = {name: in_order(read_rows(path)) for name, path in paths.items() if path.exists()}

    texts = {}
    for name, make in BLOCKS.items():
        if ("main" if name in ("goals", "rounds", "methods") else name) in found:
            texts[name] = make(found)
    for name in PAGES:
        fill_blocks(docs / name, texts)
    ivw = found["main"].query("method == 'ivw' and weights == 'equal' and definition == 'averaged' and draw == 0")
    for name, (column, value, title) in FIGURES.items():
        draw_rounds(ivw[ivw[column] == value], docs / "img" / f"{name}.png", title=title)


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Sort rows by scenario and strength, and otherwise leave their order."""
    place = rows["scenario"].map(SCENARIOS.index)
    return rows.assign(place=place, weak=rows["gamma"] < STRONG).sort_values(["place", "weak"], kind="stable")


def _rounds(rows: pd.DataFrame) -> str:
    counts = rows.groupby("scenario", sort=False)["round"].nunique()
    return f"Rounds: {', '.join(f'{scenario} {n}' for scenario, n in counts.items())}."
