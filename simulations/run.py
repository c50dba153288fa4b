"""Run all studies: `make studies`. Results go to results/; the one on real peaks needs ../shared/data/chip."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
PEAKS = HERE.parents[1] / "shared" / "data" / "chip"


def main() -> None:
    """Run each study in a process of its own."""
    studies = [["gamma.py", "--out", str(RESULTS / "gamma")]]
    engines = ["engines.py", "--out", str(RESULTS / "engines")]
    if PEAKS.is_dir():
        studies.append(["ctcf_pu1.py", "--data", str(PEAKS), "--out", str(RESULTS / "ctcf_pu1")])
        engines += ["--data", str(PEAKS)]
    else:
        print(f"skipped ctcf_pu1.py: {PEAKS} is not there")
    estimators = ["estimators.py", "--processes", "2", "--out"]
    studies += [engines, [*estimators, str(RESULTS / "estimators")]]
    studies += [[*estimators, str(RESULTS / "direct_effects"), "--multivariable"]]
    studies += [[name, "--out", str(RESULTS / name.removesuffix(".py"))] for name in ("chain.py", "diagnostics.py")]
    oracle = str(RESULTS / "paper_oracle")  # rows and figures; its step `page` writes the tables of docs/
    studies += [
        ["paper_oracle.py", step, "--out", oracle, "--docs", oracle] for step in ("oracle", "reverse", "spacing")
    ]
    studies.append(["iv.py", "rounds", "--out", str(RESULTS / "iv")])
    studies.append(["lmm.py", "--processes", "2", "--out", str(RESULTS / "lmm")])
    studies += [
        [f"context_{name}.py", "--out", str(RESULTS / f"context_{name}")]
        for name in ("demo", "estimators", "tests", "graphs", "dags", "mr")
    ]
    for name, *options in studies:
        subprocess.run([sys.executable, str(HERE / name), *options], check=True)


if __name__ == "__main__":
    main()
