"""What `deepmr meta` does beside pooling: columns of loci, tables, sentences and figures."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from deepmr.errors import InputError
from deepmr.io.files import atomic_path
from deepmr.io.tables import numbers, read_table, write_estimates, write_table
from deepmr.meta import (
    Interval,
    Regression,
    Subgroups,
    Tau2,
    leave_one_out,
    pool_subgroups,
    rank_test,
    regress_estimates,
    regression_test,
    trim_and_fill,
)
from deepmr.report import words
from deepmr.report.locus_forest import locus_forest
from deepmr.report.style import DPI
from deepmr.types import Estimates

FORMATS = (".png", ".svg", ".pdf")
PAIR = ["method", "exposure", "outcome"]
COEFFICIENTS = ("exposure", "outcome", "method", "estimand", "term", "beta", "ci_low", "ci_high", "pvalue")
SUBGROUP = ("locus", "exposure", "outcome", "method", "estimand", "n", "beta", "ci_low", "ci_high", "tau2")
_KEY = [*PAIR, "estimand"]
_CHANCE = 0.05  # P value from which a difference is put down to chance


def tables(by: str | None, moderators: list[str] | None, *, asymmetry: bool) -> list[str]:
    """Return the names of the tables that are written beside the pooled effects."""
    wanted = ["subgroups", "differences"] if by is not None else []
    wanted += ["regression", "models"] if moderators else []
    return wanted + (["asymmetry"] if asymmetry else [])


def beside(out: Path, name: str) -> Path:
    """Return the path of such a table: pooled.tsv has pooled.subgroups.tsv."""
    return out.with_name(f"{out.stem}.{name}{out.suffix}")


def read_loci(
    path: Path, estimates: Estimates, *, by: str | None, moderators: list[str]
) -> tuple[dict[str, str], pd.DataFrame]:
    """Read the subgroup and the moderators of every locus.

    Parameters
    ----------
    path
        Table with a column locus.
    estimates
        Whose loci need them.
    by
        Column of subgroups.
    moderators
        Columns of numbers.

    Raises
    ------
    InputError
        For a column that is not there or holds no numbers, a locus that is there twice, or one without a value.
    """
    frame = read_table(path)
    for name in ("locus", *([] if by is None else [by]), *moderators):
        if name not in frame:
            raise InputError(f"{path}: there is no column {name!r}; it has {', '.join(map(str, frame.columns))}")
    frame["locus"] = frame["locus"].astype(str)
    twice = frame["locus"].duplicated()
    if twice.any():
        raise InputError(f"{path}: locus {frame['locus'][twice].iloc[0]!r} has more than one row")
    values = pd.DataFrame({name: _moderator(path, frame, name) for name in moderators})
    values.index = pd.Index(frame["locus"])
    label = pd.Series(dtype=str) if by is None else frame.set_index("locus")[by].fillna("").astype(str).str.strip()
    for locus in estimates.table["locus"].drop_duplicates():
        if locus not in values.index:
            raise InputError(f"{path}: there is no locus {locus!r}; every locus with an estimate needs a row")
        if by is not None and label[locus] == "":
            raise InputError(f"{path}: locus {locus!r} has no {by}; every locus needs a subgroup")
        for name in moderators:
            if np.isnan(values.loc[locus, name]):
                raise InputError(f"{path}: locus {locus!r} has no {name}; every locus needs all moderators")
    return {str(locus): str(name) for locus, name in label.items()}, values


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one analysis found.

    Attributes
    ----------
    tables : what is written, by path.
    said : in words.
    shown : tables for the screen, by title.
    """

    tables: dict[Path, Estimates | pd.DataFrame]
    said: list[str]
    shown: dict[str, object] = field(default_factory=dict)

    def write(self, record: dict[str, object]) -> None:
        """Write every table, estimates with how they were made."""
        for path, table in self.tables.items():
            if isinstance(table, Estimates):
                write_estimates(table, path, provenance=record)
            else:
                write_table(table, path)


def subgroups(estimates: Estimates, label: dict[str, str], by: str, *, out: Path, options: dict[str, Any]) -> Part:
    """Pool subgroups and compare them.

    Parameters
    ----------
    label
        Locus -> its subgroup.
    by
        What they are subgroups of.
    out
        File of the pooled effects.
    options
        As for `pool_estimates`.
    """
    found = pool_subgroups(estimates, label, **options)
    names = [name for name in SUBGROUP if name in found.estimates.table]
    return Part(
        tables={beside(out, "subgroups"): found.estimates, beside(out, "differences"): found.differences},
        said=list(say_subgroups(found, by)),
        shown={"subgroups": found.estimates.table[names].rename(columns={"locus": by}).to_dict(orient="records")},
    )


def regression(
    estimates: Estimates, moderators: pd.DataFrame, *, out: Path, tau2: Tau2, ci: Interval, level: float
) -> Part:
    """Regress effects on moderators; intervals other than Hartung and Knapp's become normal ones.

    Raises
    ------
    InputError
        When no regression can be done.
    """
    knapp: Literal["HK", "normal"] = "HK" if ci.startswith("HK") else "normal"
    found = regress_estimates(estimates, moderators, tau2=tau2, ci=knapp, level=level)
    if not len(found.models):
        raise InputError(f"moderators cannot be used: {found.skipped['reason'].iloc[0]}")
    return Part(
        tables={beside(out, "regression"): found.terms, beside(out, "models"): found.models},
        said=list(say_regression(found)),
        shown={"coefficients": found.terms[list(COEFFICIENTS)].to_dict(orient="records")},
    )


def asymmetry(estimates: Estimates, *, out: Path, options: dict[str, Any]) -> Part:
    """Test asymmetry by ranks and by regression, and trim and fill: a row a method and pair.

    Raises
    ------
    InputError
        When nothing can be tested.
    """
    ranks, slopes = rank_test(estimates), regression_test(estimates)
    if not len(ranks.tests):
        raise InputError(f"asymmetry cannot be tested: {ranks.skipped['reason'].iloc[0]}")
    filled = trim_and_fill(estimates, **options).pooled.table[[*_KEY, "n_filled", "beta", "ci_low", "ci_high"]]
    filled = filled.rename(columns={name: f"{name}_filled" for name in ("beta", "ci_low", "ci_high")})
    found = ranks.tests.rename(columns={"pvalue": "rank_pvalue"})
    found = found.merge(slopes.tests.rename(columns={"pvalue": "slope_pvalue"}).drop(columns="n"), on=_KEY)
    found = found.merge(filled, on=_KEY)
    return Part(tables={beside(out, "asymmetry"): found}, said=list(say_asymmetry(found)))


def without_each(estimates: Estimates, *, path: Path, options: dict[str, Any]) -> Part:
    """Pool without one locus each."""
    found = leave_one_out(estimates, **options)
    return Part(tables={path: found}, said=list(say_leave_one_out(found)))


def _who(row: Mapping[Any, Any]) -> str:
    who, estimand = f"{row['exposure']} → {row['outcome']}, {row['method']}", row["estimand"]
    return f"{who}, {words.WHERE[estimand]}" if estimand in ("model", "calibrated") else who


def say_single(pooled: Estimates) -> Iterator[str]:
    """Yield which pairs have one locus alone, whose effect is then all there is."""
    for row in pooled.table.to_dict(orient="records"):
        if row["n"] == 1:
            yield f"{_who(row)}: one locus, so nothing was pooled: its own effect is given."


def say_tails(pooled: Estimates) -> Iterator[str]:
    """Yield what the t model found of the tails of effects."""
    if "df_effects" not in pooled.table:
        return
    for row in pooled.table.to_dict(orient="records"):
        if np.isnan(row["df_effects"]):
            continue
        tails = (
            "effects scatter as a normal distribution; outlying loci weigh as the others"
            if np.isinf(row["df_effects"])
            else f"effects scatter as t with {words.number(row['df_effects'])} degrees of freedom, "
            f"scale {words.number(row['scale'])}"
        )
        yield f"{_who(row)}: {tails}."


def say_subgroups(found: Subgroups, by: str) -> Iterator[str]:
    """Yield whether subgroups differ, and which of them is a single locus."""
    for row in found.differences.to_dict(orient="records"):
        if row["subgroups"] < 2:
            yield f"{_who(row)}: {by} has one value at these loci; there is nothing to compare."
            continue
        verb = "differ" if row["q_pvalue"] < _CHANCE else "differ no more than chance explains"
        yield (
            f"{_who(row)}: the {words.count(row['subgroups'], 'subgroup')} of {by} {verb} "
            f"(Q = {words.number(row['q'])} on {words.count(row['q_df'], 'degree')} of freedom, "
            f"P = {words.pvalue(row['q_pvalue'])})."
        )
    table = found.estimates.table
    for row in table[table["n"] == 1].to_dict(orient="records"):
        yield f"{_who(row)}: subgroup {row['locus']} is one locus, whose own effect and interval stand for it."


def say_regression(found: Regression) -> Iterator[str]:
    """Yield how the effect moves with each moderator."""
    terms = found.terms[found.terms["term"] != "intercept"].to_dict(orient="records")
    for model in found.models.to_dict(orient="records"):
        for term in terms:
            if all(term[name] == model[name] for name in _KEY):
                yield (
                    f"{_who(term)}: per unit of {term['term']} the effect changes by {words.estimate(term)}, "
                    f"P = {words.pvalue(term['pvalue'])}."
                )
        yield f"{_who(model)}: the moderators explain {words.share(model['r2'])} of the variance between loci."
    for row in found.skipped.assign(estimand="").to_dict(orient="records"):
        yield f"{_who(row)}: no regression: {row['reason']}."


def say_leave_one_out(without: Estimates) -> Iterator[str]:
    """Yield between which values the mean stays, and the loci at either end."""
    for _, part in without.table.groupby(_KEY, sort=False):
        low, high = (part.iloc[i].to_dict() for i in (part["beta"].argmin(), part["beta"].argmax()))
        digits = words.decimals_for(float(high["beta"] - low["beta"]))
        yield (
            f"{_who(low)}: without any one locus the mean stays between {words.number(low['beta'], digits)} (without "
            f"{low['locus']}) and {words.number(high['beta'], digits)} (without {high['locus']})."
        )


def say_asymmetry(tested: pd.DataFrame) -> Iterator[str]:
    """Yield whether effects go with their standard errors, and what trim and fill makes of it."""
    for row in tested.to_dict(orient="records"):
        mean = {name: row[f"{name}_filled"] for name in ("beta", "ci_low", "ci_high")}
        lean = min(row["slope_pvalue"], row["rank_pvalue"]) < _CHANCE
        yield (
            f"{_who(row)}: effects {'go' if lean else 'do not go'} with their standard errors (regression P = "
            f"{words.pvalue(row['slope_pvalue'])}, ranks P = {words.pvalue(row['rank_pvalue'])}); trim and fill adds "
            f"{words.count(int(row['n_filled']), 'locus')}, mean then {words.estimate(mean)}."
        )


def check_figure(path: Path) -> None:
    """Raise `InputError` for a format that figures are not written in."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: figures are {', '.join(FORMATS)}; got {path.suffix or 'no ending'}")


def figure_files(path: Path, estimates: Estimates) -> dict[tuple[str, str, str], Path]:
    """Return the file of each method and pair: the one named where there is one figure, else names are added."""
    keys = list(estimates.table[PAIR].drop_duplicates().itertuples(index=False, name=None))
    if len(keys) == 1:
        return {keys[0]: path}
    found = {}
    for method, exposure, outcome in keys:
        name = re.sub(r"[^\w.+-]+", "-", f"{path.stem}_{exposure}_{outcome}_{method}")[:120]
        found[method, exposure, outcome] = path.with_name(name + path.suffix)
    return found


def draw(files: dict[tuple[str, str, str], Path], estimates: Estimates, pooled: Estimates) -> None:
    """Write the forest of each method and pair."""
    for (method, exposure, outcome), path in files.items():
        figure = locus_forest(estimates, pooled, exposure=exposure, outcome=outcome, method=method)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=DPI)


def _moderator(path: Path, frame: pd.DataFrame, name: str) -> np.ndarray:
    try:
        return numbers(path, frame, name, missing="unknown")
    except InputError as error:
        raise InputError(f"{error}; kinds of loci go to --by") from error
