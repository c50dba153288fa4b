"""Deep IV: a network for the distribution of the exposure, then a response whose expectation fits the outcome."""

from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import DoseResponse, IVData, record_of, two_samples
from deepmr.nonlinear.basis import Terms, fit_splines
from deepmr.nonlinear.first_stage import FirstStage
from deepmr.nonlinear.linear import LinearResponse
from deepmr.nonlinear.networks.densities import Density
from deepmr.nonlinear.networks.density_stage import Densities, fit_densities
from deepmr.nonlinear.networks.fitted import network_response
from deepmr.nonlinear.networks.response import NetworkResponse, Scaling, as_tensor
from deepmr.nonlinear.networks.stages import Plan, Stage, fit_outcome, stage_of
from deepmr.nonlinear.quadrature import Nodes
from deepmr.nonlinear.second_stage import solve_second_stage
from deepmr.nonlinear.sieve import choose_terms, covariate_basis, modifies_fully
from deepmr.perceptrons.stack import Activation

SecondStage = Literal["network", "splines"]
_RICH, _PLAIN = 20, 12  # functions of each of few covariates, and of each of many
_COLUMNS = 300  # of functions of many covariates, and their products with the exposure
_STEPS, _FEWEST = 16, 64  # steps of an epoch, and samples of a step, that a small sample has at least


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepIV:
    """Deep IV: the distribution of the exposure by a network, and the response that explains the outcome under it.

    Attributes
    ----------
    density : of the exposure given instruments and covariates: a mixture of normal distributions, one normal
        distribution ("gaussian"), or one with a linear mean and a constant variance ("ridge").
    n_components : of a mixture.
    n_nodes : values that stand for a sample's distribution.
    stage2 : the response: networks, or splines in closed form with intervals.
    n_functions : as in `Sieve`; of splines alone.
    covariate_functions : the same of every covariate; by default 20 of each of up to three, fewer where there are more,
        or few samples.
    activation, exposure_hidden, outcome_hidden, exposure_epochs, outcome_epochs, exposure_batch_size,
    outcome_batch_size, exposure_learning_rate, outcome_learning_rate, exposure_weight_decay, outcome_weight_decay,
    exposure_batch_norm, outcome_batch_norm, exposure_input_batch_norm, outcome_input_batch_norm, exposure_patience,
    outcome_patience, averaging, linear_start, validation_share, n_boot : as in `QuantileIV`.
    n_folds : as in `QuantileIV`; the exposure always has folds, two in replicates.

    Notes
    -----
    The response h solves E[y | z, c] = E[h(x, c) | z, c]. The right side is a weighted mean of h over the Gauss
    quadrature nodes of a sample's distribution (`quadrature`), so the second stage is an ordinary regression, without
    the noise and the double draws of sampling. A binary outcome has the mean of probabilities, with a logistic loss.

    A sample's distribution comes from a network that has not learned from its exposure, so many weak instruments
    cannot fit the noise; in two samples, it comes from the first. Means are linear in instruments and covariates, plus
    what the network adds.

    With splines B, what is expected of them, P, serves as instruments: P'(y - B b) = 0, shrunk as in `Sieve`. A wrong
    density then costs precision, where networks would be biased; the covariance is the robust sandwich with what
    shrinkage takes away. In two samples the outcome is regressed on P.

    References
    ----------
    Hartford et al. (2017) https://proceedings.mlr.press/v70/hartford17a.html; Bishop (1994) Mixture density networks,
    Aston University technical report NCRG/94/004.
    """

    density: Density = "mixture"
    n_components: int = 3
    n_nodes: int = 5
    stage2: SecondStage = "network"
    n_functions: int = 20
    covariate_functions: int | None = None
    activation: Activation = "GELU"
    exposure_hidden: tuple[int, ...] = (64, 32)
    outcome_hidden: tuple[int, ...] = (64, 32)
    exposure_epochs: int = 100
    outcome_epochs: int = 100
    exposure_batch_size: int | None = 512
    outcome_batch_size: int | None = 512
    exposure_learning_rate: float = 2e-3
    outcome_learning_rate: float = 5e-3
    exposure_weight_decay: float = 1e-3
    outcome_weight_decay: float = 1e-4
    exposure_batch_norm: bool = False
    outcome_batch_norm: bool = False
    exposure_input_batch_norm: bool = False
    outcome_input_batch_norm: bool = False
    exposure_patience: int = 10
    outcome_patience: int = 10
    averaging: float = 0.98
    linear_start: bool = True
    n_folds: int = 3
    validation_share: float = 0.2
    n_boot: int = 1

    def fit(self, data: IVData, *, outcome_data: IVData | None = None, seed: int = 0) -> DoseResponse:
        """Fit the response.

        Parameters
        ----------
        data : of the first stage, and of the second where there is one sample.
        outcome_data : of the second stage, where it is another sample.
        seed : of folds, first weights, the order of samples and the bootstrap.
        """
        for name in ("n_components", "n_nodes"):
            checks.at_least(name, getattr(self, name), 1)
        checks.one_of("density", self.density, get_args(Density))
        checks.one_of("stage2", self.stage2, get_args(SecondStage))
        if self.stage2 == "splines" and self.n_boot > 1:
            raise InputError(f"n_boot must be 1 with splines, whose intervals are in closed form; got {self.n_boot}")
        first, second = two_samples(data, outcome_data)
        scaling = Scaling.of(first, second)
        densities = fit_densities(
            first,
            second,
            density=self.density,
            n_components=self.n_components,
            n_nodes=self.n_nodes,
            stage=_stepped(stage_of(self, "exposure"), len(first)),
            plan=self._plan(),
            scaling=scaling,
            seed=seed,
        )
        if self.stage2 == "splines":
            return self._splines(first, second, densities, scaling, seed)
        return self._networks(first, second, densities, scaling, seed)

    def _plan(self) -> Plan:
        return Plan(n_replicates=self.n_boot, n_folds=self.n_folds, validation_share=self.validation_share)

    def _networks(
        self, first: IVData, second: IVData, densities: Densities, scaling: Scaling, seed: int
    ) -> NetworkResponse:
        responded = fit_outcome(
            second,
            nodes=as_tensor(np.stack([one.values for one in densities.second])),
            node_weights=as_tensor(np.stack([one.weights for one in densities.second])),
            stage=_stepped(stage_of(self, "outcome"), len(second)),
            plan=self._plan(),
            linear_start=self.linear_start,
            scaling=scaling,
            seed=seed,
        )
        return network_response(
            first,
            second,
            method="deep_iv",
            options=asdict(self),
            seed=seed,
            scaling=scaling,
            responded=responded,
            exposure=densities.trained,
            exposure_unit=1.0,
            n_replicates=self.n_boot,
            diagnostics={"exposure_minus_log_density": densities.loss},
        )

    def _splines(
        self, first: IVData, second: IVData, densities: Densities, scaling: Scaling, seed: int
    ) -> LinearResponse:
        assert first.exposure is not None
        n_covariates = len(first.covariate_names)
        functions = fit_splines(first.exposure, n_functions=self.n_functions, weights=first.weights)
        most = self.covariate_functions
        if most is None:
            most = _covariate_functions(n_covariates, len(second))
        covariates = covariate_basis(second, n_functions=most, products=modifies_fully("auto", n_covariates))
        pairs, groups = choose_terms(functions, covariates, "auto", n_covariates)
        terms = Terms(exposure=functions, covariates=covariates, pairs=pairs)

        def expected(nodes: Nodes) -> Float[np.ndarray, "samples functions"]:
            parts = zip(nodes.values.T, nodes.weights.T, strict=True)
            return sum(
                (w[:, None] * functions(v * scaling.exposure[1] + scaling.exposure[0]) for v, w in parts),
                np.zeros((1, functions.size)),
            )

        second_nodes = densities.second[0]
        fitted = expected(second_nodes if densities.first is None else densities.first[0])
        stage = FirstStage(
            score=fitted[:, 1],
            fitted=fitted,
            second=None if densities.first is None else expected(second_nodes),
            folds=np.zeros(len(first), dtype=int),
        )
        solved = solve_second_stage(first, second, terms=terms, groups=groups, stage=stage)
        return LinearResponse(
            terms=terms,
            coefficients=solved.coefficients,
            covariance=solved.covariance,
            mean_functions=np.average(covariates(second.covariates), axis=0, weights=second.scaled_weights),
            record=record_of(
                first,
                second,
                method="deep_iv",
                options=asdict(self),
                seed=seed,
                diagnostics={
                    "exposure_minus_log_density": densities.loss,
                    "effective_dimension": float(solved.smoothed.effective.sum()),
                    "residual_sd": float(np.sqrt(solved.smoothed.variance)),
                },
            ),
        )


def _covariate_functions(n_covariates: int, n: int) -> int:
    """Return how many functions of each covariate there are, so that all coefficients are not too many."""
    if modifies_fully("auto", n_covariates):
        return _RICH
    return max(2, min(_PLAIN, min(_COLUMNS, n // 4) // (2 * n_covariates)))


def _stepped(stage: Stage, n: int) -> Stage:
    """Return a stage whose batches are smaller where a sample is, so that an epoch has several steps."""
    asked = stage.schedule.batch_size
    if asked is None:
        return stage
    size = min(asked, max(_FEWEST, n // _STEPS))
    return replace(stage, schedule=replace(stage.schedule, batch_size=size))
