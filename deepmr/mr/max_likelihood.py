"""Maximum likelihood for a line with errors in both effects."""

from typing import Literal

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.linalg import divide
from deepmr.mr.lines import Distribution, cochran, error_extras, mean_f, standard_error, too_few
from deepmr.mr.losses import loss_of
from deepmr.mr.profiles import Profile, solve_loci
from deepmr.types import Estimates, Instruments, make_estimates


def max_likelihood(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    model: Literal["fixed", "random"] = "random",
    distribution: Distribution = "normal",
) -> Estimates:
    """Placeholder."""
