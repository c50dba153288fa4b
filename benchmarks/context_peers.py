"""contextualized-ml on data in a file, by whichever Python has it: `python context_peers.py in.npz out.npz`.

The file has contexts, predictors, outcomes (of networks: the variables) of training samples and contexts of test
samples, and `settings`, JSON. Back come its predictions and CPU seconds. It imports nothing of deepmr, so that the
package may live in an environment of its own.
"""

import json
import logging
import sys
import time
import warnings
from importlib.metadata import version

import numpy as np


def regression(given: dict, settings: dict) -> dict[str, np.ndarray]:
    """Fit varying coefficients by the package's own wrapper; coefficients at the test contexts.

    Parameters
    ----------
    given : arrays of the file.
    settings : of the wrapper, of its training.
    """
    from contextualized.easy import ContextualizedRegressor

    model = ContextualizedRegressor(**settings.get("model", {}))
    model.fit(given["contexts"], given["predictors"], given["outcomes"], **settings["fit"])
    beta, mu = model.predict_params(given["at"])
    return {"beta": np.asarray(beta), "mu": np.asarray(mu)}


def dag(given: dict, settings: dict) -> dict[str, np.ndarray]:
    """Fit its varying Bayesian network; graphs projected to be acyclic, as its method says, at the test contexts.

    Parameters
    ----------
    given : arrays of the file.
    settings : of the wrapper, of its training.
    """
    from contextualized.easy import ContextualizedBayesianNetworks

    model = ContextualizedBayesianNetworks(**settings.get("model", {}))
    model.fit(given["contexts"], given["predictors"], **settings["fit"])
    return {"graphs": np.asarray(model.predict_networks(given["at"], project_to_dag=True))}


def correlation(given: dict, settings: dict) -> dict[str, np.ndarray]:
    """Fit its varying correlation network; correlations at the test contexts.

    Parameters
    ----------
    given : arrays of the file.
    settings : of the wrapper, of its training.
    """
    from contextualized.easy import ContextualizedCorrelationNetworks

    model = ContextualizedCorrelationNetworks(**settings.get("model", {}))
    model.fit(given["contexts"], given["predictors"], **settings["fit"])
    return {"graphs": np.asarray(model.predict_correlation(given["at"], squared=False))}


TASKS = {"regression": regression, "dag": dag, "correlation": correlation}


def main() -> None:
    """Read the file named first, fit, write the file named second."""
    import torch

    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    with np.load(sys.argv[1]) as archive:
        given = dict(archive)
    settings = json.loads(str(given["settings"]))
    torch.manual_seed(settings["seed"])
    task = TASKS[settings["task"]]
    start = time.process_time()
    found = task(given, settings)
    seconds = time.process_time() - start
    np.savez(sys.argv[2], seconds=seconds, version=version("contextualized-ml"), **found)


if __name__ == "__main__":
    main()
