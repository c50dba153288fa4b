"""How much contextual effects hang on one context, on weak loci, and on how errors are taken."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from deepmr import checks
from deepmr.contextual.causal import ContextualMR, fit_contextual_mr
from deepmr.contextual.loci import LocusEffects
from deepmr.errors import InputError

SENSITIVITY = [
    "analysis",
    "n",
    "beta",
    "se",
    "tau",
    "share_constant",
    "evidence",
    "change",
    "moved",
    "note",
]
_STRENGTHS = (10.0, 30.0)


def check_contexts_matter(
    fit: ContextualMR,
    *,
    strengths: tuple[float, ...] = _STRENGTHS,
    alternatives: Mapping[str, LocusEffects] | None = None,
) -> pd.DataFrame:
    """Fit again without each context, without weak loci, with other errors, and with other effects of the same loci.

    Parameters
    ----------
    fit : of all loci and contexts.
    strengths : F statistics below which loci are left out, where these are known.
    alternatives : effects of the same loci by other methods, as contextual models under other kinds of pleiotropy:
        a name in words, and the effects.

    Returns
    -------
    A row an analysis, that of `fit` first: `n` loci; mean effect `beta`, `se`; `tau`; `share_constant`, how likely f is
    constant; `evidence`, the log marginal likelihood less that of the first row, where loci and effects are the same
    ones; `change`, the root mean square difference of f at the loci from the first row's; `moved`, that over the root
    mean square standard error of the first row's f; `note`, why there is none.
    """
    effects = fit.effects
    options = fit.surface.record.options
    given = {name: options[name] for name in ("method", "nuisance", "context_errors", "local_errors")}
    wanted: list[tuple[str, LocusEffects, dict[str, str], bool]] = []
    if len(effects.context_names) > 1:
        for name in effects.context_names:
            rest = [other for other in effects.context_names if other != name]
            wanted.append((f"without {name}", effects.pick_contexts(rest), given, True))
    if effects.f_statistic is not None:
        for least in strengths:
            kept = effects.f_statistic >= least
            if 0 < kept.sum() < len(effects):
                wanted.append((f"F at least {least:g}", effects.take(kept), given, False))
        if given["nuisance"] == "none":
            wanted.append(("1 / F as a nuisance", effects, {**given, "nuisance": "strength"}, False))
    if effects.context_se is not None and given["context_errors"] != "ignored":
        wanted.append(("errors of contexts ignored", effects, {**given, "context_errors": "ignored"}, True))
    if effects.df is not None and given["local_errors"] == "t":
        wanted.append(("local errors as if known", effects, {**given, "local_errors": "normal"}, False))
    if effects.error_factors is not None:
        apart = replace(effects, se=effects.total_se, error_factors=None)
        wanted.append(("shared errors as if independent", apart, given, False))
    for name, other in (alternatives or {}).items():
        checks.one_of("context", other.context_names[0], effects.context_names)
        wanted.append((name, other, given, False))
    rows = [_row("all loci and contexts", fit, fit, comparable=True)]
    for name, chosen, how, comparable in wanted:
        try:
            rows.append(_row(name, fit_contextual_mr(chosen, level=fit.level, **how), fit, comparable=comparable))  # type: ignore[arg-type]
        except InputError as error:
            rows.append({"analysis": name, "n": len(chosen), "note": str(error)})
    return pd.DataFrame(rows, columns=SENSITIVITY)


def _row(name: str, fit: ContextualMR, first: ContextualMR, *, comparable: bool) -> dict[str, object]:
    beta, se = fit.mean_effect()
    here, there = fit.locus_effects().set_index("locus"), first.locus_effects().set_index("locus")
    both = here.index.intersection(there.index)
    off = here.loc[both, "context_beta"] - there.loc[both, "context_beta"]
    change = float(np.sqrt((off**2).mean())) if len(both) else np.nan
    error = float(np.sqrt((there["context_se"] ** 2).mean()))
    return {
        "analysis": name,
        "n": len(fit.effects),
        "beta": beta,
        "se": se,
        "tau": fit.tau,
        "share_constant": fit.shares.get("constant", np.nan),
        "evidence": _evidence(fit) - _evidence(first) if comparable else np.nan,
        "change": change,
        "moved": change / error if error > 0 else np.nan,
        "note": "",
    }


def _evidence(fit: ContextualMR) -> float:
    return float(logsumexp(list(fit.mixture.evidence.values())) - np.log(len(fit.mixture.evidence)))
