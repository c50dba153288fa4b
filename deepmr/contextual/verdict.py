"""Whether effects vary with context: a test, and predictions of loci not seen, in one sentence."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks
from deepmr.contexts import ContextData
from deepmr.contextual.held_out import HeldOutLoci
from deepmr.contextual.heterogeneity import heterogeneity_test
from deepmr.contextual.loci import LocusEffects
from deepmr.contextual.reml import fit_mixed
from deepmr.contextual.scaling import scale_contexts
from deepmr.errors import InputError

NO_EVIDENCE = "No evidence of contextual effects"
_SHARED = 0.1  # variance of shared errors along a direction, against all other variance there, that is not overlooked


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is said of context.

    Attributes
    ----------
    found : whether there is evidence of contextual effects.
    pvalue : of the test that effects do not vary with context.
    kernels : a row a form of variation, with its own P value.
    alpha : below which P values count.
    sentence : all of it in words.
    """

    found: bool
    pvalue: float
    kernels: pd.DataFrame
    alpha: float
    sentence: str


def judge_context(
    effects: LocusEffects, held_out: HeldOutLoci | None = None, *, alpha: float = 0.05, seed: int = 0
) -> Verdict:
    """Say whether there is evidence that effects of loci vary with context.

    Parameters
    ----------
    effects : of loci.
    held_out : how models foresee loci not seen; None to go by the test alone.
    alpha : size of the test.
    seed : of the draws of the test.

    Returns
    -------
    Verdict

    Notes
    -----
    The rule: there is evidence if the P value of the heterogeneity test (`heterogeneity_test`, all its kernels
    together) is below `alpha` and, where held-out loci were scored, the interval of the log score of the contextual
    model less that of random effects is above 0. In every other case the sentence says that there is none. Without
    any effect of context it is said at most at the rate of the test, `alpha`, whatever the held-out scores are.
    """
    checks.level(alpha)
    pvalue, kernels = context_pvalue(effects, seed=seed)
    significant = pvalue < alpha
    test = f"P = {pvalue:.2g} in the test of heterogeneity"
    if held_out is None:
        words = "Evidence of contextual effects" if significant else NO_EVIDENCE
        return Verdict(found=significant, pvalue=pvalue, kernels=kernels, alpha=alpha, sentence=f"{words}: {test}.")
    gain, low, high = held_out.difference("random")
    better = low > 0
    found = significant and better
    against = f"{gain:+.3f} a locus, {low:+.3f} to {high:+.3f}"
    if found:
        sentence = (
            f"Evidence of contextual effects: {test}, and held-out loci are foreseen better than by random effects "
            f"(log score {against}){_linear(held_out)}."
        )
    elif significant:
        sentence = (
            f"{NO_EVIDENCE}: the test of heterogeneity says that there are some (P = {pvalue:.2g}), but held-out "
            f"loci are not foreseen better than by random effects (log score {against})."
        )
    else:
        sentence = f"{NO_EVIDENCE}: {test}; log score of held-out loci against random effects {against}."
    return Verdict(found=found, pvalue=pvalue, kernels=kernels, alpha=alpha, sentence=sentence)


def _linear(held_out: HeldOutLoci) -> str:
    try:
        gain, low, high = held_out.difference("linear")
    except InputError:
        return ""
    how = "better" if low > 0 else "worse" if high < 0 else "no better or worse"
    return f"; {how} than by a linear meta-regression ({gain:+.3f}, {low:+.3f} to {high:+.3f})"


def context_pvalue(effects: LocusEffects, *, n_draws: int = 1999, seed: int = 0) -> tuple[float, pd.DataFrame]:
    """Test whether effects vary with context, errors that loci share taken for what they are.

    Parameters
    ----------
    effects : of loci.
    n_draws, seed : of the test.

    Returns
    -------
    The P value, 1 where no context varies; and a row a form of variation: `kernel`, `pvalue`.

    Notes
    -----
    Shared errors that go with context would pass for its effect. Directions along which they have more than a tenth of
    the variance that loci have of their own are columns of the null model, with any coefficients: what goes along them
    is no evidence of anything.
    """
    data = effects.as_data()
    if not len(scale_contexts(data).used):
        return 1.0, pd.DataFrame({"kernel": [], "pvalue": []})
    columns = _shared_directions(effects)
    names = tuple(f"shared {k}" for k in range(columns.shape[1]))
    given = ContextData(
        contexts=data.contexts,
        predictors=columns,
        outcomes=data.outcomes,
        context_names=data.context_names,
        predictor_names=names,
        outcome_names=data.outcome_names,
        se_outcome=data.se_outcome,
    )
    test = heterogeneity_test(given, which="mu", nuisance="constant", n_draws=n_draws, seed=seed)
    kernels = pd.DataFrame({"kernel": test.kernels, "pvalue": test.kernel_pvalue[:, 0]})
    return float(test.pvalue[0]), kernels


def _shared_directions(effects: LocusEffects) -> Float[np.ndarray, "loci directions"]:
    n = len(effects)
    if effects.error_factors is None:
        return np.zeros((n, 0))
    tau2 = fit_mixed(effects.beta, effects.se, np.ones((n, 1))).tau2
    own = np.sqrt(effects.se**2 + tau2)
    ones = 1 / own / np.linalg.norm(1 / own)
    whitened = effects.error_factors / own
    whitened = whitened - np.outer(whitened @ ones, ones)
    _, size, directions = np.linalg.svd(whitened, full_matrices=False)
    kept: np.ndarray = directions[size**2 > _SHARED].T * own[:, None]
    return kept
