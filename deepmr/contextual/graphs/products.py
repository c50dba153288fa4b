"""Products of all nodes and functions of context: every regression of a node on others is made from a part of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from deepmr.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Sums over samples of products of columns; columns are x_i f_m(c), those of the level (x = 1) first.

    Attributes
    ----------
    gram : of every column with every other; the constant function is each block's first.
    total : rows, each as often as its weight says.
    n_functions : of context.
    """

    gram: Float[np.ndarray, "columns columns"]
    total: float
    n_functions: int

    @property
    def n_nodes(self) -> int:
        """How many nodes there are."""
        return len(self.gram) // self.n_functions - 1

    def columns(self, nodes: Sequence[int]) -> Int[np.ndarray, "chosen"]:
        """Return positions of the columns of the level and of these nodes."""
        blocks = np.concatenate([[0], np.asarray(nodes, dtype=int) + 1])
        return (blocks[:, None] * self.n_functions + np.arange(self.n_functions)).ravel()

    @property
    def constant(self) -> Int[np.ndarray, "nodes"]:
        """Positions of the columns that are the nodes themselves."""
        return (np.arange(self.n_nodes) + 1) * self.n_functions


def make_products(
    values: Float[np.ndarray, "samples nodes"],
    functions: Float[np.ndarray, "samples functions"],
    counts: Float[np.ndarray, "samples"],
) -> Products:
    """Sum products of columns over samples.

    Parameters
    ----------
    values : of nodes, centred.
    functions : of context, the constant first.
    counts : how many rows each row stands for.

    Raises
    ------
    InputError
        When a node is the same in every sample.
    """
    flat = np.flatnonzero((values == values[:1]).all(axis=0))
    if len(flat):
        raise InputError(f"nodes must vary; node {flat[0]} (from 0) is the same in all {len(values)} samples")
    wide = np.column_stack([np.ones(len(values)), values])
    columns = (wide[:, :, None] * functions[:, None, :]).reshape(len(values), -1)
    gram = (columns.T * counts) @ columns
    return Products(gram=gram, total=float(counts.sum()), n_functions=functions.shape[1])
