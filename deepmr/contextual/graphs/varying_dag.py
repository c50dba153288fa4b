"""Bayesian networks whose weights vary with context, by continuous optimisation: no cycle at any context."""

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from deepmr import checks
from deepmr.contextual.graphs.acyclicity import Acyclicity
from deepmr.contextual.graphs.bayesian import BayesianNetworkFit
from deepmr.contextual.graphs.functions import choose_functions
from deepmr.contextual.graphs.notears import centre_of, check_penalties, continuous_network, fit_weights
from deepmr.contextual.graphs.types import GraphData
from deepmr.contextual.scaling import scale_contexts
from deepmr.errors import InputError

VaryingFunctions = Literal["polynomial", "splines"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VaryingNetwork:
    """W(c) = sum_m B_m f_m(c) with least squared error, a penalty on sizes, and no cycle at any context.

    Attributes
    ----------
    acyclicity : loss of cycles, averaged over contexts of the samples.
    functions : of context.
    degree : of polynomials.
    l1 : penalty on the sum of sizes of coefficients of orthonormal functions, against half the mean squared error.
    threshold : size, in the root mean square over samples, below which an edge is dropped.
    """

    acyclicity: Acyclicity = "dagma"
    functions: VaryingFunctions = "polynomial"
    degree: int = 2
    l1: float = 1e-3
    threshold: float = 0.1

    def __post_init__(self) -> None:
        check_penalties(self.acyclicity, self.l1, self.threshold)
        checks.one_of("functions", self.functions, get_args(VaryingFunctions))
        checks.at_least("degree", self.degree, 1)

    def fit(self, data: GraphData, *, seed: int = 0) -> BayesianNetworkFit:
        """Fit the network.

        Parameters
        ----------
        data : samples.
        seed : nothing here is random.

        Raises
        ------
        InputError
            When a node does not vary, or coefficients of a node are more than samples.

        Notes
        -----
        As archetypes of networks whose weights an encoder of context mixes (NOTMAD), with functions of context for the
        encoder: these are linear in the coefficients, and one matrix of products holds all the data. Error variances
        have to be equal in the units of the nodes. Edges may go one way in some contexts and the other way in others.

        References
        ----------
        Lengerich B, Ellington C, Aragam B, Xing EP, Kellis M (2021), NOTMAD, doi:10.48550/arXiv.2111.01104.
        """
        z = scale_contexts(data.as_context_data(outcomes=[0]))(data.contexts)
        functions = choose_functions(z, data.counts, kind=self.functions, degree=self.degree)
        size = functions.parts.size * len(data.node_names)
        if size > len(data):
            raise InputError(
                f"each node would have {size} coefficients ({functions.parts.size} functions of context) and there are "
                f"{len(data)} samples: take a lower degree or fewer contexts"
            )
        found = fit_weights(data, z, functions, centre=centre_of(data), acyclicity=self.acyclicity, l1=self.l1)
        return continuous_network(
            data, functions, found, threshold=self.threshold, method="varying_dag", options=asdict(self), seed=seed
        )
