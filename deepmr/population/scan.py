"""A scan of markers in blocks: what is made once of the null model, and what is done for each block."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Real

from deepmr import checks
from deepmr.cohort import Cohort
from deepmr.errors import InputError
from deepmr.population import markers as prepared
from deepmr.population.exact import exact_statistics
from deepmr.population.exact_model import Exact, prepare_exact, score_gamma
from deepmr.population.marker_moments import (
    Weighted,
    rotated_moments,
    triangular_factor,
    turn_markers,
    weigh,
)
from deepmr.population.marker_statistics import MarkerTest, Precision, Tested, marker_statistics
from deepmr.population.markers import prepare_markers
from deepmr.population.null_model import NullModel, OnBoundary, fit_null
from deepmr.population.projection import project
from deepmr.population.spectrum import Spectrum

Gamma = Literal["null", "exact"]
ToDevice = Callable[[np.ndarray], Any]
TRAITS = 64  # tested together: bounds memory
VARIANT = ("variant_id", "chrom", "pos", "effect_allele", "other_allele")
COLUMNS = (
    *(*VARIANT, "trait", "beta", "se", "sigma_sq", "chi_sq", "pvalue", "log10p"),
    *("n", "eaf", "mac", "status"),
)
OPTIONAL = ("log_gamma",)  # of tests that fit gamma again for each marker


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """All that tests of one chromosome's markers need: made once, used for every block, never changed.

    Attributes
    ----------
    null : of all traits.
    vectors : P, in the precision of the scan; on the device, where there is one.
    weighted : for markers rotated by P, a stretch of traits each.
    factor : T in place of P, for one trait of full rank; otherwise None.
    turned : for markers turned by it.
    exact : for gamma of each marker's own; otherwise None.
    test, gamma, precision, to_device : as in `prepare_scan`.
    """

    null: NullModel
    vectors: Any
    weighted: tuple[Weighted, ...]
    factor: np.ndarray | None
    turned: Weighted | None
    exact: Exact | None
    test: MarkerTest
    gamma: Gamma
    precision: Precision
    to_device: ToDevice | None

    @property
    def low_rank(self) -> bool:
        """Whether markers are needed before rotation too."""
        return len(self.null.projected.s) < self.null.projected.n


def fit_cohort(cohort: Cohort, spectrum: Spectrum, *, on_boundary: OnBoundary = "ols") -> NullModel:
    """Fit the null model of every trait.

    Parameters
    ----------
    cohort : without missing phenotypes (`Cohort.complete`).
    spectrum : of the relationship matrix of these samples, in this order.
    on_boundary : as in `fit_null`.
    """
    y, x, p = cohort.phenotypes, cohort.design, spectrum.vectors
    whole = {"y": y, "x": x} if spectrum.low_rank else {}
    model = project(p @ y, p @ x, spectrum.eigenvalues, names=cohort.design_names, unit=spectrum.unit, **whole)
    return fit_null(model, on_boundary=on_boundary)


def prepare_scan(
    cohort: Cohort,
    spectrum: Spectrum,
    *,
    test: MarkerTest = "f",
    gamma: Gamma = "null",
    precision: Precision = "float64",
    on_boundary: OnBoundary = "ols",
    n_markers: int | None = None,
    to_device: ToDevice | None = None,
) -> Scan:
    """Fit the null model of every trait, and make it ready for blocks of markers.

    Parameters
    ----------
    cohort
        Without missing phenotypes (`Cohort.complete`).
    spectrum
        Of the relationship matrix of these samples, in this order.
    test, precision, on_boundary
        As in `associate_variants`.
    gamma
        `null`: of the model without the marker; `exact`: fitted for each marker, as in `exact_statistics`.
    n_markers
        How many will be tested, where known: a triangular factor, which halves the cost of a marker, is made only where
        it pays.
    to_device
        As in `associate_variants`.
    """
    if spectrum.n != len(cohort):
        raise InputError(f"the spectrum is of {spectrum.n} samples, the cohort has {len(cohort)}")
    checks.finite("phenotypes", cohort.phenotypes)
    checks.one_of("test", test, get_args(MarkerTest))
    checks.one_of("gamma", gamma, get_args(Gamma))
    checks.one_of("precision", precision, get_args(Precision))
    checks.one_of("on_boundary", on_boundary, get_args(OnBoundary))
    y, x, p = cohort.phenotypes, cohort.design, spectrum.vectors
    if len(y) <= x.shape[1] + 1:
        raise InputError(f"a marker needs more than {x.shape[1] + 1} samples, with this many covariates; got {len(y)}")
    whole = {"y": y, "x": x} if spectrum.low_rank else {}
    null = fit_cohort(cohort, spectrum, on_boundary=on_boundary)
    model = null.projected
    stretches = [slice(start, start + TRAITS) for start in range(0, model.traits, TRAITS)]
    # A score test is at the maximum of the likelihood; its null model is reported as REML has it. Least squares stay.
    held = null
    if test == "score":
        held = fit_null(model, log_gamma=score_gamma(null))
    weighted = [weigh(held, **whole, traits=traits) for traits in stretches]
    exact = None
    if gamma == "exact":
        exact = prepare_exact(null, test=test, **whole, precision=precision, to_device=to_device)
    dtype = np.dtype(precision)
    factor = turned = None
    pays = n_markers is None or n_markers > 2 * spectrum.n
    if pays and to_device is None and gamma == "null" and not spectrum.low_rank and model.traits == 1:
        factor, turned = triangular_factor(weighted[0], p)
        factor = factor.astype(dtype, copy=False)
    vectors: Any = p.astype(dtype, copy=False)
    if to_device is not None:
        vectors, weighted = to_device(vectors), [part.placed(to_device) for part in weighted]
    return Scan(
        null=null,
        vectors=vectors,
        weighted=tuple(weighted),
        factor=factor,
        turned=turned,
        exact=exact,
        test=test,
        gamma=gamma,
        precision=precision,
        to_device=to_device,
    )


def scan_block(
    scan: Scan, dosages: Real[np.ndarray, "variants samples"], *, min_mac: int | float = 0.0, max_missing: float = 1.0
) -> dict[str, np.ndarray]:
    """Test a block of markers: columns of variants by traits, or of variants.

    Parameters
    ----------
    scan : of `prepare_scan`.
    dosages : missing as in `prepare_markers`.
    min_mac, max_missing : as there.
    """
    dtype = np.float64 if scan.precision == "float64" else np.float32
    ready = prepare_markers(dosages, min_mac=min_mac, max_missing=max_missing, dtype=dtype)
    about = {"n": ready.n, "eaf": ready.eaf, "mac": ready.mac, "status": ready.status}
    if scan.factor is not None and scan.turned is not None:
        return _tested(scan, (scan.turned,), turn_markers(scan.factor, ready.centred), None, about)
    markers: Any = ready.centred if scan.to_device is None else scan.to_device(ready.centred)
    return _tested(scan, scan.weighted, markers @ scan.vectors.T, markers, about)


def scan_rotated(
    scan: Scan, rotated: Any, about: Mapping[str, np.ndarray], *, markers: Any = None
) -> dict[str, np.ndarray]:
    """Test markers that were rotated before; the same columns as those of `scan_block`.

    Parameters
    ----------
    scan : of `prepare_scan`.
    rotated : P a of each centred marker, (variants, rank), where the arrays of the scan are.
    about : `n`, `eaf`, `mac` and `status` of each marker, of `prepare_markers`.
    markers : centred, needed in a model of low rank.
    """
    if scan.low_rank and markers is None:
        raise InputError("a model of low rank needs markers before rotation too; got rotated ones alone")
    return _tested(scan, scan.weighted, rotated, markers, about)


def block_table(variants: pd.DataFrame, traits: tuple[str, ...], columns: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return the tests of a block as a table, a row a variant and trait.

    Parameters
    ----------
    variants : of the block.
    traits : names.
    columns : of `scan_block`.
    """
    times, rows = len(traits), len(variants)
    table: dict[str, Any] = {name: np.repeat(variants[name].to_numpy(), times) for name in VARIANT}
    table["trait"] = np.tile(np.array(traits, dtype=object), rows)
    for name in (*COLUMNS[len(table) :], *(extra for extra in OPTIONAL if extra in columns)):
        values = columns[name]
        table[name] = values.ravel() if values.ndim == 2 else np.repeat(values, times)
    return pd.DataFrame(table, copy=False)


def _tested(
    scan: Scan, parts: tuple[Weighted, ...], turned: Any, markers: Any, about: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the columns of a block, a stretch of traits after the other."""
    if scan.exact is not None:
        tested, log_gamma = exact_statistics(scan.exact, turned, markers if scan.low_rank else None)
        columns = _columns(about["status"], tested)
        log_gamma = np.where(columns["status"] == prepared.OK, log_gamma, np.nan)
        return columns | {name: about[name] for name in ("n", "eaf", "mac")} | {"log_gamma": log_gamma}
    found = []
    for weighted in parts:
        moments = rotated_moments(weighted, turned, markers)
        found.append(
            marker_statistics(
                moments, weighted.rss, n=weighted.n, fixed=weighted.fixed, test=scan.test, precision=scan.precision
            )
        )
    pieces = [_columns(about["status"], part) for part in found]
    joined = {name: np.concatenate([piece[name] for piece in pieces], axis=1) for name in pieces[0]}
    return joined | {name: about[name] for name in ("n", "eaf", "mac")}


def _columns(status: np.ndarray, found: Tested) -> dict[str, np.ndarray]:
    """Return what a table says: missing where a marker was not tested."""
    values = {
        "beta": found.beta,
        "se": found.se,
        "sigma_sq": found.sigma_sq,
        "chi_sq": found.chi_sq,
        "pvalue": np.exp(found.log_p),
        "log10p": 0.0 - found.log_p / np.log(10.0),
    }
    bad = ~np.isfinite(found.beta) | ~np.isfinite(found.se) | ~np.isfinite(found.log_p)
    names = np.repeat(status[:, None], found.beta.shape[1], axis=1)
    tested = np.repeat((status == prepared.OK)[:, None], found.beta.shape[1], axis=1)
    # The last of these is the one that is said: without variance in the marker, none of the others means anything.
    for why, where in (
        (prepared.NOT_FINITE, bad),
        (prepared.NO_VARIANCE, found.no_variance),
        (prepared.COLLINEAR, found.collinear),
    ):
        if where.any():
            names[where & (status == prepared.OK)[:, None]] = why
            tested &= ~where
    if not tested.all():
        for column in values.values():
            column[~tested] = np.nan
    return values | {"status": names}
