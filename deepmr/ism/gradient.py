"""A first look: effects to first order, from one backward pass a locus and task; and how far off they are."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from deepmr import checks
from deepmr.errors import InputError
from deepmr.ism.naive import EditEffects, check_output, even_batches, halved_until_it_fits, input_dtype
from deepmr.ism.variants import Edits
from deepmr.linalg import divide, segment_repeat, segment_sum
from deepmr.precision import full_precision
from deepmr.types import MASKED

log = logging.getLogger(__name__)


def gradient_edits(
    module: torch.nn.Module,
    codes: UInt8[np.ndarray, "loci length"],
    edits: Edits,
    *,
    n_tasks: int,
    columns: Int[np.ndarray, "selected"] | None = None,
    batch_size: int,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> EditEffects:
    """Predict every reference, and approximate the effects of its edits by the gradient there.

    Parameters
    ----------
    module : network (batch, 4, length) -> (batch, n_tasks) on `device`, in evaluation mode.
    codes : reference bases of the loci.
    edits : variants of these loci.
    n_tasks : tasks that the network predicts.
    columns : tasks to keep; all by default.
    batch_size : most loci at once; halved as often as memory runs out.
    progress : called with the number of references and variants just done.

    Returns
    -------
    The references as `predict_edits` has them; effects that are exact for a network linear in its input only. Measure
    them with `gradient_error` before they are shown.

    Raises
    ------
    InputError
        When the network's output is not (batch, n_tasks) or has no gradient with respect to its input.
    DeepMRError
        When memory runs out with a single locus.

    Notes
    -----
    The effect of a variant is approximated by the sum over its substitutions of g[new base] - g[old base], g the
    gradient of the prediction with respect to the one-hot reference: the first term of a Taylor series, over a step
    that is not small. Saturation, thresholds and edits that act together are what it misses. A masked position is a
    column of zeros: editing it adds g[new base] and takes nothing away. Costs one forward and, for each task kept, one
    backward pass a locus, instead of 3L + 1 forward passes.

    References
    ----------
    Simonyan K, Vedaldi A, Zisserman A (2014). Deep inside convolutional networks: visualising image classification
    models and saliency maps. arXiv:1312.6034
    """

    def differentiate(size: int) -> list[tuple[np.ndarray, np.ndarray]]:
        return [
            batch.effects(module, n_tasks=n_tasks, columns=columns, progress=progress)
            for rows in even_batches(len(codes), size)
            for batch in [_Batch(codes[rows], edits.of_loci(rows), device=torch.device(device))]
        ]

    batches, batch_size = halved_until_it_fits(
        differentiate, batch_size, many="loci at once", one=f"on {device} with one locus at a time"
    )
    references, deltas = zip(*batches, strict=True)
    return EditEffects(reference=np.concatenate(references), delta=np.concatenate(deltas), batch_size=batch_size)


class _Batch:
    """Loci that go through the network together, and where the effects of their edits are in its gradient."""

    def __init__(self, codes: UInt8[np.ndarray, "loci length"], edits: Edits, *, device: torch.device) -> None:
        def on_device(values: np.ndarray) -> torch.Tensor:
            return torch.tensor(values, device=device)

        self.codes, self.edits, self.device = codes, edits, device
        rows = segment_repeat(edits.locus, edits.start)
        old = codes[rows, edits.offset]
        self.rows, self.offset = on_device(rows), on_device(edits.offset)
        self.new = on_device(edits.base.astype(np.int64))
        self.old = on_device(np.where(old == MASKED, 0, old).astype(np.int64))
        self.known = on_device(old != MASKED)

    def effects(
        self,
        module: torch.nn.Module,
        *,
        n_tasks: int,
        columns: Int[np.ndarray, "selected"] | None,
        progress: Callable[[int], None] | None,
    ) -> tuple[Float[np.ndarray, "loci selected"], Float[np.ndarray, "variants selected"]]:
        """Return references and effects, float32."""
        keep = np.arange(n_tasks) if columns is None else columns
        channels = torch.arange(4, device=self.device)[:, None]
        # The caller may be in inference mode, where nothing is recorded.
        with torch.inference_mode(False), torch.enable_grad(), _differentiable(module), full_precision():
            onehot = torch.tensor(self.codes, device=self.device)[:, None] == channels
            x = onehot.to(input_dtype(module)).requires_grad_()
            output = module(x.clone())  # a network may change its input in place, a leaf it may not
            check_output(output, (len(self.codes), n_tasks))
            steps = [
                self.first_order(_gradient(output[:, task].sum(), x, last=k == len(keep))).cpu().double().numpy()
                for k, task in enumerate(keep.tolist(), start=1)
            ]
        delta = segment_sum(np.stack(steps), self.edits.start).T
        if progress is not None:
            progress(len(self.codes) + len(self.edits))
        return output.detach().float().cpu().numpy()[:, keep], delta.astype(np.float32)

    def first_order(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return what each substitution gains by its new base and loses with the old one."""
        gained = gradient[self.rows, self.new, self.offset]
        return gained - gradient[self.rows, self.old, self.offset] * self.known


def _gradient(total: torch.Tensor, x: torch.Tensor, *, last: bool) -> torch.Tensor:
    """Return the gradient of every locus: loci do not see each other, so that of their sum holds them all."""
    gradient = None
    if total.requires_grad:
        (gradient,) = torch.autograd.grad(total, x, retain_graph=not last, allow_unused=True)
    if gradient is None:
        raise InputError("the network's output has no gradient with respect to its input: effects need forward passes")
    return gradient


def _differentiable(module: torch.nn.Module) -> AbstractContextManager[None]:
    """Keep recurrent layers off cuDNN, which has no backward pass for them in evaluation mode."""
    recurrent = any(isinstance(layer, torch.nn.RNNBase) for layer in module.modules())
    return torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled and not recurrent)


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientError:
    """How far effects to first order are from exact ones.

    Attributes
    ----------
    n_variants : variants compared.
    correlation : Pearson correlation; 0 where one of the two does not vary.
    largest : largest absolute error, as a share of the largest absolute exact effect.
    rms : root-mean-square error, as a share of the root-mean-square exact effect. What has no effect has no share: 0
        where there is no error either, else infinite.
    """

    n_variants: int
    correlation: Float[np.ndarray, "tasks"]
    largest: Float[np.ndarray, "tasks"]
    rms: Float[np.ndarray, "tasks"]

    def sentence(self) -> str:
        """Say it in one sentence, of the worst task for each number."""
        worst = f", in the worst of {len(self.rms)} tasks" if len(self.rms) > 1 else ""
        return (
            f"Effects to first order against {self.n_variants:,} exact ones{worst}: correlation "
            f"{self.correlation.min():.2f}, root-mean-square error {_percent(self.rms)} of the root-mean-square "
            f"effect, largest error {_percent(self.largest)} of the largest effect."
        )


def gradient_error(gradient: EditEffects, exact: EditEffects) -> GradientError:
    """Measure effects to first order on variants whose effects are known exactly.

    Parameters
    ----------
    gradient : by `gradient_edits`.
    exact : of the same variants and tasks, by `predict_edits`.

    Raises
    ------
    InputError
        When the two are not of the same variants and tasks, there is no variant, or an effect is not finite.
    """
    checks.shape("exact effects", exact.delta, gradient.delta.shape)
    if not exact.delta.size:
        raise InputError("the error of gradients needs at least one variant and one task; got none")
    for name, effects in (("effects to first order", gradient), ("exact effects", exact)):
        checks.finite(name, effects.delta)
    a, b = gradient.delta.astype(float), exact.delta.astype(float)
    error = a - b
    flat = (np.ptp(a, axis=0) == 0) | (np.ptp(b, axis=0) == 0)  # the mean of equal numbers may be off by rounding
    x, y = a - a.mean(axis=0), b - b.mean(axis=0)
    norm = np.where(flat, 0.0, np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0)))
    return GradientError(
        n_variants=len(a),
        correlation=np.clip(divide((x * y).sum(axis=0), norm, otherwise=0.0), -1, 1),
        largest=_share(np.abs(error).max(axis=0), np.abs(b).max(axis=0)),
        rms=_share(np.sqrt((error**2).mean(axis=0)), np.sqrt((b**2).mean(axis=0))),
    )


def _share(error: Float[np.ndarray, "tasks"], effect: Float[np.ndarray, "tasks"]) -> Float[np.ndarray, "tasks"]:
    return np.where(error == 0, 0.0, divide(error, effect, otherwise=np.inf))


def _percent(shares: Float[np.ndarray, "tasks"]) -> str:
    return f"{100 * shares.max():.3g} %"
