"""Codes to the one-hot input of a network, on whatever device they are on."""

import torch
from jaxtyping import Float, UInt8


def one_hot(
    codes: UInt8[torch.Tensor, "batch length"], *, dtype: torch.dtype = torch.float32
) -> Float[torch.Tensor, "batch 4 length"]:
    """Return rows A C G T of zeros and ones; a masked position is a column of zeros.

    Parameters
    ----------
    codes : 0 1 2 3 for A C G T, anything larger for a masked position.
    dtype : of the result.
    """
    bases = torch.arange(4, dtype=torch.uint8, device=codes.device)
    return (codes[:, None, :] == bases[None, :, None]).to(dtype)
