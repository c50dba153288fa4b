"""`deepmr seqlets`: which motif-sized part of each locus carries the effect, and which contradicts it."""

import json
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from deepmr import checks
from deepmr.commands.mr import MODEL, UNCALIBRATED
from deepmr.commands.seqlet_parts import SeqletAnalysis, analyse_seqlets
from deepmr.commands.source import Source, open_source, pooled_blocks
from deepmr.errors import InputError, TooFewInstruments
from deepmr.instruments.seqlets import Segmentation, Tracks, lay_out
from deepmr.instruments.strength import Rule, Selection, effect_scales
from deepmr.io.files import atomic_path, check_writable
from deepmr.io.provenance import provenance
from deepmr.io.tables import skipped_path, write_estimates, write_table
from deepmr.report.sections import ONE_SITE
from deepmr.report.seqlets import family_view, seqlet_view
from deepmr.report.style import DPI

SHOWN = 5  # families in the summary


def seqlets(
    effects: Path,
    *,
    out: Path,
    exposure: str,
    outcome: str,
    figure: Path | None = None,
    family_figure: Path | None = None,
    locus: str | None = None,
    rule: Rule = "relative",
    threshold: float | None = None,
    significance: float = 0.05,
    min_instruments: int = 3,
    floor: float = 0.25,
    gap: int = 3,
    min_width: int = 4,
    max_width: int = 30,
    level: float = 0.95,
    overwrite: bool = False,
) -> dict[str, object]:
    """Find the motif-sized parts of each locus, and say which carries the effect and which contradicts it.

    Seqlets are runs of positions whose edits move the exposure; the outcome has no part in finding them. Where they act
    on the outcome in different ways, one of them has another route to it. Writes a row a seqlet, a row a family of like
    seqlets (`.families.tsv`), and the effect of each locus from all seqlets and from the plurality
    (`.estimates.tsv`).

    Parameters
    ----------
    effects
        Effects of edits: effects.h5, or a TSV or NPZ table made elsewhere.
    out
        Table to write (TSV).
    exposure
        Task taken as the cause.
    outcome
        Task taken as the effect.
    figure
        Also draw a locus: its tracks, seqlets and slopes (PNG, SVG or PDF by the name).
    family_figure
        Also draw the slopes of all seqlets by family.
    locus
        Locus to draw; default the one whose seqlets differ most, among those with the most of them.
    rule
        How instruments are chosen, as for deepmr mr.
    threshold
        Share of the pooled 99th percentile (default 0.25), F (10) or z-score (1).
    significance
        Level of the test that the relative rule adds, and that a position of a seqlet must pass; 1 turns it off.
    min_instruments
        Fewest instruments in seqlets that a locus needs for an estimate.
    floor
        Share of the pooled 99th percentile that an effect must reach for its position to count.
    gap
        Most positions in a row that do not count and are bridged.
    min_width
        Fewest positions of a seqlet.
    max_width
        Most positions of a seqlet; longer runs are split at their weakest place.
    level
        Level of the confidence intervals; tests are at 1 less this.
    overwrite
        Replace results that are there.

    Returns
    -------
    dict
        Seqlets and what they say, families and the plurality, median effects with and without what contradicts it.

    Raises
    ------
    InputError
        For a file, task or option that cannot be used, or effects of a single member.
    TooFewInstruments
        When no seqlet has an instrument; the tables are written all the same.
    """
    options = {name: value for name, value in locals().items() if name != "overwrite"}
    selection = Selection(rule=rule, threshold=threshold, significance=significance)
    segmentation = Segmentation(
        floor=floor, significance=significance, gap=gap, min_width=min_width, max_width=max_width
    )
    checks.at_least("min_instruments", min_instruments, 1)
    checks.level(level)
    paths = [out, families_path(out), estimates_path(out), *filter(None, (figure, family_figure))]
    checks.unique("files to write", [str(path) for path in paths])
    for path in paths:
        check_writable(path, overwrite=overwrite)
    with open_source(effects) as source:
        _check_tasks(source, exposure, outcome)
        if locus is not None and locus not in source.loci:
            raise InputError(f"{effects} has no locus {locus!r} among its {len(source.loci)}")
        stats = partial(pooled_blocks, source, [exposure, outcome])
        found = analyse_seqlets(
            stats(description="seqlets"),
            exposure=exposure,
            outcome=outcome,
            scales=effect_scales(stats(description="sizes of effects")),
            loci=source.loci,
            selection=selection,
            segmentation=segmentation,
            min_instruments=min_instruments,
            level=level,
        )
        record = provenance("seqlets", options=options, inputs={"effects": effects})
        _write(found, out, record)
        if not len(found.collapsed.n):
            raise TooFewInstruments(
                f"none of {len(source.loci)} loci has a seqlet with an instrument for {exposure}; "
                f"{skipped_path(estimates_path(out))} says why"
            )
        if figure is not None:
            name = most_discordant(found) if locus is None else locus
            tracks = _tracks(source, name, (exposure, outcome))
            _save(seqlet_view(tracks, found.table, found.instruments, found.label, locus=name), figure)
        if family_figure is not None:
            _save(family_view(found.table, found.family_table, exposure=exposure, outcome=outcome), family_figure)
    drawn = {key: str(path) for key, path in (("figure", figure), ("family_figure", family_figure)) if path}
    return _summary(found) | {"seqlets": str(out), "estimates": str(estimates_path(out))} | drawn


def families_path(path: Path) -> Path:
    """Return where the families of a table of seqlets are."""
    return path.with_name(f"{path.stem}.families.tsv")


def estimates_path(path: Path) -> Path:
    """Return where the estimates beside a table of seqlets are."""
    return path.with_name(f"{path.stem}.estimates.tsv")


def most_discordant(found: SeqletAnalysis) -> str:
    """Return the locus to show: that with the most seqlets that contradict, then the largest Q between seqlets."""
    table = found.table
    names = list(found.instruments.loci)
    words = table["verdict"].isin(["contradicts", "disputed"]).groupby(table["locus"]).sum().reindex(names).fillna(0)
    count = found.between.n_seqlets
    order = np.lexsort((-count, found.between.q_pvalue, 0.0 - words.to_numpy(float), count < 2))
    return names[int(order[0])]


def _check_tasks(source: Source, exposure: str, outcome: str) -> None:
    names = [task.name for task in source.tasks]
    for name in (exposure, outcome):
        if name not in names:
            raise InputError(
                f"there is no task {name!r}; the effects have {', '.join(names)}{checks.meant(name, names)}"
            )
    if exposure == outcome:
        raise InputError(f"exposure and outcome must be two tasks; got {exposure!r} for both")


def _tracks(source: Source, locus: str, traits: tuple[str, str]) -> list[Tracks]:
    """Lay out one locus from the block that it is in."""
    for block in pooled_blocks(source, list(traits), description="tracks"):
        if (block.variants["locus"] == locus).any():
            return [lay_out(block, trait=trait, loci=[locus]) for trait in traits]
    raise InputError(f"there are no effects of locus {locus!r}")


def _write(found: SeqletAnalysis, out: Path, record: dict[str, object]) -> None:
    write_table(found.table, out)
    write_table(found.family_table, families_path(out))
    write_estimates(found.estimates, estimates_path(out), provenance=record)
    with atomic_path(out.with_name(out.name + ".json")) as sidecar:
        sidecar.write_text(json.dumps(record, indent=2) + "\n")


def _save(drawn: Figure, path: Path) -> None:
    with atomic_path(path) as temporary:
        drawn.savefig(temporary, format=path.suffix[1:] or "png", dpi=DPI)


def _summary(found: SeqletAnalysis) -> dict[str, object]:
    table, between, estimates = found.table, found.between, found.estimates.table
    several = between.n_seqlets > 1
    shown = found.family_table.head(SHOWN)[["sequence", "n_loci", "n_compared", "beta", "contrast", "verdict"]]
    rows = shown.astype(object).where(shown.notna(), "-").to_dict(orient="records")
    return {
        **({} if several.any() else {"warning": ONE_SITE}),
        "loci": len(found.instruments.loci),
        "loci_without_seqlet": len(found.instruments.loci) - table["locus"].nunique(),
        "seqlets_found": len(table),
        "instruments_outside": int((found.label < 0).sum()),
        "loci_with_several": int(several.sum()),
        "heterogeneous": int((between.q_pvalue[several] < 1 - found.estimates.table["level"].iloc[0]).sum()),
        "verdicts": [f"{n} {word}" for word, n in table["verdict"].value_counts().items()],
        "families": rows,
        "effects": [
            {"method": name, "loci": len(part), "median_beta": float(part["beta"].median())}
            for name, part in estimates.groupby("method", sort=False)
        ],
        "estimand": found.instruments.estimand,
        "note": MODEL + UNCALIBRATED,
    }
