"""What `deepmr iv` commands take samples from, and what they say of those that were left out."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepmr.errors import InputError
from deepmr.individual import IVData, OutcomeType
from deepmr.io.complete_cases import ReadIVData
from deepmr.io.iv_data import MissingGenotypes, read_iv_data
from deepmr.io.iv_table import Separator
from deepmr.report import words

log = logging.getLogger(__name__)

BINS = 60  # of the histogram of the exposure
MOST_NAMED = 5  # columns whose missing values a sentence names


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Where samples are and what their columns mean; as in `read_iv_data`.

    Attributes
    ----------
    data, outcome_data : tables of the first stage and of the second, or None where that is the same.
    genotypes, outcome_genotypes : PLINK data sets of these samples.
    """

    data: Path
    exposure: str
    outcome: str
    instruments: Sequence[str]
    covariates: Sequence[str] = ()
    weight: str | None = None
    cluster: str | None = None
    outcome_type: OutcomeType = "continuous"
    separator: Separator = "auto"
    genotypes: Path | None = None
    sample_id: str | None = None
    missing_genotypes: MissingGenotypes = "drop"
    outcome_data: Path | None = None
    outcome_genotypes: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Samples of both stages; `second` is None where they are the same."""

    first: ReadIVData
    second: ReadIVData | None

    @property
    def outcome_data(self) -> IVData | None:
        """Sample of the second stage, where it is another one."""
        return None if self.second is None else self.second.data


def read_samples(columns: Columns) -> Samples:
    """Read the samples of one or two tables.

    Parameters
    ----------
    columns : where they are.

    Raises
    ------
    InputError
        As of `read_iv_data`.
    """
    given = columns
    if given.outcome_data is None and given.outcome_genotypes is not None:
        raise InputError("outcome_genotypes are those of outcome_data, which was not given")
    if given.outcome_data is not None and (given.genotypes is None) != (given.outcome_genotypes is None):
        raise InputError("two samples need both genotypes and outcome_genotypes, or instruments as columns of both")
    if given.outcome_data is None:
        return Samples(first=_read(given, given.data, given.genotypes, given.exposure, given.outcome), second=None)
    first = _read(given, given.data, given.genotypes, given.exposure, None)
    second = _read(given, given.outcome_data, given.outcome_genotypes, None, given.outcome)
    return Samples(first=first, second=second)


def _read(
    columns: Columns, path: Path, genotypes: Path | None, exposure: str | None, outcome: str | None
) -> ReadIVData:
    found = read_iv_data(
        path,
        exposure=exposure,
        outcome=outcome,
        instruments=columns.instruments,
        covariates=columns.covariates,
        weight=columns.weight,
        cluster=columns.cluster,
        outcome_type=columns.outcome_type,
        separator=columns.separator,
        genotypes=genotypes,
        sample_id=columns.sample_id,
        missing_genotypes=columns.missing_genotypes,
    )
    for sentence in say_counts(found):
        log.info("%s: %s", path, sentence)
    return found


def say_counts(found: ReadIVData) -> list[str]:
    """Say what became of the rows of a table.

    Parameters
    ----------
    found : what was read.
    """
    counts, said = found.counts, []
    if counts.n_without_genotypes or counts.n_unused_genotypes:
        said.append(
            f"{counts.n_without_genotypes:,} of {counts.n_read:,} samples have no genotypes; "
            f"{counts.n_unused_genotypes:,} samples of the genotypes are not in the table"
        )
    if counts.missing:
        worst = sorted(counts.missing.items(), key=lambda item: -item[1])
        named = ", ".join(f"{name} {n:,}" for name, n in worst[:MOST_NAMED])
        more = f", {len(worst) - MOST_NAMED} more columns" if len(worst) > MOST_NAMED else ""
        n = counts.n_read - counts.n_without_genotypes - counts.n_kept
        said.append(f"{n:,} samples lack a value and are left out (by column: {named}{more})")
    if counts.imputed:
        n = sum(counts.imputed.values())
        values, of = words.count(n, "missing value"), words.count(len(counts.imputed), "instrument")
        said.append(f"{values} of {of} {'is' if n == 1 else 'are'} set to the mean")
    return said


def sample_rows(samples: Samples) -> list[dict[str, object]]:
    """Return a row a sample: what was read, left out and kept.

    Parameters
    ----------
    samples : of one or both stages.
    """
    rows = []
    for name, one in (("first stage", samples.first), ("second stage", samples.second)):
        if one is not None:
            counts = one.counts
            rows.append(
                {
                    "sample": "both stages" if samples.second is None else name,
                    "read": counts.n_read,
                    "without_genotypes": counts.n_without_genotypes,
                    "incomplete": counts.n_read - counts.n_without_genotypes - counts.n_kept,
                    "used": counts.n_kept,
                }
            )
    return rows


def describe(samples: Samples) -> dict[str, Any]:
    """Return what a fit's description keeps of its samples, none of it about a single one.

    Parameters
    ----------
    samples : of both stages.
    """
    second = samples.second or samples.first
    means = second.data.covariates.mean(axis=0)
    described: dict[str, Any] = {
        "samples": sample_rows(samples),
        "missing": dict(samples.first.counts.missing),
        "imputed": dict(samples.first.counts.imputed),
        "covariate_means": dict(zip(second.data.covariate_names, map(float, means), strict=True)),
    }
    if samples.second is not None:
        described |= {"missing_outcome_data": dict(second.counts.missing)}
    exposure = samples.first.data.exposure
    if exposure is not None:
        low, high = np.quantile(exposure, [0.025, 0.975])
        counts, edges = np.histogram(exposure, bins=BINS, range=(low, high) if low < high else None)
        described["exposure_histogram"] = {"edges": edges.tolist(), "counts": counts.tolist()}
    return described


def parse_options(words: Sequence[str]) -> Mapping[str, str]:
    """Return name=value words as a mapping.

    Parameters
    ----------
    words : of the command line.

    Raises
    ------
    InputError
        For a word of another form, or a name that is there twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise InputError(f"options are NAME=VALUE, such as n_functions=12; got {word!r}")
        name = name.strip().replace("-", "_")
        if name in found:
            raise InputError(f"option {name} is given more than once")
        found[name] = value.strip()
    return found
