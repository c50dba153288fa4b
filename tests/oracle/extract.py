"""Write expected.csv and syn_clean_30.csv: `python extract.py <folder of the reference values>`.

The folder holds expected_public.csv (dataset, package, method, options, quantity, value; one row a number) and
prepared/. Values keep all their digits; only the layout changes, to one row a fit.
"""

import csv
import shutil
import sys
from pathlib import Path

DATA = {
    *("real_bmi_sbp", "real_calcium_fastgluc", "real_hdlc_chd", "real_ldlc_chd", "real_presso_50", "syn_clean_30"),
    *("real_meta_bcg_rr", "real_meta_fleiss_cont_smd"),
}
WHOLE = {
    *("mr_ivw", "mr_ivw_fe", "mr_ivw_mre", "mr_uwr", "mr_egger_regression", "mr_meta_fixed", "mr_meta_fixed_simple"),
    *("Isq", "wald_ratio", "metagen_predict", "confint", "predict"),
}
UNUSED_QUANTITIES = {"stat", "tau2_se", "H", "H_lo", "H_hi", "H2", "H2_lo", "H2_hi", "I2_lo", "I2_hi", "Rb", "logLik"}


def wanted(method, options):
    """Whether a fit is of a method that the package has."""
    if method in ("ivw", "egger"):
        return not any(part in options for part in ("penalized=TRUE", "correl=TRUE", "seed="))
    if method == "rma":
        return not any(part in options for part in ("=GENQ", "=HSk", "=PMM", "test=t", "EE;test=knha"))
    if method == "metagen":
        return not any(part in options for part in ("=KR", "=IQWiG6", "adhoc=ci"))
    if method == "confint":
        return options == "type=QP"
    if method == "metagen_predict":
        return options.split("=")[-1] in ("HTS", "V", "HK")
    return method in WHOLE


def main(folder):
    """Write both files beside this script."""
    fits = {}
    with (folder / "expected_public.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            used = row["dataset"] in DATA and row["quantity"] not in UNUSED_QUANTITIES
            if used and wanted(row["method"], row["options"]):
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
