"""Write expected.csv and syn_clean_30.csv: `python extract.py <folder of the reference values>`.

The folder holds expected_public.csv (dataset, package, method, options, quantity, value; one row a number) and
prepared/. Values keep all their digits; only the layout changes, to one row a fit.
"""

import csv
import shutil
import sys
from pathlib import Path


def main(folder):
    """Write both files beside this script."""
    fits = {}
    with (folder / "expected_public.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            key = tuple(row[name] for name in ("dataset", "package", "method", "options"))
            fits.setdefault(key, []).append(f"{row['quantity']}={row['value']}")
    here = Path(__file__).parent
    with (here / "expected.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["dataset", "package", "method", "options", "values"])
        writer.writerows([*key, " ".join(values)] for key, values in sorted(fits.items()))
    shutil.copyfile(folder / "prepared" / "syn_clean_30.csv", here / "syn_clean_30.csv")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
