"""Instruments that methods find hard, and what every method says of them.

    python -m tests.mr.edge_cases

prints the table of docs/edge_cases.md.
"""

from dataclasses import replace

import numpy as np

from deepmr.mr import METHODS
from deepmr.simulate.instruments import simulate_instruments
from tests.mr.builders import pack, rescaled


def _plain(n, seed=0):
    return replace(simulate_instruments("valid", n_instruments=n, seed=seed), estimand="model")


def _outlier():
    given = _plain(20)
    y = given.beta_outcome.copy()
    y[3] += 50 * given.se_outcome[3]
    return replace(given, beta_outcome=y)


def _near_zero(value):
    given = _plain(20)
    x = given.beta_exposure.copy()
    x[3] = value
    return replace(given, beta_exposure=x)


def _dominant():
    given = _plain(20)
    se = given.se_outcome.copy()
    se[3] /= 1e4
    y = given.beta_outcome.copy()
    y[3] = 0.4 * given.beta_exposure[3, 0]
    return replace(given, se_outcome=se, beta_outcome=y)


def _exact():
    given = _plain(20)
    return replace(given, beta_outcome=0.4 * given.beta_exposure[:, 0])


# name -> (what it is, instruments of one locus); the causal effect is 0.4 where there is one.
CASES = {
    "1 instrument": lambda: _plain(1),
    "2 instruments": lambda: _plain(2),
    "3 instruments": lambda: _plain(3),
    "weak (mean F 4)": lambda: simulate_instruments("weak"),
    "directional pleiotropy": lambda: simulate_instruments("directional"),
    "InSIDE violated": lambda: simulate_instruments("inside_violated"),
    "one outlier, 50 se off": _outlier,
    "errors shared and correlated": lambda: simulate_instruments("shared_errors"),
    "one exposure effect of 1e-12": lambda: _near_zero(1e-12),
    "one exposure effect of 0": lambda: _near_zero(0.0),
    "all exposure effects 0": lambda: replace(_plain(20), beta_exposure=np.zeros((20, 1))),
    "all outcome effects 0": lambda: replace(_plain(20), beta_outcome=np.zeros(20)),
    "an exact line": _exact,
    "all instruments equal": lambda: pack(np.full(10, 0.5), np.full(10, 0.2), 0.02, 0.02),
    "one instrument with all the weight": _dominant,
    "units of 1e-8": lambda: rescaled(_plain(20), exposure=1e-8, outcome=1e-8),
    "units of 1e8": lambda: rescaled(_plain(20), exposure=1e8, outcome=1e8),
}


def answer(method, given):
    """What a method says of one locus: an interval, or why there is none."""
    estimates = METHODS[method](given, min_instruments=1)
    if len(estimates):
        row = estimates.table.iloc[0]
        return f"{row['beta']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f})"
    return estimates.skipped["reason"][0]


def main():
    """Print what every method says of every case, a table a case."""
    for name, make in CASES.items():
        said = {}
        for method in METHODS:
            said.setdefault(answer(method, make()), []).append(f"`{method}`")
        print(f"\n**{name}**\n\n| answer | methods |\n|---|---|")
        for text, methods in said.items():
            print(f"| {text} | {', '.join(methods)} |")


if __name__ == "__main__":
    main()
