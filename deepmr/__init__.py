"""DeepMR: causal effects between genomic marks, from in-silico mutagenesis of a deep ensemble."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Resolved on first use (PEP 562): importing deepmr loads neither torch nor pandas.
_HOMES = {
    "Sequences": "deepmr.types",
    "MemberEffects": "deepmr.types",
    "SummaryStats": "deepmr.types",
    "Instruments": "deepmr.types",
    "Estimates": "deepmr.types",
    "Task": "deepmr.types",
    "Ensemble": "deepmr.sequence.ensemble",
    "Measured": "deepmr.sequence.measured",
    "train_ensemble": "deepmr.sequence.training",
    "mutate": "deepmr.ism.mutate",
    "pool_members": "deepmr.ism.members",
    "fit_calibration": "deepmr.ism.calibration",
    "select_instruments": "deepmr.instruments.strength",
    "read_sumstats": "deepmr.io.sumstats",
    "read_instruments": "deepmr.io.instruments",
    "align_alleles": "deepmr.instruments.alleles",
    "gwas_instruments": "deepmr.instruments.gwas",
    "estimate_effects": "deepmr.mr",
    "estimate_direct_effects": "deepmr.mr.multivariable",
    "check_sensitivity": "deepmr.mr.sensitivity",
    "pool_estimates": "deepmr.meta",
    "pool_robust": "deepmr.meta",
    "pool_subgroups": "deepmr.meta",
    "regress_estimates": "deepmr.meta",
    "trim_and_fill": "deepmr.meta",
}

__all__ = ["__version__", *_HOMES]

if TYPE_CHECKING:
    from deepmr.instruments.alleles import align_alleles
    from deepmr.instruments.gwas import gwas_instruments
    from deepmr.instruments.strength import select_instruments
    from deepmr.io.instruments import read_instruments
    from deepmr.io.sumstats import read_sumstats
    from deepmr.ism.calibration import fit_calibration
    from deepmr.ism.members import pool_members
    from deepmr.ism.mutate import mutate
    from deepmr.meta import pool_estimates, pool_robust, pool_subgroups, regress_estimates, trim_and_fill
    from deepmr.mr import estimate_effects
    from deepmr.mr.multivariable import estimate_direct_effects
    from deepmr.mr.sensitivity import check_sensitivity
    from deepmr.sequence.ensemble import Ensemble
    from deepmr.sequence.measured import Measured
    from deepmr.sequence.training import train_ensemble
    from deepmr.types import Estimates, Instruments, MemberEffects, Sequences, SummaryStats, Task


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deepmr' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
