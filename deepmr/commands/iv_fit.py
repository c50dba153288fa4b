"""`deepmr iv fit`: how an outcome responds to an exposure, from individual-level data; files and figures of a fit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks
from deepmr.commands.iv_fits import domain_of
from deepmr.commands.iv_samples import Columns, Samples, describe, parse_options, read_samples, sample_rows, say_counts
from deepmr.commands.iv_words import instruments_say, interval_words, method_numbers, method_words, weak_words
from deepmr.individual import DoseResponse, OutcomeType
from deepmr.io.directories import atomic_directory, check_directory
from deepmr.io.iv_data import MissingGenotypes
from deepmr.io.iv_table import Separator
from deepmr.io.metrics import check_loggers, send_metrics, training_log
from deepmr.io.plink import SUFFIXES
from deepmr.io.provenance import provenance
from deepmr.io.responses import META, write_files
from deepmr.nonlinear import fit_response, make_method
from deepmr.nonlinear.accuracy import uniform_band
from deepmr.nonlinear.conformal import ConformalBand, fit_with_conformal
from deepmr.nonlinear.exposure_fit import predict_exposure
from deepmr.report.first_stage import first_stage_figure
from deepmr.report.response import DrawnCurve, Histogram, response_figure
from deepmr.report.style import DPI

OUTCOMES = "outcome_band.csv"
ESTIMATES, CURVE, FIRST_STAGE = "causal_estimates.csv", "causal_estimates.png", "first_stage.png"
N_POINTS = 200  # of the curve that is written


def fit(
    *,
    data: Path,
    exposure: str,
    outcome: str,
    instruments: list[str],
    out: Path,
    method: str = "auto",
    options: list[str] | None = None,
    covariates: list[str] | None = None,
    outcome_type: OutcomeType = "continuous",
    weight: str | None = None,
    cluster: str | None = None,
    genotypes: Path | None = None,
    sample_id: str | None = None,
    missing_genotypes: MissingGenotypes = "drop",
    outcome_data: Path | None = None,
    outcome_genotypes: Path | None = None,
    separator: Separator = "auto",
    level: float = 0.95,
    outcome_share: float | None = None,
    seed: int = 0,
    figures: bool = True,
    tensorboard: Path | None = None,
    wandb: str | None = None,
    overwrite: bool = False,
) -> dict[str, object]:
    """Fit how an outcome responds to an exposure, by instruments, from a table of samples.

    Writes a folder: the fit itself (meta.json, arrays.safetensors), the average response over the central 95 % of the
    exposure (causal_estimates.csv), and figures of it and of the first stage. `deepmr iv methods` lists the methods and
    their options, `deepmr iv evaluate` reads fits again.

    Parameters
    ----------
    data
        Table with a row a sample: tab-, comma- or semicolon-separated with a header, plain or gzip, or Parquet. Samples
        that lack a value in a column that is used are left out, and counted.
    exposure
        Column of the exposure.
    outcome
        Column of the outcome; 0 and 1 where it is binary.
    instruments
        Columns, or variants of --genotypes: names, ranges such as "v{1..20}" or "v{01..20}", and patterns such as
        "rs*", which pass over columns that have another role.
    out
        Folder to make.
    method
        Estimator, of those that deepmr iv methods lists.
    options
        Options of the method that are not its defaults, NAME=VALUE each, such as n_functions=12 or hidden=128,64.
    covariates
        Columns of covariates, used in both stages; ranges and patterns as for instruments.
    outcome_type
        Whether the outcome is a number or 0 and 1.
    weight
        Column of sample weights.
    cluster
        Column of what groups samples whose errors correlate, such as families.
    genotypes
        PLINK data set (.bed, .bim, .fam), its path without suffix: instruments are copies of the first allele of the
        .bim file, joined to the table by --sample-id.
    sample_id
        Column with the samples' identifiers, the second column of the .fam file.
    missing_genotypes
        Leave samples out that lack an instrument, or set it to the mean of the others.
    outcome_data
        Table of the second stage, where it is another sample; it needs no exposure, and --data no outcome.
    outcome_genotypes
        PLINK data set of that sample.
    separator
        What separates cells; auto looks at the header.
    level
        Level of the intervals and of the band of the whole curve.
    outcome_share
        Share of samples to hold out for a band of outcomes (outcome_band.csv): it holds a new sample's outcome at the
        level given, and is no interval of the response. By default there is none, and all samples are fitted.
    seed
        Of everything random.
    figures
        Draw figures.
    tensorboard
        Folder for event files of TensorBoard, where it is installed.
    wandb
        Project of Weights & Biases, or PROJECT:RUN, where it is installed.
    overwrite
        Replace a fit that is there.

    Returns
    -------
    dict
        Warnings; what instruments can tell; samples; the effect of moving the exposure from its lower to its upper
        quartile; what else the method reports; losses on validation samples; the folder.

    Raises
    ------
    InputError
        When the table, a column, the method or one of its options cannot be used.
    """
    used = {name: value for name, value in locals().items() if name != "overwrite" and value is not None}
    checks.level(level)
    check_directory(out, marker=META, overwrite=overwrite)
    check_loggers(tensorboard=tensorboard, wandb=wandb)
    chosen = parse_options(options or [])
    make_method(method, chosen)  # a wrong option is told before a long table is read
    columns = Columns(
        data=data,
        exposure=exposure,
        outcome=outcome,
        instruments=instruments,
        covariates=covariates or [],
        weight=weight,
        cluster=cluster,
        outcome_type=outcome_type,
        separator=separator,
        genotypes=genotypes,
        sample_id=sample_id,
        missing_genotypes=missing_genotypes,
        outcome_data=outcome_data,
        outcome_genotypes=outcome_genotypes,
    )
    samples = read_samples(columns)
    first, second = samples.first.data, samples.outcome_data
    band = None
    if outcome_share is None:
        response = fit_response(first, method=method, options=chosen, outcome_data=second, seed=seed)
    else:
        band = fit_with_conformal(
            first,
            method=method,
            options=chosen,
            outcome_data=second,
            seed=seed,
            level=level,
            share=outcome_share,
        )
        response = band.response
    record = provenance("iv fit", options=used, inputs=_inputs(columns), seed=seed)
    described = describe(samples)
    drawn = average_curve(response, level=level, seed=seed)
    log = training_log(response)
    with atomic_directory(out) as folder:
        write_files(response, folder, record, log, data=described)
        curve_table(drawn).to_csv(folder / ESTIMATES, index=False)
        if band is not None:
            outcome_table(band, drawn.x, described["covariate_means"]).to_csv(folder / OUTCOMES, index=False)
        if figures:
            _draw(folder, drawn, response, samples, described["exposure_histogram"])
    made, results = response.record, {**response.record.losses, **response.record.diagnostics}
    send_metrics(log, run="fit", options=made.options, results=results, tensorboard=tensorboard, wandb=wandb)
    return _summary(response, samples, out, level=level)


def average_curve(response: DoseResponse, *, level: float, seed: int = 0, n_points: int = N_POINTS) -> DrawnCurve:
    """Return the average response over the central 95 % of the exposure, with what intervals the method has.

    Parameters
    ----------
    response : any fitted one.
    level : of the intervals.
    seed : of what is random in the band.
    n_points : evenly spaced.
    """
    record = response.record
    x = np.linspace(*domain_of(record, "95"), n_points)
    return DrawnCurve(
        label=f"{record.exposure} → {record.outcome}: {record.method}{weak_words(record)}",
        x=x,
        curve=response.avg_iv_reg_function(x, level=level),
        uniform=uniform_band(response, x, level=level, seed=seed),
    )


def curve_table(drawn: DrawnCurve) -> pd.DataFrame:
    """Return a row a point: x, estimate and, where the method has them, se, low, high, uniform_low, uniform_high.

    Parameters
    ----------
    drawn : the curve.
    """
    table = drawn.curve.to_frame()
    table.insert(0, "x", drawn.x)
    if drawn.uniform is not None:
        table["uniform_low"], table["uniform_high"] = drawn.uniform.low, drawn.uniform.high
    return table


def outcome_table(band: ConformalBand, x: Float[np.ndarray, "points"], means: Mapping[str, float]) -> pd.DataFrame:
    """Return a row a point: x, and bounds of the outcome of a new sample with this exposure and mean covariates.

    Parameters
    ----------
    band : of outcomes.
    x : exposures.
    means : of the covariates.
    """
    covars = np.tile([means[name] for name in band.response.record.covariates], (len(x), 1)).astype(float)
    found = band.interval(x, covars if covars.size else None)
    return pd.DataFrame(
        {"x": x, "outcome_low": found.outcome_low, "outcome_high": found.outcome_high, "level": found.level}
    )


def read_histogram(described: Mapping[str, Any]) -> Histogram:
    """Return the histogram of the exposure that a fit's description has.

    Parameters
    ----------
    described : its edges and counts.
    """
    return Histogram(edges=np.asarray(described["edges"], float), counts=np.asarray(described["counts"], float))


def _inputs(columns: Columns) -> dict[str, Path]:
    found = {"data": columns.data}
    if columns.outcome_data is not None:
        found["outcome_data"] = columns.outcome_data
    for name, prefix in (("genotypes", columns.genotypes), ("outcome_genotypes", columns.outcome_genotypes)):
        if prefix is not None:
            stem = prefix.with_suffix("") if prefix.suffix in SUFFIXES else prefix
            found |= {f"{name}{suffix}": stem.with_name(stem.name + suffix) for suffix in SUFFIXES}
    return found


def _draw(
    folder: Path, drawn: DrawnCurve, response: DoseResponse, samples: Samples, histogram: Mapping[str, Any]
) -> None:
    record, first = response.record, samples.first.data
    shown = read_histogram(histogram)
    binary = record.outcome_type == "binary"
    figure = response_figure(drawn, exposure=record.exposure, outcome=record.outcome, binary=binary, histogram=shown)
    figure.savefig(folder / CURVE, dpi=DPI)
    if first.exposure is not None:
        figure = first_stage_figure(predict_exposure(first), first.exposure, name=record.exposure)
        figure.savefig(folder / FIRST_STAGE, dpi=DPI)


def _summary(response: DoseResponse, samples: Samples, out: Path, *, level: float) -> dict[str, object]:
    record = response.record
    low, _, high = record.quartiles
    effect = response.ate(np.array([low]), np.array([high]), level=level)
    row: dict[str, object] = {"exposure_from": low, "exposure_to": high, "effect": float(effect.estimate[0])}
    for name, values in (("se", effect.se), ("ci_low", effect.low), ("ci_high", effect.high)):
        if values is not None:
            row[name] = float(values[0])
    unit = f"probability of {record.outcome}" if record.outcome_type == "binary" else record.outcome
    row |= {"unit": unit, "interval": interval_words(record, level=None if effect.low is None else level)}
    said = [*say_counts(samples.first), *(() if samples.second is None else say_counts(samples.second))]
    return {
        "warnings": [*record.warnings, *_taken_as_number(response, samples)],
        "method": method_words(record),
        "response": f"{record.outcome} ({record.outcome_type}) by {record.exposure}",
        "instruments": len(record.instruments),
        "what_instruments_tell": instruments_say(record),
        "covariates": list(record.covariates),
        "samples": sample_rows(samples),
        "left_out": said,
        "effect_between_quartiles": [row],
        "diagnostics": method_numbers(record.diagnostics),
        "losses": [{"loss": name, "value": value} for name, value in record.losses.items()],
        "fit": str(out),
        "all_numbers": str(out / META),
    }


def _taken_as_number(response: DoseResponse, samples: Samples) -> list[str]:
    """Warn of an outcome that is 0 and 1 and was not said to be."""
    record, outcome = response.record, (samples.second or samples.first).data.outcome
    if record.outcome_type == "binary" or outcome is None or not np.isin(outcome, (0.0, 1.0)).all():
        return []
    return [f"{record.outcome} is 0 or 1 in every sample, and taken as a number: --outcome-type binary may be meant."]
