"""Effects by locus from its seqlets: of all of them, and of those that the plurality over loci does not contradict."""

import numpy as np
from jaxtyping import Bool, Int

from deepmr.mr.ivw import ivw
from deepmr.mr.seqlets.between import Between, compare_seqlets
from deepmr.mr.seqlets.collapse import Collapsed, collapse
from deepmr.types import Estimates, Instruments

ALL, PLURALITY = "seqlet_ivw", "seqlet_plurality"


def seqlet_slopes(
    instruments: Instruments, label: Int[np.ndarray, "instruments"], *, min_instruments: int = 3, level: float = 0.95
) -> Estimates:
    """Estimate the effect of every locus from the instruments in its seqlets, and test whether these agree.

    Parameters
    ----------
    instruments : one exposure.
    label : seqlet of each, -1 for none.
    min_instruments : loci with fewer in seqlets are skipped.
    level : of the confidence intervals.

    Returns
    -------
    Estimates "seqlet_ivw": equal-weight IVW, with extras `n_seqlets`, `q_seqlets`, `q_seqlets_df`, `q_seqlets_pvalue`.
    """
    collapsed = collapse(instruments, label)
    between = compare_seqlets(collapsed, level=level)
    return _estimates(ALL, instruments.take(label >= 0), between, min_instruments=min_instruments, level=level)


def seqlet_plurality(
    instruments: Instruments,
    label: Int[np.ndarray, "instruments"],
    *,
    valid: Bool[np.ndarray, "labels"],
    min_instruments: int = 3,
    level: float = 0.95,
) -> Estimates:
    """Estimate the effect of every locus from the seqlets that the plurality does not contradict.

    Parameters
    ----------
    instruments : one exposure.
    label : seqlet of each, -1 for none.
    valid : for each label from 0 on, whether its instruments are used; from `usable`.
    min_instruments : loci with fewer are skipped.
    level : of the confidence intervals.

    Returns
    -------
    Estimates "seqlet_plurality", with extras as those of `seqlet_slopes`, of the seqlets that were used. A locus whose
    seqlets are all invalid is skipped.

    Notes
    -----
    That the choice of seqlets was made on the same effects is in no interval: it matters little where families have
    many loci and differ clearly, and can matter where they nearly agree.
    """
    used = (label >= 0) & np.append(valid, False)[label]
    kept = np.where(used, label, -1)
    between = compare_seqlets(collapse(instruments, kept), level=level)
    found = _estimates(PLURALITY, instruments.take(used), between, min_instruments=min_instruments, level=level)
    home = np.repeat(np.arange(len(instruments.loci)), instruments.counts)
    some = np.bincount(home[label >= 0], minlength=len(instruments.loci)) > 0
    gone = found.skipped["locus"].isin(np.asarray(instruments.loci, dtype=object)[some & (between.n_seqlets == 0)])
    found.skipped.loc[gone, "reason"] = "every seqlet contradicts the plurality over loci"
    return found


def over_seqlets(seqlets: Collapsed) -> Instruments:
    """Return the seqlets of all loci as the instruments of one, "*", for methods that seek a plurality among them.

    Parameters
    ----------
    seqlets : from `collapse`, a cluster a seqlet.

    Notes
    -----
    A mode or a contamination mixture of these assumes one effect at all loci, and that more seqlets have its ratio than
    any other. `judge_families` compares within loci and needs the first of these not.
    """
    given = seqlets.instruments
    return Instruments(
        loci=("*",),
        offsets=np.array([0, len(given.variants)]),
        exposures=given.exposures,
        outcome=given.outcome,
        variants=given.variants,
        beta_exposure=given.beta_exposure,
        se_exposure=given.se_exposure,
        beta_outcome=given.beta_outcome,
        se_outcome=given.se_outcome,
        error_factors=given.error_factors,
        error_corr=given.error_corr,
        estimand=given.estimand,
    )


def _estimates(method: str, given: Instruments, between: Between, *, min_instruments: int, level: float) -> Estimates:
    """Run equal-weight IVW under another name, with what is known of the seqlets of each locus."""
    found = ivw(given, min_instruments=min_instruments, level=level)
    place = {locus: i for i, locus in enumerate(given.loci)}
    rows = found.table["locus"].map(place).to_numpy(int)
    extra = {
        "n_seqlets": between.n_seqlets,
        "q_seqlets": between.q,
        "q_seqlets_df": between.q_df,
        "q_seqlets_pvalue": between.q_pvalue,
    }
    table = found.table.assign(method=method, **{name: values[rows] for name, values in extra.items()})
    skipped = found.skipped.assign(method=method)
    none = skipped["locus"].map(place).map(lambda i: between.n_seqlets[i] == 0).to_numpy(bool)
    skipped.loc[none, "reason"] = "no seqlet holds an instrument"
    return Estimates(table=table, skipped=skipped, error_factors=found.error_factors)
