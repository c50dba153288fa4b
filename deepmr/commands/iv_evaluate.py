"""`deepmr iv evaluate`: errors, widths and coverage of fits against the truth, effects, curves and figures."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd

from deepmr import checks
from deepmr.commands.iv_fit import curve_table, read_histogram
from deepmr.commands.iv_fits import (
    Fit,
    condition_text,
    covariates_at,
    domain_of,
    meta_value,
    parse_conditions,
    parse_pair,
    read_fits,
)
from deepmr.commands.iv_words import weak_words
from deepmr.commands.meta_parts import check_figure
from deepmr.errors import InputError
from deepmr.individual import Curve
from deepmr.io.expressions import Function, read_function
from deepmr.io.files import atomic_path, check_writable
from deepmr.nonlinear.accuracy import curve_accuracy, uniform_band
from deepmr.nonlinear.ensemble import EnsembleResponse
from deepmr.report.response import DrawnCurve, conditional_figure, fits_figure, members_figure, response_figure
from deepmr.report.style import DPI

log = logging.getLogger(__name__)

DIGITS = 7  # of numbers that are printed; files have them all
ENSEMBLE, FEWEST = "ensemble", 2  # name of its row, and least number of fits


def evaluate(
    fits: list[Path],
    *,
    domain: str = "95",
    n_points: int = 200,
    true_function: str | None = None,
    meta_keys: list[str] | None = None,
    ensemble: bool = False,
    ate: str | None = None,
    given: list[str] | None = None,
    level: float = 0.9,
    out: Path | None = None,
    curves: Path | None = None,
    plot: Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, object]:
    """Evaluate fits: their curves, effects and intervals, against the truth where it is known.

    Prints a row a fit as CSV, unless --out names a file for it: mean squared error of the average curve, with the level
    and without it (centred), mean width of the intervals, share of points whose interval holds the truth, the same of
    the band of the whole curve, and effects. Every fit is evaluated over the exposures of its own samples.

    Parameters
    ----------
    fits
        Folders of fits, folders of such folders, or patterns such as "runs/*".
    domain
        Where curves are compared: the central 95 % of a fit's exposures (95), all of them (full), or a range such as
        --domain=-1,2.
    n_points
        Evenly spaced points in it.
    true_function
        The true curve: arithmetic in x such as "0.2*(x-1)**2 + 0.4", which is parsed and never executed; or
        FILE.py:NAME, a function that takes an array, whose file is executed, so use it with your own files only.
    meta_keys
        What else each row says of a fit: keys of its meta.json, such as method, seed, n_functions or a loss.
    ensemble
        Also evaluate the ensemble of all fits.
    ate
        Average effect of moving the exposure, "from,to", such as --ate=0,1; with --given the effect given covariates.
    given
        Conditions, a row and a curve each: "c=0,c=1", or "age=50,sex=0" "age=50,sex=1"; covariates that are not named
        are at their mean.
    level
        Level of intervals and bands.
    out
        CSV file to write.
    curves
        CSV file of the curves, a row a fit, condition and point.
    plot
        Figure (PNG, SVG or PDF by its ending): fits side by side, the ensemble over its members, or with --given the
        curves given covariates.
    seed
        Of what is random in bands.
    overwrite
        Replace files that are there.

    Returns
    -------
    dict
        Rows and files; nothing where the rows were printed as CSV.

    Raises
    ------
    InputError
        When something is not a fit, or an option cannot be read.
    """
    checks.level(level)
    checks.at_least("n_points", n_points, 2)
    for path in (out, curves, plot):
        if path is not None:
            check_writable(path, overwrite=overwrite)
    if plot is not None:
        check_figure(plot)
    truth = None if true_function is None else read_function(true_function)
    step = None if ate is None else parse_pair("ate", ate)
    conditions = parse_conditions(given or [])
    found = read_fits(fits)
    if ensemble:
        found.append(_ensemble(found))
    drawn = [
        _curves(fit, domain=domain, n_points=n_points, conditions=conditions, truth=truth, level=level, seed=seed)
        for fit in found
    ]
    rows = [
        _row(fit, one, condition, step=step, truth=truth, level=level) | _keys(fit, meta_keys or [])
        for fit, of_fit in zip(found, drawn, strict=True)
        for one, condition in zip(of_fit, [None, *conditions], strict=True)
    ]
    for key in meta_keys or []:
        if all(row[key] is None for row in rows):
            raise InputError(
                f"no fit has {key!r} in its meta.json; it has method, seed, n and its options, among others"
            )
    table = _table(rows, meta_keys or []).drop(columns=[] if conditions else ["given"])
    if curves is not None:
        with atomic_path(curves) as temporary:
            _curve_rows(found, drawn).to_csv(temporary, index=False)
    if plot is not None:
        figure = _figure(found, drawn, ensemble=ensemble, conditional=bool(conditions))
        with atomic_path(plot) as temporary:
            figure.savefig(temporary, format=plot.suffix[1:].lower(), dpi=DPI)
    files = {name: str(path) for name, path in (("curves", curves), ("figure", plot)) if path is not None}
    if out is None:
        for written in files.values():
            log.info("wrote %s", written)
        shown = table.map(lambda value: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value)
        sys.stdout.write(shown.to_csv(index=False))
        return {}
    with atomic_path(out) as temporary:
        table.to_csv(temporary, index=False)
    return {"evaluated": _shown(table), "table": str(out), **files}


def _ensemble(found: Sequence[Fit]) -> Fit:
    """Put fits together, over the exposures that are central to all of them."""
    if len(found) < FEWEST:
        raise InputError(f"an ensemble needs at least {FEWEST} fits; got {len(found)}")
    response = EnsembleResponse.of([fit.response for fit in found])
    ends = np.array([fit.response.record.central for fit in found])
    low, high = float(ends[:, 0].max()), float(ends[:, 1].min())
    if low < high:
        response = replace(response, record=replace(response.record, central=(low, high)))
    means = [fit.meta.get("data", {}).get("covariate_means", {}) for fit in found]
    shared = {name: float(np.mean([one[name] for one in means])) for name in means[0] if all(name in m for m in means)}
    meta = asdict(response.record) | {"data": {"covariate_means": shared}}
    return Fit(name=ENSEMBLE, response=response, meta=meta)


def _curves(
    fit: Fit,
    *,
    domain: str,
    n_points: int,
    conditions: Sequence[dict[str, float]],
    truth: Function | None,
    level: float,
    seed: int,
) -> list[DrawnCurve]:
    """Return the average curve of a fit, then one a condition; the truth is that of the average."""
    response = fit.response
    x = np.linspace(*domain_of(response.record, domain), n_points)
    average = DrawnCurve(
        label=fit.name,
        x=x,
        curve=response.avg_iv_reg_function(x, level=level),
        uniform=uniform_band(response, x, level=level, seed=seed),
        truth=None if truth is None else truth(x),
    )
    return [average] + [
        DrawnCurve(
            label=condition_text(condition),
            x=x,
            curve=response.iv_reg_function(x, covariates_at(fit, condition, n_points), level=level),
        )
        for condition in conditions
    ]


def _row(
    fit: Fit,
    drawn: DrawnCurve,
    condition: dict[str, float] | None,
    *,
    step: tuple[float, float] | None,
    truth: Function | None,
    level: float,
) -> dict[str, Any]:
    row: dict[str, Any] = {"file": fit.name, "given": "" if condition is None else drawn.label}
    row |= {"domain_low": drawn.x[0], "domain_high": drawn.x[-1], "level": level}
    row |= asdict(curve_accuracy(drawn.curve, drawn.truth, uniform=drawn.uniform))
    if step is not None:
        start, end = (np.array([value]) for value in step)
        if condition is None:
            effect = fit.response.ate(start, end, level=level)
        else:
            effect = fit.response.cate(start, end, covariates_at(fit, condition, 1), level=level)
        row |= _effect(effect)
        if truth is not None:
            row["ate_true"] = float(np.diff(truth(np.array(step)))[0]) if condition is None else None
    return row


def _effect(effect: Curve) -> dict[str, float | None]:
    ends = {"ate_se": effect.se, "ate_low": effect.low, "ate_high": effect.high}
    found = {name: None if values is None else float(values[0]) for name, values in ends.items()}
    return {"ate": float(effect.estimate[0]), **found}


def _keys(fit: Fit, keys: Sequence[str]) -> dict[str, Any]:
    return {key: meta_value(fit.meta, key) for key in keys}


def _table(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> pd.DataFrame:
    """Return rows as a table; what meta.json says as it stands there, whole numbers whole."""
    table = pd.DataFrame(rows)
    for key in keys:
        table[key] = pd.Series([row[key] for row in rows], dtype=object)
    return table


def _curve_rows(found: Sequence[Fit], drawn: Sequence[Sequence[DrawnCurve]]) -> pd.DataFrame:
    tables = []
    for fit, curves in zip(found, drawn, strict=True):
        for k, one in enumerate(curves):
            table = curve_table(one)
            table.insert(0, "file", fit.name)
            table.insert(1, "given", one.label if k else "")
            if one.truth is not None:
                table["truth"] = one.truth
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _figure(found: Sequence[Fit], drawn: Sequence[Sequence[DrawnCurve]], *, ensemble: bool, conditional: bool) -> Any:
    pairs = {(fit.response.record.exposure, fit.response.record.outcome) for fit in found}
    if len(pairs) > 1:
        told = "; ".join(sorted(f"{outcome} by {exposure}" for exposure, outcome in pairs))
        raise InputError(f"fits in one figure must be of the same exposure and outcome; got {told}")
    titles = _titles([fit.name for fit in found])
    titles = [title + weak_words(fit.response.record) for title, fit in zip(titles, found, strict=True)]
    drawn = [[replace(of_fit[0], label=title), *of_fit[1:]] for of_fit, title in zip(drawn, titles, strict=True)]
    record = found[0].response.record
    binary = all(fit.response.record.outcome_type == "binary" for fit in found)
    names: dict[str, Any] = {"exposure": record.exposure, "outcome": record.outcome, "binary": binary}
    if conditional:
        return conditional_figure([of_fit[1:] for of_fit in drawn], titles=titles, **names)
    if ensemble:
        whole = drawn[-1][0]
        members = [fit.response.avg_iv_reg_function(whole.x).estimate for fit in found[:-1]]
        return members_figure(members, replace(whole, label=f"ensemble of {len(members)} fits"), **names)
    histogram = found[0].meta.get("data", {}).get("exposure_histogram")
    if len(found) == 1 and histogram is not None:
        return response_figure(drawn[0][0], histogram=read_histogram(histogram), **names)
    return fits_figure([of_fit[0] for of_fit in drawn], **names)


def _titles(names: Sequence[str]) -> list[str]:
    """Return names of folders without the folder that all of them are in."""
    paths = [PurePath(name) for name in names]
    shared = 0
    while all(len(path.parts) > shared + 1 for path in paths) and len({path.parts[shared] for path in paths}) == 1:
        shared += 1
    return [str(PurePath(*path.parts[shared:])) for path in paths]


def _shown(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows for the summary, without columns that no fit has."""
    kept = table.drop(columns=[name for name in table if table[name].isna().all()])
    rows = kept.astype(object).where(kept.notna(), "").to_dict(orient="records")
    return [{str(name): value for name, value in row.items()} for row in rows]
