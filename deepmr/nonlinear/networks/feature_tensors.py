"""Tensors of deep features: samples and who has which, scaled features, and ridge regressions of several members."""

from dataclasses import dataclass

import torch
from torch import Tensor

from deepmr.errors import InputError
from deepmr.perceptrons.stack import Stack

_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Sample:
    """Standardised tensors of one sample.

    Attributes
    ----------
    instruments, covariates : (rows, columns).
    scores : (members, rows), what instruments and covariates say of the exposure linearly, by a member's samples alone.
    exposure, outcome : (rows,), or empty where the sample lacks it.
    """

    instruments: Tensor
    covariates: Tensor
    scores: Tensor
    exposure: Tensor
    outcome: Tensor

    def __len__(self) -> int:
        return len(self.instruments)


@dataclass(frozen=True, slots=True)
class Rows:
    """Samples of every member.

    Attributes
    ----------
    index : (members, samples), positions.
    weights : the same shape; 0 for what only fills up.
    """

    index: Tensor
    weights: Tensor

    def part(self, columns: Tensor) -> "Rows":
        """Return some of every member's, (members, samples) positions among them."""
        return Rows(self.index.gather(1, columns), self.weights.gather(1, columns))


@dataclass(frozen=True, slots=True)
class Roles:
    """Which samples do what, a row a member: no sample that a member learns the first stage from is in its second."""

    first: Rows
    second: Rows
    validation: Rows


@dataclass(frozen=True, slots=True)
class Scaling:
    """Means of columns, and reciprocals of their standard deviations."""

    mean: Tensor
    factor: Tensor

    @classmethod
    def of(cls, values: Tensor, weights: Tensor) -> "Scaling":
        """Take those over rows, the axis before the last."""
        share = (weights / weights.sum(dim=-1, keepdim=True))[..., None]
        mean = (values * share).sum(dim=-2, keepdim=True)
        variance = ((values - mean) ** 2 * share).sum(dim=-2, keepdim=True)
        return cls(mean, torch.rsqrt(variance + _EPS))

    def __call__(self, values: Tensor) -> Tensor:
        """Centre and scale."""
        return (values - self.mean) * self.factor


def instrument_features(stack: Stack, sample: Sample, index: Tensor, *, training: bool = False) -> Tensor:
    """Return the learned features of instruments, covariates and score, (members, rows, features).

    Parameters
    ----------
    stack : of instruments.
    sample : where the rows are from.
    index : (members, rows), positions.
    training : as in `Stack`.
    """
    score = sample.scores[torch.arange(len(stack))[:, None], index][..., None]
    return stack(torch.cat([sample.instruments[index], sample.covariates[index], score], dim=2), training=training)


def instrument_design(sample: Sample, index: Tensor, learned: Tensor) -> Tensor:
    """Return the columns that functions of the exposure are regressed on: 1, score, covariates, learned features.

    Parameters
    ----------
    sample : where the rows are from.
    index : (members, rows), positions.
    learned : features of these, scaled.
    """
    score = sample.scores[torch.arange(len(learned))[:, None], index][..., None]
    return torch.cat([torch.ones_like(score), score, sample.covariates[index], learned], dim=2)


def combined(exposure: Tensor, covariates: Tensor, learned: Tensor) -> Tensor:
    """Return columns of the response, in the order of `column_pairs`.

    Parameters
    ----------
    exposure : (rows, 1 + features), the exposure and its learned features.
    covariates, learned : (rows, columns), covariates and their learned features.
    """
    one = torch.ones_like(exposure[:, :1])
    of_exposure, of_covariates = torch.cat([one, exposure], dim=1), torch.cat([one, learned], dim=1)
    products = (of_exposure[:, :, None] * of_covariates[:, None, :]).flatten(1)
    return torch.cat([products, covariates, covariates * exposure[:, :1]], dim=1)


def column_pairs(n_exposure: int, n_learned: int, n_covariates: int) -> list[tuple[int, int]]:
    """Return which functions of exposure and of covariates are multiplied, counted over 1 and those that follow.

    Parameters
    ----------
    n_exposure : features of the exposure, itself left out.
    n_learned, n_covariates : learned features of covariates, and covariates, which come after them.
    """
    pairs = [(e, c) for e in range(2 + n_exposure) for c in range(1 + n_learned)]
    return pairs + [(e, 1 + n_learned + k) for e in (0, 1) for k in range(n_covariates)]


def ridge_factor(design: Tensor, weights: Tensor, penalty: Tensor) -> Tensor:
    """Return the Cholesky factor of D'WD / n + penalty, for every member.

    Parameters
    ----------
    design : (members, rows, columns).
    weights : (members, rows).
    penalty : (columns,); per sample, so that it means the same in samples of any size.

    Raises
    ------
    InputError
        When it is not positive definite, not with more on its diagonal either.
    """
    gram = ((design * weights[..., None]).transpose(1, 2) @ design).double()
    gram = gram / weights.sum(dim=1)[:, None, None].double() + torch.diag(penalty.double())
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype)
    for more in (1e-7, 1e-5, 1e-3):
        factor, info = torch.linalg.cholesky_ex(gram + more * eye)
        if bool((info == 0).all()) and bool(torch.isfinite(factor).all()):
            return factor
    raise InputError(
        "coefficients of deep features cannot be solved for: they are not finite; a smaller learning rate may help"
    )


def ridge_solve(factor: Tensor, design: Tensor, weights: Tensor, targets: Tensor) -> Tensor:
    """Return coefficients (members, columns, targets) of a ridge regression.

    Parameters
    ----------
    factor : what `ridge_factor` returned.
    design, weights : that it was made from.
    targets : (members, rows, targets).
    """
    moment = ((design * weights[..., None]).transpose(1, 2) @ targets).double()
    return torch.cholesky_solve(moment / weights.sum(dim=1)[:, None, None].double(), factor).float()
