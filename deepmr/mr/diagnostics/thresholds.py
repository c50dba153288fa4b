"""Whether the pooled effect depends on how strong an edit must be to count as an instrument."""

import numpy as np
import pandas as pd
from scipy import stats

from deepmr import checks, schema
from deepmr.mr.diagnostics.declared import declared

TOLERANCE = 0.1  # share of the effect that a change of the threshold may move it by and still be called stable
THRESHOLDS = (0.1, 0.15, 0.25, 0.35, 0.5)  # of the pooled 99th percentile of |dx|


def judge_thresholds(table: pd.DataFrame, *, rule: str = "relative", threshold: float = 0.25) -> pd.DataFrame:
    """Judge, for every pair and method, whether its pooled effects agree whatever the threshold.

    Parameters
    ----------
    table : columns of `schema.DIAGNOSTICS["thresholds"]`, a row a rule, threshold, pair and method.
    rule, threshold : the ones that were used; where the table lacks them, the middle threshold stands for them.

    Returns
    -------
    Table "threshold_trends" of `schema.DIAGNOSTICS`: a row a pair, method and rule, and one for `all` rules where there
    are several.

    Notes
    -----
    *decides*: an interval leaves 0 out at one threshold and holds it at another, or two that leave it out differ in
    sign. *drifts*: some effect is further than 10 % from that at the threshold used and outside its interval. *stable*
    otherwise. Rows share their data, so differences between them are smaller than their intervals suggest, and the rank
    correlation of effect and threshold (Spearman's) comes without a P value.
    """
    checks.columns("table of thresholds", table.columns, schema.DIAGNOSTICS["thresholds"])
    rows = []
    for (exposure, outcome, method), part in table.groupby(["exposure", "outcome", "method"], sort=False):
        used = _used(part, rule, threshold)
        groups = [(str(name), one) for name, one in part.groupby("rule", sort=False)]
        if len(groups) > 1:
            groups.append(("all", part))
        for name, one in groups:
            beta = one["beta"].to_numpy(float)
            rows.append(
                {
                    "exposure": exposure,
                    "outcome": outcome,
                    "method": method,
                    "rule": name,
                    "n": len(one),
                    "beta": float(used["beta"]),
                    "lowest": float(beta.min()),
                    "highest": float(beta.max()),
                    "trend": 0.0 if name == "all" else _rank_correlation(one["threshold"].to_numpy(float), beta),
                    "change": float(np.max(np.abs(beta - used["beta"])) / (abs(used["beta"]) or 1.0)),
                    "judgement": _judgement(one, used),
                }
            )
    return declared("threshold_trends", pd.DataFrame(rows, columns=list(schema.DIAGNOSTICS["threshold_trends"])))


def _used(part: pd.DataFrame, rule: str, threshold: float) -> "pd.Series":
    mine = part[part["rule"] == rule]
    mine = part if mine.empty else mine
    here = mine[np.isclose(mine["threshold"].to_numpy(float), threshold)]
    ordered = mine.sort_values("threshold")
    return here.iloc[0] if len(here) else ordered.iloc[len(ordered) // 2]


def _judgement(part: pd.DataFrame, used: "pd.Series") -> str:
    beta, low, high = (part[name].to_numpy(float) for name in ("beta", "ci_low", "ci_high"))
    beta, low, high = (np.append(v, used[n]) for v, n in ((beta, "beta"), (low, "ci_low"), (high, "ci_high")))
    clear = (low > 0) | (high < 0)
    if clear.any() and (not clear.all() or len(np.unique(np.sign(beta[clear]))) > 1):
        return "decides"
    outside = (beta < used["ci_low"]) | (beta > used["ci_high"])
    far = np.abs(beta - used["beta"]) > TOLERANCE * abs(used["beta"])
    return "drifts" if np.any(outside & far) else "stable"


def _rank_correlation(threshold: np.ndarray, beta: np.ndarray) -> float:
    if len(beta) < 3 or np.ptp(beta) == 0 or np.ptp(threshold) == 0:
        return 0.0
    return float(stats.spearmanr(threshold, beta).statistic)
