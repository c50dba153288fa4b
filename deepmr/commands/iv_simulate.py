"""`deepmr iv simulate`: individual-level data whose true response is known, as files."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from deepmr import checks
from deepmr.errors import InputError
from deepmr.io.files import atomic_path, check_writable
from deepmr.io.provenance import provenance
from deepmr.io.simulated_models import plain_parameters, read_model
from deepmr.io.tables import write_table
from deepmr.simulate.iv_designs import DESIGNS, SimulatedIV, simulate_iv
from deepmr.simulate.sampling import draw_sample

POINTS = 200
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of a covariate, where the truth given covariates is written


def iv_simulate(
    *,
    design: str = "poly20",
    n: int = 10_000,
    seed: int = 0,
    hidden: bool = False,
    out: Path,
    overwrite: bool = False,
) -> dict[str, object]:
    """Simulate individual-level data with instruments, and the true response.

    Writes the table of samples, beside it STEM.truth.tsv with E[outcome | do(exposure = x)] on a grid,
    STEM.truth_given.tsv with the same at quantiles of the covariates, where there are any, and how it was made (.json).

    Parameters
    ----------
    design
        Name of a ready design, or FILE.py:NAME of a model of your own; an unknown name lists what there is.
    n
        Samples.
    seed
        Seed; the same design, seed and number of samples give the same data.
    hidden
        Write confounders and errors too, as columns; of models alone.
    out
        Table to write, .tsv, .tsv.gz or .parquet.
    overwrite
        Replace files that are there.

    Returns
    -------
    dict
        What the design is, names of the columns, and the files.

    Raises
    ------
    InputError
        For an unknown design, or a model that cannot be read.
    """
    checks.at_least("n", n, 2)
    checks.at_least("seed", seed, 0)
    stem = out.name.removesuffix(".gz").rpartition(".")[0]
    if not stem or not out.name.endswith((".tsv", ".tsv.gz", ".parquet")):
        raise InputError(f"{out}: the table must be called .tsv, .tsv.gz or .parquet")
    files = {name: out.with_name(f"{stem}.{name}.tsv") for name in ("truth", "truth_given")}
    record = out.with_name(out.name + ".json")
    for path in (out, record, *files.values()):
        check_writable(path, overwrite=overwrite)
    if ":" in design:
        sample = draw_sample(read_model(design), n, seed=seed)
        parameters, says = plain_parameters(sample), sample.model.says or f"the model {design.rpartition(':')[2]}"
        given = sample.truth_given if sample.data.covariate_names else None
        drawn = SimulatedIV(design=design, data=sample.data, truth=sample.truth, truth_given=given)
        frame = sample.to_frame() if hidden else drawn.data.to_frame()
    else:
        if hidden:
            raise InputError("hidden is for models of your own, given as FILE.py:NAME; a ready design keeps no others")
        drawn, says, parameters = simulate_iv(design, n=n, seed=seed), DESIGNS.get(design, ""), {}
        frame = drawn.data.to_frame()
    written = [out, files["truth"], record]
    write_table(frame, out)
    write_table(truth_table(drawn), files["truth"])
    if drawn.truth_given is None:
        files["truth_given"].unlink(missing_ok=True)  # of an earlier design
    else:
        write_table(truth_given_table(drawn), files["truth_given"])
        written.insert(2, files["truth_given"])
    options = {"design": design, "n": n, "hidden": hidden, "out": out}
    made = provenance("iv simulate", options=options, inputs={}, seed=seed) | {"parameters": parameters, "says": says}
    with atomic_path(record) as temporary:
        temporary.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    return {
        "design": f"{design}: {says}",
        "samples": n,
        "exposure": drawn.data.exposure_name,
        "outcome": drawn.data.outcome_name,
        "instruments": instruments_text(drawn.data.instrument_names),
        "covariates": list(drawn.data.covariate_names),
        "files": [str(path) for path in written],
    }


def instruments_text(names: Sequence[str]) -> str:
    """Return names as `deepmr iv fit --instruments` takes them: v{1..20} for v1 to v20.

    Parameters
    ----------
    names : of instruments.
    """
    stem = names[0].removesuffix("1")
    if len(names) > 1 and list(names) == [f"{stem}{k}" for k in range(1, len(names) + 1)]:
        return f"{stem}{{1..{len(names)}}}"
    return " ".join(names)


def truth_table(drawn: SimulatedIV) -> pd.DataFrame:
    """Return the true average response on an even grid over the exposures.

    Parameters
    ----------
    drawn : of a design.
    """
    assert drawn.data.exposure is not None
    x = np.linspace(drawn.data.exposure.min(), drawn.data.exposure.max(), POINTS)
    return pd.DataFrame({drawn.data.exposure_name: x, "truth": drawn.truth(x)})


def truth_given_table(drawn: SimulatedIV) -> pd.DataFrame:
    """Return the true response at quantiles of each covariate, the others at their medians.

    Parameters
    ----------
    drawn : of a design with covariates.
    """
    assert drawn.truth_given is not None
    covariates, x = drawn.data.covariates, truth_table(drawn)[drawn.data.exposure_name].to_numpy()
    middle = np.median(covariates, axis=0)
    parts = []
    for k in range(covariates.shape[1]):
        for value in np.unique(np.quantile(covariates[:, k], QUANTILES)):
            if k and value == middle[k]:
                continue  # all at their medians: there already
            given = np.tile(middle, (len(x), 1))
            given[:, k] = value
            columns = dict(zip(drawn.data.covariate_names, given.T, strict=True))
            parts.append(pd.DataFrame({drawn.data.exposure_name: x, **columns, "truth": drawn.truth_given(x, given)}))
    return pd.concat(parts, ignore_index=True)
