"""`deepmr demo`: everything on a small simulation, and a check against the truth."""

from importlib import resources
from pathlib import Path
from typing import Any

from deepmr.commands.run import run
from deepmr.errors import DeepMRError
from deepmr.io.files import atomic_path, check_writable
from deepmr.io.tables import numbers, read_estimates, read_table

METHOD = "ivw"
TOLERANCE = 0.20  # largest error of the effect that the simulation contains, as a share of the truth


def demo(*, out: Path = Path("deepmr-demo"), overwrite: bool = False) -> dict[str, object]:
    """Run everything on a small simulation and compare with the truth.

    Sequences carry motifs of two factors; the binding of GATA raises that of TAL1, and not the reverse. Simulates,
    trains five networks, mutates, calibrates, estimates, pools and reports: the steps are in `<out>/flow.toml`, which
    `deepmr run` takes.

    Parameters
    ----------
    out
        Folder for the results.
    overwrite
        Replace results that are there.

    Returns
    -------
    dict
        Estimated and true effects in both directions, and where the report lies.

    Raises
    ------
    DeepMRError
        When the estimate is more than 20 % off the true effect.
    """
    check_writable(out, overwrite=overwrite)
    out.mkdir(exist_ok=True)
    flow = out / "flow.toml"
    with atomic_path(flow) as temporary:
        temporary.write_text(resources.files("deepmr.commands").joinpath("demo.toml").read_text())
    steps = run(flow, overwrite=overwrite)
    effects = compare(out)
    planted = max(effects, key=lambda row: abs(row["true_beta"]))
    error = abs(planted["beta"] / planted["true_beta"] - 1)
    if not error <= TOLERANCE:  # NaN, too, is a failure
        raise DeepMRError(
            f"the demo failed: the {METHOD} estimate {planted['beta']:.3f} is {error:.0%} off the true effect "
            f"{planted['true_beta']:.3f}; at most {TOLERANCE:.0%} was expected"
        )
    return {
        "steps": steps["steps"],
        "effects": effects,
        "note": "in reverse the truth is 0, the estimate is not: an edit of a GATA site moves both marks",
        "report": str(out / "report.html"),
    }


def compare(folder: Path) -> list[dict[str, Any]]:
    """Return pooled estimates beside the truth, the mean of the true effects over the loci that have an estimate.

    Parameters
    ----------
    folder
        Where the steps of the demo wrote their results.
    """
    pooled = read_estimates(folder / "meta.tsv").table
    local = read_estimates(folder / "mr.tsv").table
    path = folder / "simulation" / "truth.tsv"
    truth = read_table(path)
    truth = truth.assign(beta=numbers(path, truth, "beta"))
    rows: list[dict[str, Any]] = []
    for row in pooled[pooled["method"] == METHOD].to_dict("records"):
        loci = local.loc[(local["method"] == METHOD) & (local["exposure"] == row["exposure"]), "locus"]
        known = truth[(truth["exposure"] == row["exposure"]) & truth["locus"].isin(loci)]
        rows.append(
            {
                "effect": f"{row['exposure']} on {row['outcome']}",
                "beta": row["beta"],
                "ci_low": row["ci_low"],
                "ci_high": row["ci_high"],
                "true_beta": round(float(known["beta"].mean()), 6) + 0.0,  # -0 reads as 0
                "n_loci": int(row["n"]),
            }
        )
    return rows
