"""A network together with what is measured of its outputs: (batch, 4, length) -> (batch, tasks)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import nn

from deepmr import checks
from deepmr.errors import InputError
from deepmr.types import Scale


class Measured(nn.Module):
    """A network whose tasks are scalars of its outputs.

    Parameters
    ----------
    network : (batch, 4, length) -> one tensor, or several as a tuple, list or dictionary, in this order.
    scalars : what is measured, in the order of the tasks: see `deepmr.sequence.scalars`.
    control_shape : shape of one sequence's control tracks, such as (2, 1000), for a network that takes them as its
        second argument: they are zeros. Empty for one that takes none.

    Raises
    ------
    InputError
        When there is no scalar, or something that is none.

    Examples
    --------
    >>> measured = Measured(bpnet, [LogCount(1), ProfileScore(0)])  # doctest: +SKIP
    >>> measured(x).shape  # doctest: +SKIP
    torch.Size([64, 2])
    """

    def __init__(self, network: nn.Module, scalars: Sequence[nn.Module], control_shape: Sequence[int] = ()) -> None:
        super().__init__()
        if not scalars:
            raise InputError("nothing is measured: needed at least one scalar")
        for scalar in scalars:
            if not (isinstance(scalar, nn.Module) and hasattr(scalar, "output") and hasattr(scalar, "relative")):
                raise InputError(
                    f"{scalar!r} is no scalar: needed one of deepmr.sequence.scalars, or Reducer(function)"
                )
        self.network = network
        self.scalars = nn.ModuleList(scalars)
        self.control_shape = tuple(control_shape)

    @property
    def needs_reference(self) -> bool:
        """Whether some scalar uses the outputs of the unedited sequence."""
        return any(bool(scalar.relative) for scalar in self.scalars)

    def outputs(self, x: Float[torch.Tensor, "batch 4 length"]) -> tuple[Any, ...]:
        """Return what the network returns, tensors of which some are measured."""
        if self.control_shape:
            found = self.network(x, x.new_zeros((x.shape[0], *self.control_shape)))
        else:
            found = self.network(x)
        values = found.values() if isinstance(found, Mapping) else found if isinstance(found, tuple | list) else [found]
        return tuple(values)

    def parts(
        self, outputs: Sequence[Any], reference: Sequence[Any] | None = None
    ) -> list[Float[torch.Tensor, "batch _"]]:
        """Measure outputs of the network, scalar by scalar.

        Parameters
        ----------
        outputs : what `outputs` returned.
        reference : the same of the unedited sequence of each row; by default `outputs` themselves.

        Returns
        -------
        The tasks of each scalar.

        Raises
        ------
        InputError
            When there is no such output, or a scalar cannot read it or returns something else than (batch, tasks).
        """
        found = []
        for scalar in self.scalars:
            name, k = _name(scalar), int(cast(Any, scalar).output)
            if not 0 <= k < len(outputs):
                raise InputError(f"{name} reads output {k}; the network returns {len(outputs)}, counted from 0")
            value = outputs[k]
            if not isinstance(value, torch.Tensor):
                raise InputError(f"{name} reads output {k}, which must be a tensor; it is {type(value).__name__}")
            part = scalar(value, value if reference is None else reference[k])
            if not isinstance(part, torch.Tensor) or part.ndim != 2 or len(part) != len(value):
                shape = tuple(part.shape) if isinstance(part, torch.Tensor) else type(part).__name__
                raise InputError(f"{name} must return (batch, tasks) for a batch of {len(value)}; it returned {shape}")
            found.append(part)
        return found

    def measure(
        self, outputs: Sequence[Any], reference: Sequence[Any] | None = None
    ) -> Float[torch.Tensor, "batch tasks"]:
        """Measure outputs of the network: `parts` side by side."""
        return torch.cat(self.parts(outputs, reference), dim=1)

    def forward(
        self, x: Float[torch.Tensor, "batch 4 length"], reference: Sequence[Any] | None = None
    ) -> Float[torch.Tensor, "batch tasks"]:
        """Predict every task; `reference` is what `outputs` says of each row's unedited sequence, by default of x."""
        return self.measure(self.outputs(x), reference)

    def extra_repr(self) -> str:
        """Name the options."""
        return f"control_shape={self.control_shape}"


class Reducer(nn.Module):
    """What a function of your own makes of an output; engines compute the whole output for it.

    Parameters
    ----------
    function : value -> (batch, tasks), or (value, reference) -> (batch, tasks) where it is relative; without weights.
    output : number of the output that is read.
    relative : whether it takes the output of the unedited sequence; by default its attribute `relative`, or not.
    scale : of the numbers; by default its attribute `scale`, or identity.

    Raises
    ------
    InputError
        When the function cannot be called or has weights: nothing would keep them.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output: int = 0,
        *,
        relative: bool | None = None,
        scale: Scale | None = None,
    ) -> None:
        super().__init__()
        if not callable(function):
            raise InputError(f"a reducer must be a function or a module; got {type(function).__name__}")
        if isinstance(function, nn.Module) and next(function.parameters(), None) is not None:
            raise InputError(f"a reducer must have no weights; {type(function).__name__} has: make them buffers")
        self.function, self.output = function, output
        self.relative: bool = bool(getattr(function, "relative", False)) if relative is None else relative
        self.scale: Scale = scale or cast("Scale", getattr(function, "scale", "identity"))
        checks.one_of("scale of a reducer", self.scale, ("identity", "log", "logit"))

    def forward(self, value: Float[torch.Tensor, "batch ..."], reference: Float[torch.Tensor, "batch ..."]) -> Any:
        """Call the function."""
        return self.function(value, reference) if self.relative else self.function(value)

    def extra_repr(self) -> str:
        """Name the options."""
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return f"{name}, output={self.output}, relative={self.relative}, scale={self.scale}"


def _name(scalar: Any) -> str:
    """Return what messages call a scalar."""
    own = scalar.function if isinstance(scalar, Reducer) else type(scalar)
    return str(getattr(own, "__name__", type(own).__name__))
