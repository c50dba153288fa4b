"""Deep feature instrumental variables: two-stage least squares in features that networks learn for it."""

from dataclasses import asdict, dataclass, fields

import numpy as np

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import IVData, record_of, two_samples
from deepmr.nonlinear.networks.feature_fit import solve_response
from deepmr.nonlinear.networks.feature_response import FeatureResponse
from deepmr.nonlinear.networks.feature_samples import make_deal, make_frame, standardised_samples
from deepmr.nonlinear.networks.feature_training import Features, Turns, train_features
from deepmr.perceptrons.split import member_seeds
from deepmr.perceptrons.stack import Activation, Architecture, Stack

_STEEP = 3.0  # first weights of the exposure's network, so that its features bend inside the sample
_FEWEST = 100  # samples
_GIVEN = "Intervals take the learned features as given: what their learning adds to errors is not in them."


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepFeatureIV:
    """Deep feature instrumental variables: networks learn features in which the response is linear.

    Attributes
    ----------
    n_instrument_features, n_exposure_features, n_covariate_features : outputs of the three networks; without
        covariate features, covariates enter linearly and by their products with the exposure.
    instrument_hidden, exposure_hidden, covariate_hidden : units of their hidden layers.
    activation : after every hidden layer.
    instrument_ridge, exposure_ridge : penalties of the two regressions while networks learn, a sample, of coefficients
        of features with variance 1.
    instrument_updates, covariate_updates, exposure_updates : steps of each network in a turn.
    instrument_rate, covariate_rate, exposure_rate : learning rates at first; they fall to almost nothing.
    weight_decay : of all networks.
    batch_size : samples of each stage in a turn.
    epochs : most passes over the samples, of four turns at least.
    patience : epochs without a better validation loss after which learning stops.
    validation_share : of samples, which no network learns from.

    Notes
    -----
    Features of instruments and covariates are learned to predict those of the exposure; features of the exposure and
    of covariates, to predict the outcome by what is expected of them. Samples are in two halves: a network of
    instruments learns from one and predicts in the other, and the reverse, so no sample's own exposure is in what is
    expected of it. Between two samples (`outcome_data`) the stages are apart as they are.

    The response is then fitted once more to all samples, P'(y - F b) = 0 with F products of functions of exposure and
    covariates and P what is expected of them. Coefficients shrink by groups, straighter features less; fits are
    averaged over how much (`averaging`). Their covariance is the robust sandwich with what shrinkage may take away. It
    takes the features as given: that they were learned from these outcomes is not in it, so intervals are too short
    where the features do not hold the response.

    References
    ----------
    Xu et al. (2021) doi:10.48550/arXiv.2010.07154; Chernozhukov et al. (2018) doi:10.1111/ectj.12097.
    """

    n_instrument_features: int = 8
    n_exposure_features: int = 8
    n_covariate_features: int = 4
    instrument_hidden: tuple[int, ...] = (64, 32)
    exposure_hidden: tuple[int, ...] = (32,)
    covariate_hidden: tuple[int, ...] = (64, 32)
    activation: Activation = "GELU"
    instrument_ridge: float = 1e-3
    exposure_ridge: float = 1e-3
    instrument_updates: int = 5
    covariate_updates: int = 5
    exposure_updates: int = 5
    instrument_rate: float = 2e-3
    covariate_rate: float = 5e-3
    exposure_rate: float = 5e-3
    weight_decay: float = 1e-3
    batch_size: int = 1000
    epochs: int = 40
    patience: int = 15
    validation_share: float = 0.15

    def fit(self, data: IVData, *, outcome_data: IVData | None = None, seed: int = 0) -> FeatureResponse:
        """Fit the response.

        Parameters
        ----------
        data : of the first stage, and of the second where there is one sample.
        outcome_data : of the second stage, where it is another sample.
        seed : of folds, first weights and the order of samples.
        """
        self._check()
        first, second = two_samples(data, outcome_data)
        if min(len(first), len(second)) < _FEWEST:
            raise InputError(f"dfiv needs {_FEWEST} samples at least; got {min(len(first), len(second))}")
        frame, deal = make_frame(first, second), make_deal(first, second, share=self.validation_share, seed=seed)
        samples = standardised_samples(first, second, frame, deal)
        fresh = self._fresh(first, n_members=len(deal.roles.first.index), seed=seed)
        trained = train_features(fresh, *samples, deal.roles, self._turns(), seed=seed)
        fitted = solve_response(first, second, frame=frame, deal=deal, samples=samples, features=trained.features)
        variance, found = frame.outcome_spread**2, fitted.solved.smoothed
        return FeatureResponse(
            exposure=fitted.exposure,
            covariates=fitted.covariates,
            pairs=fitted.pairs,
            coefficients=fitted.solved.coefficients,
            covariance=fitted.solved.covariance,
            mean_functions=fitted.mean_functions,
            record=record_of(
                first,
                second,
                method="dfiv",
                options=asdict(self),
                seed=seed,
                losses={"outcome": trained.loss * variance},
                diagnostics={
                    "best_epoch": float(trained.epoch),
                    "effective_dimension": float(found.effective.sum()),
                    "residual_sd": float(np.sqrt(found.variance)),
                },
                warnings=(_GIVEN,),
            ),
            logs=trained.logs,
        )

    def _check(self) -> None:
        for name in ("n_instrument_features", "n_exposure_features", "epochs", "patience"):
            checks.at_least(name, getattr(self, name), 1)
        for name in ("instrument_updates", "exposure_updates", "covariate_updates"):
            checks.at_least(name, getattr(self, name), 1)
        for name in ("n_covariate_features", "instrument_ridge", "exposure_ridge", "weight_decay"):
            checks.at_least(name, getattr(self, name), 0)
        checks.at_least("batch_size", self.batch_size, 2)
        for name in ("instrument_rate", "covariate_rate", "exposure_rate"):
            if not 0 < getattr(self, name) < np.inf:
                raise InputError(f"{name} must be positive; got {getattr(self, name):g}")
        if not 0 < self.validation_share < 1:
            raise InputError(f"validation_share must be between 0 and 1; got {self.validation_share:g}")

    def _turns(self) -> Turns:
        return Turns(**{field.name: getattr(self, field.name) for field in fields(Turns)})

    def _fresh(self, data: IVData, *, n_members: int, seed: int) -> Features:
        n_covariates = len(data.covariate_names)

        def stack(n_inputs: int, n_outputs: int, hidden: tuple[int, ...], count: int, stage: int) -> Stack:
            made = Architecture(n_inputs=n_inputs, n_outputs=n_outputs, hidden=hidden, activation=self.activation)
            return Stack.fresh(made, member_seeds(count, seed=seed, stage=stage))

        exposure = stack(1, self.n_exposure_features, self.exposure_hidden, 1, 1)
        if self.exposure_hidden:
            exposure.parameters[:, : 2 * self.exposure_hidden[0]] *= _STEEP
        covariate = None
        if n_covariates:
            linear = self.n_covariate_features == 0  # one linear feature adds nothing to the covariates
            hidden = () if linear else self.covariate_hidden
            covariate = stack(n_covariates, max(1, self.n_covariate_features), hidden, 1, 2)
        n_inputs = len(data.instrument_names) + n_covariates + 1
        return Features(
            stack(n_inputs, self.n_instrument_features, self.instrument_hidden, n_members, 0), exposure, covariate
        )
