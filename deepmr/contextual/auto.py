"""The method that predicts samples it has not seen best, one set of coefficients for all contexts among them."""

from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.contexts import ContextData, ContextualFit
from deepmr.contextual import METHODS, fit_context, predict
from deepmr.contextual.validation import fits_without_folds, fold_rows, units_of
from deepmr.errors import InputError

_ALWAYS = "population"
_KEPT = (
    "One set of coefficients for all contexts is kept: nothing else predicted held-out samples better by more than the "
    "standard error of the difference."
)
_ROUNDING = 1e-9  # gain, against the loss, that may be of the order of additions
_UNLIKELY = 1e-12  # probability that a loss of a binary outcome takes at least


@dataclass(frozen=True, slots=True, kw_only=True)
class Auto:
    """The best of some methods by cross-validation; coefficients that do not vary are kept unless others do better.

    Attributes
    ----------
    candidates : methods to try beside `population`, which always is.
    n_folds : of the cross-validation, of whole groups where samples have them.
    max_samples : to compare methods on; of more, some are drawn, whole groups where there are any.
    """

    candidates: tuple[str, ...] = ("ridge", "gp")
    n_folds: int = 5
    max_samples: int = 1000

    def __post_init__(self) -> None:
        checks.at_least("n_folds", self.n_folds, 2)
        checks.at_least("max_samples", self.max_samples, 50)
        checks.unique("candidates", self.candidates)
        for name in self.candidates:
            checks.one_of("candidates", name, [name for name in METHODS if name != "auto"])

    def fit(self, data: ContextData, *, seed: int = 0) -> ContextualFit:
        """Fit the method chosen to all samples.

        Parameters
        ----------
        data : samples.
        seed : of the folds and of the methods.

        Returns
        -------
        The fit of the chosen method, whose `kind` says which; its record has the method `auto`, and among its measures
        `cv_error_<method>`, `cv_gain_<method>` over the population, `cv_gain_se_<method>`, and `chosen_<method>`.

        Raises
        ------
        InputError
            When not even the population has coefficients.

        Notes
        -----
        Errors of held-out rows are squared, divided by the variance of the outcome, and added up over outcomes; those
        with known standard errors are divided by their squares plus what outcomes vary by beyond them. For binary
        outcomes they are -log p. A method takes the place of the population when its mean error is smaller by more
        than the standard error of the paired difference, over groups where there are any; of several, the one with
        the smallest mean.
        """
        wanted = (_ALWAYS, *[name for name in self.candidates if name != _ALWAYS])
        some = draw_units(data, self.max_samples, seed)
        losses, likes, said = self._losses(some, wanted, seed)
        if len(some) < len(data):
            said.append(f"Methods were compared on {len(some)} of {len(data)} samples.")
        gains = {name: gain(losses[_ALWAYS] - one, some) for name, one in losses.items() if name != _ALWAYS}
        least = _ROUNDING * float(np.mean(losses[_ALWAYS])) if gains else 0.0
        better = sorted((-mean, name) for name, (mean, se) in gains.items() if mean > se + least)
        fit, chosen = None, _ALWAYS
        for _, name in better:
            try:
                fit, chosen = fit_context(data, method=name, seed=seed, like=likes[name]), name
                break
            except InputError as error:
                said.append(f"{name} was better, but could not be fitted to all samples: {error}.")
        if fit is None:
            fit = fit_context(data, method=_ALWAYS, seed=seed)
            if gains:
                said.append(_KEPT)
        measures = dict(fit.record.measures)
        for name, one in losses.items():
            measures[f"cv_error_{name}"] = float(some.counts @ one / some.counts.sum())
            measures[f"chosen_{name}"] = float(name == chosen)
            if name in gains:
                measures[f"cv_gain_{name}"], measures[f"cv_gain_se_{name}"] = gains[name]
        record = replace(
            fit.record,
            method="auto",
            options=asdict(self),
            measures=measures,
            warnings=(*fit.record.warnings, *said),
        )
        return cast(ContextualFit, replace(cast(Any, fit), record=record))

    def _losses(
        self, data: ContextData, wanted: tuple[str, ...], seed: int
    ) -> tuple[dict[str, Float[np.ndarray, "samples"]], dict[str, ContextualFit], list[str]]:
        """Return held-out losses under each method that can be fitted, its last fit, and sentences about others."""
        losses: dict[str, Float[np.ndarray, "samples"]] = {}
        likes: dict[str, ContextualFit] = {}
        said: list[str] = []
        try:
            folds = fold_rows(data, n_folds=self.n_folds, seed=seed)
            losses[_ALWAYS], likes[_ALWAYS] = _held_out_losses(data, folds, _ALWAYS, seed)
        except InputError as error:
            return {}, {}, [f"There is no choice of a method, as samples cannot be held out: {error}."]
        for name in wanted[1:]:
            try:
                losses[name], likes[name] = _held_out_losses(data, folds, name, seed)
            except InputError as error:
                said.append(f"{name} is not among the candidates: {error}.")
        return losses, likes, said


def draw_units(data: ContextData, most: int, seed: int) -> ContextData:
    """Return all samples, or of more than `most` as many as that, groups whole where there are any.

    Parameters
    ----------
    data : samples.
    most : how many to have at most; at least two groups are taken.
    seed : of the draw.
    """
    if len(data) <= most:
        return data
    labels = units_of(data)
    size = np.bincount(labels)
    order = np.random.default_rng(seed).permutation(len(size))
    taken = order[: max(int(np.searchsorted(np.cumsum(size[order]), most, side="right")), 2)]
    return data.take(np.isin(labels, taken))


def _held_out_losses(
    data: ContextData, folds: Int[np.ndarray, "samples"], method: str, seed: int
) -> tuple[Float[np.ndarray, "samples"], ContextualFit]:
    made = np.zeros_like(data.outcomes)
    for rows, _, fit in fits_without_folds(data, folds, method=method, seed=seed):
        offset = None if data.offset is None else data.offset[rows]
        made[rows] = predict(fit, data.contexts[rows], data.predictors[rows], offset=offset)
    return row_losses(data, made), fit


def row_losses(data: ContextData, predictions: Float[np.ndarray, "samples outcomes"]) -> Float[np.ndarray, "samples"]:
    """Return the loss of every row, without a unit and added up over outcomes.

    Parameters
    ----------
    data : samples.
    predictions : of their outcomes.

    Notes
    -----
    As in `Auto.fit`.
    """
    if data.outcome_type == "binary":
        likely = np.where(data.outcomes == 1, predictions, 1 - predictions)
        return -np.log(np.maximum(likely, _UNLIKELY)).sum(axis=1)
    share = data.counts / data.counts.sum()
    total = share @ (data.outcomes - share @ data.outcomes) ** 2
    total = np.where(total > 0, total, 1.0)
    if data.se_outcome is None:
        variance = np.broadcast_to(total, data.outcomes.shape)
    else:
        known = data.se_outcome**2
        variance = known + np.maximum(total - share @ known, 0.0)
    return ((data.outcomes - predictions) ** 2 / variance).sum(axis=1)


def gain(difference: Float[np.ndarray, "samples"], data: ContextData) -> tuple[float, float]:
    """Return the mean of paired differences and its standard error.

    Parameters
    ----------
    difference : of the losses of two methods, a row each.
    data : samples, with weights, and with groups whose rows are not independent.
    """
    counts = data.counts
    total = float(counts.sum())
    mean = float(counts @ difference / total)
    off = difference - mean
    if data.groups is None:
        return mean, float(np.sqrt(counts @ off**2 / max(total - 1, 1.0) / total))
    _, labels = np.unique(data.groups, return_inverse=True)
    sums = np.bincount(labels.ravel(), weights=counts * off)
    return mean, float(np.sqrt(sums @ sums * len(sums) / max(len(sums) - 1, 1)) / total)
