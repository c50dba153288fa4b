"""Effects of loci that go with context, and instruments of such loci, with the truth."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks, inference
from deepmr.simulate.instruments import variant_frame
from deepmr.simulate.motifs import MotifSet
from deepmr.simulate.options import PRESETS, SimulationOptions
from deepmr.simulate.sequences import simulate_loci
from deepmr.simulate.spacing import pair_gaps
from deepmr.simulate.truth import true_effects
from deepmr.types import Estimates, Instruments

Law = Literal["interaction", "wavy", "linear", "constant"]
LAWS: dict[str, str] = {
    "interaction": "0.3 + 0.122 c1 + 0.16 c1 tanh c2 + 0.1 c3 tanh c2: three contexts matter, not additively",
    "wavy": "0.3 + 0.1 c1 + 0.14 c1 [c2 > 0] + 0.1 sin 2 c3: with a jump and a wave",
    "linear": "0.3 + 0.122 c1 + 0.122 c2",
    "constant": "0.3 at every locus",
}
_N_CHROMOSOMES = 22
_MEMBER = (0.15, 0.05, 0.05)  # sd over members of errors at all loci alike, along the first context, and at one locus
_STRONG = 0.1  # exposure response of a locus, as a share of the median one, from which on it is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedEffects:
    """Effects of loci, their contexts, and the truth.

    Attributes
    ----------
    estimates : a row a locus that was measured.
    contexts : `locus`, `chrom` and the contexts, with `<context>_se` where they have errors; the measured loci first,
        then new ones.
    truth : `locus`, `context_beta` (f at the true context) and `own_beta` (the locus's own effect) of the same loci.
    true_contexts : a column a context, without errors.
    """

    estimates: Estimates
    contexts: pd.DataFrame
    truth: pd.DataFrame
    true_contexts: Float[np.ndarray, "loci contexts"]


def law_of(law: Law, contexts: Float[np.ndarray, "loci contexts"]) -> Float[np.ndarray, "loci"]:
    """Return the mean effect at contexts.

    Parameters
    ----------
    law : a key of `LAWS`, which states each.
    contexts : three or more, about standard normal.
    """
    checks.one_of("law", law, get_args(Law))
    one, two, three = contexts.T[:3]
    if law == "interaction":
        return 0.3 + 0.122 * one + (0.16 * one + 0.1 * three) * np.tanh(two)
    if law == "wavy":
        return 0.3 + 0.1 * one + 0.14 * one * (two > 0) + 0.1 * np.sin(2 * three)
    return np.full(len(contexts), 0.3) + (0.122 * (one + two) if law == "linear" else 0.0)


def simulate_context_effects(
    law: Law = "interaction",
    *,
    n_loci: int = 300,
    n_new: int = 100,
    n_contexts: int = 6,
    tau: float = 0.08,
    se: tuple[float, float] = (0.05, 0.4),
    context_error: float = 0.0,
    n_members: int = 0,
    seed: int = 0,
) -> SimulatedEffects:
    """Simulate effects of loci that go with their contexts.

    Parameters
    ----------
    law : a key of `LAWS`.
    n_loci, n_new : measured loci and new ones.
    n_contexts : standard normal and independent, at least 3, of which the first three may matter.
    tau : standard deviation of loci about the law.
    se : standard errors are uniform between these.
    context_error : standard deviation of errors of all contexts, which are told as `<context>_se`.
    n_members : of an ensemble, whose members err at all loci alike, along the first context, and at single loci; the
        estimate is their mean, the truth one more member. 0 for independent errors.
    seed : of the random stream.

    Examples
    --------
    >>> made = simulate_context_effects(n_loci=20, n_new=5)
    >>> len(made.estimates), len(made.contexts)
    (20, 25)
    """
    checks.at_least("n_loci", n_loci, 1)
    checks.at_least("n_contexts", n_contexts, 3)
    rng = np.random.default_rng(seed)
    n = n_loci + n_new
    true = rng.standard_normal((n, n_contexts))
    f = law_of(law, true)
    own = f + tau * rng.standard_normal(n)
    own_se = rng.uniform(*se, n_loci)
    beta = own[:n_loci] + own_se * rng.standard_normal(n_loci)
    factors = None
    if n_members:
        alike, along, single = _MEMBER
        off = alike * rng.standard_normal((n_members + 1, 1)) + single * rng.standard_normal((n_members + 1, n_loci))
        off = off + along * rng.standard_normal((n_members + 1, 1)) * true[:n_loci, 0]
        beta = beta + off[:-1].mean(axis=0) - off[-1]
        factors = (off[:-1] - off[:-1].mean(axis=0)) * np.sqrt((1 + 1 / n_members) / (n_members - 1))
    names = [f"context{k + 1}" for k in range(n_contexts)]
    seen = true + context_error * rng.standard_normal(true.shape)
    locus = [f"locus{i}" for i in range(n)]
    contexts = pd.DataFrame({"locus": locus, "chrom": [f"chr{k}" for k in rng.integers(1, _N_CHROMOSOMES + 1, n)]})
    contexts = contexts.assign(**dict(zip(names, seen.T, strict=True)))
    if context_error > 0:
        contexts = contexts.assign(**{f"{name}_se": context_error for name in names})
    return SimulatedEffects(
        estimates=_estimates(locus[:n_loci], beta, own_se, factors, "model" if n_members else "population"),
        contexts=contexts,
        truth=pd.DataFrame({"locus": locus, "context_beta": f, "own_beta": own}),
        true_contexts=true,
    )


def _estimates(
    loci: list[str],
    beta: Float[np.ndarray, "loci"],
    se: Float[np.ndarray, "loci"],
    factors: Float[np.ndarray, "factors loci"] | None,
    estimand: str,
) -> Estimates:
    whole = se if factors is None else np.sqrt(se**2 + (factors**2).sum(axis=0))
    low, high = inference.interval(beta, whole)
    table = pd.DataFrame(
        {"method": "ivw", "exposure": "exposure", "outcome": "outcome", "locus": loci, "estimand": estimand}
    ).assign(beta=beta, se=whole, ci_low=low, ci_high=high, pvalue=inference.two_sided(beta, whole), n=20)
    if factors is not None:
        table = table.assign(se_sampling=se)
    return Estimates(table=table, error_factors=factors)


def simulate_spacing_effects(
    motifs: MotifSet,
    *,
    n_loci: int = 200,
    se: tuple[float, float] = (0.1, 0.4),
    shuffled: bool = False,
    seed: int = 0,
) -> SimulatedEffects:
    """Simulate effects that fall with the gap between two motifs, from sequences.

    Parameters
    ----------
    motifs : of exposure, outcome and confounder.
    n_loci : with both motifs.
    se : standard errors are uniform between these.
    shuffled : whether contexts are those of other loci: a negative control.
    seed : of the random stream.

    Returns
    -------
    SimulatedEffects
        Contexts `gap` (bases between the motifs), `exposure_start`, and `gc`, the share of G and C outside of the
        motifs. `context_beta` and `own_beta` are both the true effect of the locus, computed from its sequence.

    Notes
    -----
    The preset `spacing`: the exposure's effect at a bound outcome motif falls as exp(-gap / 30). Loci at which edits of
    the motif hardly change the exposure, a tenth of the median or less, are left out: their ratio means nothing.
    """
    options = SimulationOptions(motifs=motifs, **PRESETS["spacing"])
    drawn = simulate_loci(5 * n_loci + 40, options=options, split="test", seed=seed)
    truth = true_effects(drawn, options=options)
    truth = truth[truth["kind"] == "both"].merge(pair_gaps(drawn.planted()), on="locus")
    truth = truth[truth["sum_dx2"] > _STRONG * truth["sum_dx2"].median()].head(n_loci).reset_index(drop=True)
    rows = drawn.sequences.loci.reset_index(drop=True).reset_index().set_index("locus").loc[truth["locus"], "index"]
    where = rows.to_numpy(int)
    rng = np.random.default_rng([seed, 1])
    start = drawn.starts[where, 0].astype(float)
    inside = np.zeros(drawn.codes[where].shape, dtype=bool)
    for role in (0, 1):
        place = np.arange(inside.shape[1]) - drawn.starts[where, role, None]
        inside |= (place >= 0) & (place < drawn.motifs.widths[role])
    gc = np.isin(drawn.codes[where], (1, 2))
    share = (gc & ~inside).sum(axis=1) / (~inside).sum(axis=1)
    values = np.column_stack([truth["gap"].to_numpy(float), start, share])
    if shuffled:
        values = rng.permutation(values)
    beta, errors = truth["beta"].to_numpy(float), rng.uniform(*se, len(truth))
    locus = [str(name) for name in truth["locus"]]
    contexts = pd.DataFrame({"locus": locus, "chrom": [f"chr{k}" for k in rng.integers(1, 23, len(locus))]})
    seen = beta + errors * rng.standard_normal(len(beta))
    return SimulatedEffects(
        estimates=_estimates(locus, seen, errors, None, "model"),
        contexts=contexts.assign(gap=values[:, 0], exposure_start=values[:, 1], gc=values[:, 2]),
        truth=pd.DataFrame({"locus": locus, "context_beta": beta, "own_beta": beta}),
        true_contexts=values,
    )


def simulate_context_instruments(
    law: Law = "interaction",
    *,
    n_loci: int = 200,
    n_instruments: int = 20,
    n_contexts: int = 3,
    mean_f: float = 60.0,
    tau: float = 0.08,
    pleiotropy: float = 0.0,
    direct: float = 0.0,
    seed: int = 0,
) -> tuple[Instruments, pd.DataFrame, pd.DataFrame]:
    """Simulate instruments of loci whose effect goes with context.

    Parameters
    ----------
    law : a key of `LAWS`.
    n_loci, n_instruments : loci, and instruments of each.
    n_contexts : as for `simulate_context_effects`.
    mean_f : mean F statistic of an instrument, above 1.
    tau : standard deviation of loci about the law.
    pleiotropy : standard deviation of balanced direct effects, in standard errors of the outcome effects.
    direct : direct effects to one side, in standard errors, times 1 + the first context: the intercept of contextual
        Egger.
    seed : of the random stream.

    Returns
    -------
    The instruments, all of whose true exposure effects are positive; contexts (`locus`, `chrom`, contexts); and the
    truth (`locus`, `context_beta`, `own_beta`, `intercept`).
    """
    rng = np.random.default_rng(seed)
    true = rng.standard_normal((n_loci, n_contexts))
    f = law_of(law, true)
    own = f + tau * rng.standard_normal(n_loci)
    rows = n_loci * n_instruments
    se = 0.02 * rng.uniform(0.8, 1.2, (rows, 2))
    gamma = se[:, 0] * rng.uniform(0.5, 1.5, rows) / np.sqrt(1 + 1 / 12) * np.sqrt(mean_f - 1)
    intercept = 0.02 * direct * (1 + true[:, 0])
    alpha = np.repeat(intercept, n_instruments) + 0.02 * pleiotropy * rng.standard_normal(rows)
    seen = np.column_stack([gamma, np.repeat(own, n_instruments) * gamma + alpha])
    seen = seen + se * rng.standard_normal((rows, 2))
    loci = tuple(f"locus{i}" for i in range(n_loci))
    instruments = Instruments(
        loci=loci,
        offsets=np.arange(n_loci + 1) * n_instruments,
        exposures=("exposure",),
        outcome="outcome",
        variants=variant_frame(loci, n_instruments),
        beta_exposure=seen[:, :1],
        se_exposure=se[:, :1],
        beta_outcome=seen[:, 1],
        se_outcome=se[:, 1],
        estimand="population",
    )
    names = [f"context{k + 1}" for k in range(n_contexts)]
    contexts = pd.DataFrame({"locus": loci, "chrom": [f"chr{k}" for k in rng.integers(1, 23, n_loci)]})
    contexts = contexts.assign(**dict(zip(names, true.T, strict=True)))
    truth = pd.DataFrame({"locus": loci, "context_beta": f, "own_beta": own, "intercept": intercept})
    return instruments, contexts, truth
