"""Contextual effects against simpler models on loci that they have not seen, chromosomes at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import stats

from deepmr import checks
from deepmr.contextual.causal import ContextualMR, fit_contextual_mr
from deepmr.contextual.comparators import COMPARATORS, Comparator, Predicted, fit_comparator, predict_contextual
from deepmr.contextual.loci import LocusEffects
from deepmr.contextual.reml import fit_mixed
from deepmr.errors import InputError

SCORES = ["method", "rmse", "log_score", "coverage", "n"]
PAIRED = ["method", "against", "difference", "se", "ci_low", "ci_high", "pvalue", "n_blocks"]
_BLOCKS = 5  # chromosomes from which on they are the blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutLoci:
    """How well models foresee estimates of loci that they were not fitted to.

    Attributes
    ----------
    loci : a row a locus: `locus`, `chrom`, `fold`, `beta`, and of each method its prediction and log density.
    scores : a row a method: `rmse` about the estimates, weights 1 / (tau^2 + se^2) by random effects; `log_score`, the
        mean log density; `coverage` of the predictive intervals; `n`.
    paired : the contextual model against each other one: `difference` of the log score a locus, its interval over
        blocks, `pvalue`.
    note : what the blocks are.
    """

    loci: pd.DataFrame
    scores: pd.DataFrame
    paired: pd.DataFrame
    note: str

    def difference(self, against: Comparator) -> tuple[float, float, float]:
        """Return by how much the contextual model's log score is above another's, with its interval.

        Parameters
        ----------
        against : another method.

        Raises
        ------
        InputError
            When it was not scored.
        """
        row = self.paired[self.paired["against"] == against]
        if not len(row):
            raise InputError(f"{against!r} was not scored; {', '.join(self.paired['against'])} were")
        return float(row["difference"].iloc[0]), float(row["ci_low"].iloc[0]), float(row["ci_high"].iloc[0])


def score_held_out(
    effects: LocusEffects,
    *,
    methods: Sequence[Comparator] = COMPARATORS,
    options: Mapping[str, Any] | None = None,
    n_folds: int = 10,
    level: float = 0.95,
    seed: int = 0,
    like: ContextualMR | None = None,
) -> HeldOutLoci:
    """Fit every model without some chromosomes, and score what it says of their loci.

    Parameters
    ----------
    effects : of loci.
    methods : of `COMPARATORS`; one that a fold does not allow is left out.
    options : of `fit_contextual_mr`; the other models have its `local_errors`.
    n_folds : at most so many refits; chromosomes are put together to folds of about one size.
    level : of intervals.
    seed : of folds of loci and of clusters.
    like : the contextual fit to all loci, where searches begin; hyper-parameters are those of each fold nevertheless.

    Notes
    -----
    Log scores of loci of one chromosome may depend on each other. With G blocks of n_g loci and sums D_g of the
    differences, the difference a locus is sum D_g / sum n_g, with standard error
    sqrt(G / (G - 1) sum (D_g - n_g d)^2) / sum n_g and t(G - 1). With fewer than 5 chromosomes folds are of loci at
    random, and each locus is a block.
    """
    checks.at_least("n_folds", n_folds, 2)
    fold, block, note = _folds(effects, n_folds, seed)
    found: dict[str, list[Predicted]] = {}
    failed: set[str] = set()
    law = (options or {}).get("local_errors", "t")  # or the contextual fit would be ahead by its errors alone
    rows = [np.flatnonzero(fold == k) for k in range(fold.max() + 1)]
    for held in rows:
        train, other = effects.take(np.setdiff1d(np.arange(len(effects)), held)), effects.take(held)
        for name in methods:
            try:
                if name == "contextual":
                    like = fit_contextual_mr(train, **dict(options or {}), like=like)
                    made = predict_contextual(like, other, level=level)
                else:
                    made = fit_comparator(name, train, local_errors=law, seed=seed).predict(other, level=level)
                found.setdefault(name, []).append(made)
            except InputError:
                failed.add(name)
    order = np.argsort(np.concatenate(rows))
    kept = [name for name in methods if name not in failed]
    tau2 = fit_mixed(effects.beta, effects.se, np.ones((len(effects), 1)), factors=effects.error_factors).tau2
    weights = 1 / (tau2 + effects.total_se**2)
    loci = pd.DataFrame({"locus": effects.loci, "chrom": effects.chrom, "fold": fold, "beta": effects.beta})
    scores = []
    for name in kept:
        columns = {
            key: np.concatenate([getattr(one, key) for one in found[name]])[order]
            for key in ("mean", "low", "high", "log_density")
        }
        inside = (columns["low"] <= effects.beta) & (effects.beta <= columns["high"])
        off = weights @ (effects.beta - columns["mean"]) ** 2 / weights.sum()
        log_score = float(columns["log_density"].mean())
        scores.append((name, float(np.sqrt(off)), log_score, float(inside.mean()), len(effects)))
        loci[f"{name}_mean"], loci[f"{name}_log_density"] = columns["mean"], columns["log_density"]
    paired = []
    if "contextual" in kept:
        for name in kept:
            if name != "contextual":
                gain = loci["contextual_log_density"].to_numpy() - loci[f"{name}_log_density"].to_numpy()
                paired.append(("contextual", name, *paired_difference(gain, block, level=level)))
    return HeldOutLoci(
        loci=loci,
        scores=pd.DataFrame(scores, columns=SCORES),
        paired=pd.DataFrame(paired, columns=PAIRED),
        note=note,
    )


def paired_difference(
    gain: Float[np.ndarray, "loci"], block: Int[np.ndarray, "loci"], *, level: float = 0.95
) -> tuple[float, float, float, float, float, int]:
    """Return mean, standard error, interval, P value and number of blocks of differences a locus.

    Parameters
    ----------
    gain : difference at each locus.
    block : number of its block; loci of one may depend on each other.
    level : of the interval.
    """
    names, inverse = np.unique(block, return_inverse=True)
    count, total = np.bincount(inverse), np.bincount(inverse, weights=gain)
    blocks, mean = len(names), float(gain.mean())
    spread = np.sqrt(blocks / max(blocks - 1, 1) * ((total - count * mean) ** 2).sum())
    se = float(spread / len(gain))
    half = float(stats.t.ppf((1 + level) / 2, max(blocks - 1, 1))) * se
    p = float(2 * stats.t.sf(abs(mean) / se, max(blocks - 1, 1))) if se > 0 else 1.0
    return mean, se, mean - half, mean + half, p, blocks


def _folds(
    effects: LocusEffects, n_folds: int, seed: int
) -> tuple[Int[np.ndarray, "loci"], Int[np.ndarray, "loci"], str]:
    """Return the fold and the block of each locus, and what the blocks are."""
    names, block, counts = np.unique(np.array(effects.chrom, dtype=str), return_inverse=True, return_counts=True)
    n = len(effects)
    if len(names) >= _BLOCKS and "" not in names:
        size, fold_of = np.zeros(min(n_folds, len(names))), np.zeros(len(names), dtype=int)
        for k in np.argsort(-counts, kind="stable"):
            fold_of[k] = int(size.argmin())
            size[fold_of[k]] += counts[k]
        return fold_of[block], block, f"{len(names)} chromosomes, held out in {len(size)} folds"
    few = "chromosomes are not known" if "" in names else f"there are only {len(names)} chromosomes"
    folds = min(n_folds, n)
    fold = np.random.default_rng(seed).permutation(np.arange(n) % folds)
    return fold, np.arange(n), f"{few}: folds of loci at random, {folds} of them, and each locus its own block"
