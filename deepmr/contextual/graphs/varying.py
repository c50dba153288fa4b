"""Mean and covariance of the nodes as smooth functions of context: each node in turn regressed on those before it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from deepmr.contexts import GraphData
from deepmr.contextual.graphs.equation import Equation, fit_equation
from deepmr.contextual.graphs.moments import Moments, standardise
from deepmr.contextual.graphs.smooth_basis import SmoothBasis, choose_places, make_basis

_STARTS = (0.75, 1.5, 3.0)  # length scales, in standard deviations of a context, times the root of their number
_SHORT, _LONG = 0.25, 32.0
_FACTOR = 2.0
_FINE, _WORSE = 2**-0.5, 3.0  # then shorter ones of nearly that evidence, as too smooth a fit has too narrow bands


@dataclass(frozen=True, slots=True, kw_only=True)
class VaryingCovariance:
    """A multivariate normal distribution whose mean and covariance change smoothly with context.

    Attributes
    ----------
    centre, scale : of each node.
    basis : functions of context.
    orders : orders of the nodes that covariances are averaged over.
    equations : of each order, one a node.
    """

    kind: ClassVar[str] = "varying"

    centre: Float[np.ndarray, "nodes"]
    scale: Float[np.ndarray, "nodes"]
    basis: SmoothBasis
    orders: Int[np.ndarray, "orders nodes"]
    equations: tuple[tuple[Equation, ...], ...]

    def moments(self, z: Float[np.ndarray, "points contexts"]) -> Moments:
        """Return mean and covariance of the nodes at standardised contexts.

        Parameters
        ----------
        z : standardised contexts.
        """
        functions = self.basis(z)
        found = []
        for order, equations in zip(self.orders, self.equations, strict=True):
            coefficient = [functions @ one.mean.T for one in equations]
            log_variance = [functions @ one.log_variance for one in equations]
            found.append(_assemble(order, equations, coefficient, log_variance))
        return self._in_units(
            Moments(
                mean=np.mean([one.mean for one in found], axis=0),
                covariance=np.mean([one.covariance for one in found], axis=0),
            )
        )

    def draws(
        self, z: Float[np.ndarray, "points contexts"], *, n_draws: int, seed: int
    ) -> Float[np.ndarray, "draws points nodes nodes"]:
        """Draw covariances jointly over points, from every order in turn.

        Parameters
        ----------
        z : standardised contexts.
        n_draws : how many.
        seed : of the draws.
        """
        rng = np.random.default_rng(seed)
        functions = self.basis(z)
        drawn = np.empty((n_draws, len(z), len(self.centre), len(self.centre)))
        for k in range(n_draws):
            which = k % len(self.orders)
            coefficient, log_variance = [], []
            for one in self.equations[which]:
                moved = one.mean.ravel() + one.root @ rng.standard_normal(one.mean.size)
                coefficient.append(functions @ moved.reshape(one.mean.shape).T)
                moved = one.log_variance + one.log_root @ rng.standard_normal(len(one.log_variance))
                log_variance.append(functions @ moved)
            at = _assemble(self.orders[which], self.equations[which], coefficient, log_variance)
            drawn[k] = self._in_units(at).covariance
        return drawn

    def _in_units(self, moments: Moments) -> Moments:
        return Moments(
            mean=self.centre + self.scale * moments.mean,
            covariance=moments.covariance * np.outer(self.scale, self.scale),
        )

    @property
    def edf(self) -> float:
        """Effective degrees of freedom, of the average order."""
        return float(np.mean([sum(one.edf for one in equations) for equations in self.equations]))

    @property
    def evidence(self) -> float:
        """Log marginal likelihood of the average order."""
        return float(np.mean([sum(one.evidence for one in equations) for equations in self.equations]))

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return it as arrays and plain values."""
        arrays = {"centre": self.centre, "scale": self.scale, "orders": self.orders, **self.basis.arrays()}
        for k, equations in enumerate(self.equations):
            for j, one in enumerate(equations):
                arrays |= {f"{k}_{j}_{name}": value for name, value in one.arrays().items()}
        return arrays, {"n_orders": len(self.equations), "n_nodes": len(self.centre)}

    @classmethod
    def from_state(cls, arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> "VaryingCovariance":
        """Make it again from what `state` returned.

        Parameters
        ----------
        arrays, settings : as they were.
        """

        def equation(k: int, j: int) -> Equation:
            start = f"{k}_{j}_"
            return Equation.from_arrays({n.removeprefix(start): v for n, v in arrays.items() if n.startswith(start)})

        return cls(
            centre=arrays["centre"],
            scale=arrays["scale"],
            basis=SmoothBasis.from_arrays(arrays),
            orders=arrays["orders"],
            equations=tuple(
                tuple(equation(k, j) for j in range(settings["n_nodes"])) for k in range(settings["n_orders"])
            ),
        )


def fit_varying(
    data: GraphData,
    z: Float[np.ndarray, "samples contexts"],
    *,
    n_orders: int,
    seed: int,
    lengths: Float[np.ndarray, "contexts"] | None = None,
) -> VaryingCovariance:
    """Fit mean and covariance as smooth functions of context.

    Parameters
    ----------
    data : samples.
    z : their contexts, standardised.
    n_orders : orders of the nodes to average over: as they come, reversed, then random ones.
    seed : of random orders and places.
    lengths : length scale of each context; searched for where none are given.

    Notes
    -----
    With x_j = mu_j(c) + sum_(i before j) b_ij(c) x_i + e_j, Var e_j = d_j(c), the precision matrix is T' D^-1 T with T
    of ones on its diagonal and -b below: positive definite whatever the functions. Which order is used matters as far
    as smoothness of b and d is a different assumption in each; the average over orders of covariances is positive
    definite too. Length scales are shared by all functions, and maximise the marginal likelihood.

    References
    ----------
    Pourahmadi M (1999). Biometrika 86:677. doi:10.1093/biomet/86.3.677
    """
    values, centre, scale = standardise(data)
    places = choose_places(z, seed=seed)
    orders = _orders(len(data.node_names), n_orders, seed)

    def fitted(basis: SmoothBasis, order: Int[np.ndarray, "nodes"], before: tuple[Equation, ...]) -> tuple:
        functions = basis(z)
        found = []
        for k, node in enumerate(order):
            x = np.column_stack([np.ones(len(data)), values[:, order[:k]]])
            start = before[k].tau2 if before else None
            found.append(
                fit_equation(
                    values[:, node],
                    x,
                    functions,
                    data.counts,
                    parents=order[:k],
                    linear=basis.linear,
                    start=start,
                )
            )
        return tuple(found)

    if lengths is None:
        lengths = _search(places, z.shape[1], lambda basis, before: fitted(basis, orders[0], before))
    basis = make_basis(places, lengths)
    return VaryingCovariance(
        centre=centre,
        scale=scale,
        basis=basis,
        orders=orders,
        equations=tuple(fitted(basis, order, ()) for order in orders),
    )


def _search(places: Float[np.ndarray, "places contexts"], contexts: int, fitted: Any) -> Float[np.ndarray, "contexts"]:
    """Return length scales of the largest evidence: the same for all contexts first, then each by doubling."""
    if not contexts:
        return np.ones(0)
    tried: dict[tuple[float, ...], float] = {}
    last: list[tuple[Equation, ...]] = [()]

    def evidence(lengths: np.ndarray) -> float:
        key = tuple(np.round(np.log2(lengths), 6))
        if key not in tried:
            last[0] = fitted(make_basis(places, lengths), ())
            tried[key] = sum(one.evidence for one in last[0])
        return tried[key]

    grid = [np.full(contexts, start * np.sqrt(contexts)) for start in _STARTS]
    best = max(grid, key=evidence)
    moved = True
    while moved:
        moved = False
        for k in range(contexts):
            for step in (_FACTOR, 1 / _FACTOR):
                while True:
                    other = best.copy()
                    other[k] *= step
                    if not _SHORT <= other[k] <= _LONG or evidence(other) <= evidence(best) + 0.1:
                        break
                    best, moved = other, True
        if contexts == 1:
            break
    most = evidence(best)
    while best.min() > _SHORT and evidence(best * _FINE) > most - _WORSE:
        best = best * _FINE
    return best


def _orders(nodes: int, n_orders: int, seed: int) -> Int[np.ndarray, "orders nodes"]:
    rng = np.random.default_rng(seed)
    first = np.arange(nodes)
    made = [first, first[::-1]] + [rng.permutation(nodes) for _ in range(n_orders - 2)]
    return np.array(made[:n_orders])


def _assemble(
    order: Int[np.ndarray, "nodes"],
    equations: tuple[Equation, ...],
    coefficient: list[np.ndarray],
    log_variance: list[np.ndarray],
) -> Moments:
    """Return moments from the coefficients (points, 1 + parents) and log error variances of each node's equation."""
    points, nodes = len(log_variance[0]), len(order)
    mean = np.zeros((points, nodes))
    covariance = np.zeros((points, nodes, nodes))
    for node, one, at, log_d in zip(order, equations, coefficient, log_variance, strict=True):
        parents = one.parents
        slope = at[:, 1:]
        mean[:, node] = at[:, 0] + (slope * mean[:, parents]).sum(axis=1)
        # Cov(x_j, those before) = b Cov(parents, those before), the parents being all of those before
        across = np.einsum("pk,pkm->pm", slope, covariance[:, parents])
        own = np.exp(log_d) + np.einsum("pk,pk->p", slope, across[:, parents])
        covariance[:, node], covariance[:, :, node] = across, across
        covariance[:, node, node] = own
    return Moments(mean=mean, covariance=covariance)
