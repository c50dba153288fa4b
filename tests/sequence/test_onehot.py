"""The one-hot input by hand."""

import pytest
import torch

from deepmr.sequence.onehot import one_hot


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_one_hot_by_hand(dtype):
    hot = one_hot(torch.tensor([[0, 1, 4], [3, 2, 2]], dtype=torch.uint8), dtype=dtype)
    assert hot.dtype == dtype
    assert hot[0].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert hot[1].tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0]]


def test_one_hot_is_float32_unless_told():
    hot = one_hot(torch.zeros((2, 5), dtype=torch.uint8))
    assert hot.dtype == torch.float32
    assert hot.shape == (2, 4, 5)


@pytest.mark.gpu
def test_one_hot_stays_on_its_device():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    assert one_hot(torch.zeros((1, 3), dtype=torch.uint8, device="cuda")).device.type == "cuda"
