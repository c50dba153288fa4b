"""Numbers and names as sensitivity analyses write them in their sentences."""

from typing import Any

# What holds of Q where errors come from ensemble members; `deepmr.mr.scatter` has the numbers.
MEMBERS = "Q allows for errors that ensemble members share; of few members it knows their size only roughly."
NAMED = 5  # most variants or methods that a sentence names, unless there is one more


def of_loci(k: int, n: int) -> str:
    """Return "3 of 4 loci"."""
    return f"{k:,} of {n:,} loci"


def listed(names: list[str], last: str = "and") -> str:
    """Return names in a row, the last after "and"; of many the first five and how many more."""
    if len(names) > NAMED + 1:
        return ", ".join(names[:NAMED]) + f" {last} {len(names) - NAMED:,} more"
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" {last} {names[-1]}"


def number(value: float) -> str:
    """Return a number with three digits that count."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def share(value: float) -> str:
    """Return a share as percent."""
    return f"{100 * value:.2g} %" if value < 0.995 else "100 %"


def probability(value: float) -> str:
    """Return "P = 0.012"; what is too small for a floating-point number is never 0."""
    return "P < 1e-300" if value < 1e-300 else f"P = {value:.2g}"


def trait(name: str) -> str:
    """Return the name of a trait without the identifier that OpenGWAS puts behind it, "BMI || id:ieu-a-2"."""
    return name.partition(" || id:")[0]


def effect(row: Any) -> str:
    """Return "0.446 (0.33 to 0.562)"."""
    return f"{number(row['beta'])} ({number(row['ci_low'])} to {number(row['ci_high'])})"
