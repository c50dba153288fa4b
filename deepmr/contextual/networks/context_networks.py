"""Coefficients that an ensemble of networks makes of context."""

from dataclasses import asdict, dataclass, fields

import torch

from deepmr import checks
from deepmr.contexts import ContextData, record_of
from deepmr.contextual.least_squares import check_design, inexact, solve
from deepmr.contextual.networks.encoders import ENCODERS, EncoderKind
from deepmr.contextual.networks.fitted import ContextNetworksFit, relevance_of
from deepmr.contextual.networks.refit import refit_archetypes
from deepmr.contextual.networks.resampling import RESAMPLINGS, Resampling, deal
from deepmr.contextual.networks.samples import constant_start, make_objective, make_samples, outcome_units
from deepmr.contextual.networks.surface import FORMS, LINKS, Form, Link, Plan, Surface
from deepmr.contextual.networks.teaching import Lessons, Optimizer, history, teach
from deepmr.contextual.scaling import constant_contexts, scale_contexts
from deepmr.errors import InputError
from deepmr.perceptrons.split import member_seeds
from deepmr.perceptrons.stack import ACTIVATIONS, Activation
from deepmr.perceptrons.training import Objective

_BAGGED = (
    "Standard errors are the spread of networks of bootstrap samples: they tell of sampling and of training, not of "
    "bias from networks stopped early or asked outside of what they have seen."
)
_SPLIT = "Networks of random splits have no standard errors, as their spread is not that of samples."


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextNetworks:
    """An ensemble of encoders of context, of which each starts from coefficients that context does not change.

    Attributes
    ----------
    form : how encoders make coefficients: naive, they are the outputs; subtype, sums of archetypes that outputs weigh;
        multitask, one encoder of context and of which coefficient it is; tasksplit, an encoder of each (`surface`).
    encoder : mlp, a perceptron; ngam, a perceptron a context, summed, without interactions of contexts; linear.
    link : of weights of archetypes: identity, or softmax for shares.
    n_archetypes : of the forms that have them.
    width, layers : of encoders' hidden layers.
    activation : after each of these.
    penalty, l1_share : of standardised slopes: penalty a sample times (l1_share |b| + (1 - l1_share) b^2 / 2).
    optimizer : lbfgs, all samples at once in float64; adam, minibatches in float32; auto, the first without batch_size
        and to 10,000 samples.
    learning_rate, batch_size : of Adam; batch_size None is 256.
    epochs, patience : most passes over the samples, and those without a better validation loss that end training;
        patience None is 100 of lbfgs and 10 of adam, whose epoch is many steps.
    weight_decay : half of it times the sum of squared parameters is added to the loss.
    n_members : networks.
    resampling : bootstrap, each learns from as many samples (groups, where there are groups) drawn with replacement and
        is watched on the others; split, each is watched on a random share.
    validation : that share; 0 to watch on all samples, which only ends training.
    refit_archetypes : whether ridge solves for archetypes in the end, where outcomes are continuous and there is no
        penalty.

    Notes
    -----
    Coefficients are means over members. Known errors of outcomes are weights; a weight counts as that many rows.

    References
    ----------
    Lengerich et al. (2023) doi:10.48550/arXiv.2310.11340; Breiman (1996) doi:10.1007/BF00058655, bagging.
    """

    form: Form = "subtype"
    encoder: EncoderKind = "mlp"
    link: Link = "identity"
    n_archetypes: int = 10
    width: int = 50
    layers: int = 1
    activation: Activation = "SiLU"
    penalty: float = 0.0
    l1_share: float = 0.5
    optimizer: Optimizer = "auto"
    learning_rate: float = 3e-3
    epochs: int = 1000
    patience: int | None = None
    batch_size: int | None = None
    weight_decay: float = 3e-5
    n_members: int = 10
    resampling: Resampling = "bootstrap"
    validation: float = 0.2
    refit_archetypes: bool = True

    def __post_init__(self) -> None:
        for name, allowed in (
            ("form", FORMS),
            ("encoder", ENCODERS),
            ("link", LINKS),
            ("activation", ACTIVATIONS),
            ("resampling", RESAMPLINGS),
        ):
            checks.one_of(name, getattr(self, name), allowed)
        for name in ("n_archetypes", "width", "layers", "n_members"):
            checks.at_least(name, getattr(self, name), 1)
        for name in ("penalty", "validation", "l1_share"):
            checks.at_least(name, getattr(self, name), 0)
        if self.l1_share > 1 or self.validation >= 1:
            raise InputError(
                f"l1_share must be at most 1 and validation below 1; got {self.l1_share:g} and {self.validation:g}"
            )
        _ = self._lessons

    @property
    def _lessons(self) -> Lessons:
        names = [field.name for field in fields(Lessons)]
        return Lessons(**{name: getattr(self, name) for name in names})

    def fit(self, data: ContextData, *, seed: int = 0) -> ContextNetworksFit:
        """Train the ensemble.

        Parameters
        ----------
        data : samples.
        seed : of weights, of samples drawn and of their order.

        Raises
        ------
        InputError
            When predictors repeat each other, there are fewer samples than coefficients, or predictors alone tell 0
            and 1 apart.
        """
        check_design(data.design, data.predictor_names)
        if data.outcome_type == "binary":
            for k in range(len(data.outcome_names)):
                solve(data.pick_outcome(k))  # says so where predictors alone tell 0 and 1 apart
        scaling = scale_contexts(data)
        flat, said = constant_contexts(data, scaling)
        units = outcome_units(data)
        samples = make_samples(data, scaling(data.contexts), units)
        split = deal(data, resampling=self.resampling, validation=self.validation, n_members=self.n_members, seed=seed)

        def objective_of(kind: torch.dtype) -> Objective[Surface]:
            return make_objective(samples.to(kind), penalty=self.penalty, l1_share=self.l1_share)

        seeds = member_seeds(self.n_members, seed=seed)
        start = Surface.fresh(self._plan(data, samples.z.shape[1]), seeds, constant_start(samples, split))
        trained = teach(
            start,
            objective_of,
            split=split,
            lessons=self._lessons,
            n=len(data),
            seeds=seeds,
            stage="coefficients",
        )
        if self._refits(data):
            trained = refit_archetypes(trained, samples, split, objective_of(torch.float64))
        names = [data.context_names[k] for k in scaling.used]
        return ContextNetworksFit(
            surface=trained.stack,
            units=units,
            scaling=scaling,
            history=history(trained.logs),
            record=record_of(
                data,
                method="networks",
                options=asdict(self),
                seed=seed,
                constant=flat,
                measures={
                    "validation_loss": float(trained.losses.mean()),
                    "epochs": float(trained.epochs.double().mean()),
                },
                relevance=dict(zip(names, relevance_of(trained.stack, samples.z, seed=seed), strict=False)),
                warnings=(*said, *self._warnings(data)),
            ),
        )

    def _plan(self, data: ContextData, n_contexts: int) -> Plan:
        return Plan(
            form=self.form,
            encoder=self.encoder,
            link=self.link,
            n_contexts=n_contexts,
            n_outcomes=len(data.outcome_names),
            n_columns=1 + len(data.predictor_names),
            n_archetypes=self.n_archetypes,
            hidden=(self.width,) * self.layers,
            activation=self.activation,
        )

    def _refits(self, data: ContextData) -> bool:
        return self.refit_archetypes and self.form != "naive" and data.outcome_type == "continuous" and not self.penalty

    def _warnings(self, data: ContextData) -> tuple[str, ...]:
        told = []
        if self.n_members > 1:
            told.append(_BAGGED if self.resampling == "bootstrap" else _SPLIT)
        return (*told, *inexact(data))
