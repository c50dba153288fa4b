"""The fused kernel against PyTorch's own operations: in Triton's interpreter, and on a GPU where there is one."""

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepmr.ism import fused
from deepmr.ism.cost import Schedule
from deepmr.ism.engine import WindowedEngine
from deepmr.ism.variants import single_edits
from deepmr.sequence.models import DilatedCNN, PaperCNN

ROOT = Path(__file__).parents[2]
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # Triton reads it when it is imported
HAS_TRITON = importlib.util.find_spec("triton") is not None
CPU = torch.device("cpu")
interpreted = pytest.mark.skipif(not (HAS_TRITON and INTERPRETED), reason="needs Triton and TRITON_INTERPRET=1")
on_gpu = pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="needs a GPU")
SIZES = st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 6), st.integers(1, 70))
RANDOM = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def draw(sizes, dtype, seed, device=CPU):
    """Return d, min(z, 0) and -relu(z)."""
    torch.manual_seed(seed)
    positions, _, loci, channels = sizes
    z = torch.randn(positions, 1, loci, channels, dtype=dtype, device=device)
    change = torch.randn(sizes, dtype=dtype, device=device)
    return change, z.clamp(max=0), -z.clamp(min=0)


def plainly(change, below, minus, residual, first):
    found = torch.maximum(change + below, minus)
    if residual is not None:
        found[first : first + len(residual)] += residual
    return found


def force(monkeypatch):
    """Launch the kernel whatever the device, and list its launches; any failure is an error."""
    launched = []
    launch = fused._launch
    monkeypatch.setattr(fused, "_launch", lambda *args: (launched.append(args), launch(*args)))
    monkeypatch.setattr(fused, "available", lambda device: True)
    monkeypatch.setattr(fused.log, "warning", lambda *args: pytest.fail(str(args)))
    return launched


@pytest.mark.skipif(not HAS_TRITON or INTERPRETED, reason="Triton is not installed, or this is its interpreter")
def test_in_the_interpreter():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not gpu", __file__],
        env={**os.environ, "TRITON_INTERPRET": "1"}, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]


@interpreted
@given(SIZES, st.data(), st.sampled_from([torch.float32, torch.float64]), st.integers(0, 2**16), st.booleans())
@RANDOM
def test_kernel_is_exact(sizes, data, dtype, seed, in_place):
    change, below, minus = draw(sizes, dtype, seed)
    first = data.draw(st.integers(0, sizes[0]))
    last = data.draw(st.integers(first, sizes[0]))
    residual = data.draw(st.sampled_from([None, torch.randn(last - first, *sizes[1:], dtype=dtype)]))
    wanted = plainly(change, below, minus, residual, first)
    out = change if in_place else torch.full_like(change, torch.nan)
    fused._launch(change, below, minus, residual, first, out)
    assert torch.equal(out, wanted)


@interpreted
@pytest.mark.parametrize("covered", [(0, 1), (2, 3), (0, 3), (1, 2), None], ids=str)
def test_residual_at_either_edge(covered):
    """More than one block a position, none of them whole."""
    change, below, minus = draw((3, 5, 3, 77), torch.float32, 0)
    assert change[0].numel() > fused.BLOCK
    first, last = covered or (0, 0)
    residual = None if covered is None else torch.randn(last - first, 5, 3, 77)
    found = torch.full_like(change, torch.nan)
    fused._launch(change, below, minus, residual, first, found)
    assert torch.equal(found, plainly(change, below, minus, residual, first))


@interpreted
def test_layouts_and_nan():
    change, below, minus = draw((4, 3, 2, 9), torch.float32, 1)
    laid = change.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0)
    laid[1, 1, 1, 1] = torch.nan
    out = torch.empty_like(change)
    wide = below.repeat(1, 1, 1, 2)[..., :9]
    fused._launch(laid, wide, minus, laid[1:3], 1, out)
    assert torch.equal(out.nan_to_num(7), plainly(laid, below, minus, laid[1:3], 1).nan_to_num(7))
    assert out.isnan().sum() == 1


def all_effects(network, codes, device=CPU):
    engine = WindowedEngine(network, length=codes.shape[1], n_tasks=2, columns=None, device=device)
    schedule = Schedule(width=4, n_loci=2, speedup=1.0)
    return engine.predict(codes, single_edits(codes), schedule=schedule).delta


def networks(length):
    torch.manual_seed(3)
    dilated = DilatedCNN(2, length, filters=5, n_dilated=3, width=5)
    return {"dilated": dilated.eval(), "paper": PaperCNN(2, length, filters=6).eval()}


@interpreted
@pytest.mark.parametrize("name", ["dilated", "paper"])
def test_windows_with_the_kernel(name, monkeypatch):
    codes = np.random.default_rng(2).integers(0, 5, (2, 29), dtype=np.uint8)
    network = networks(29)[name]
    plain = all_effects(network, codes)
    launched = force(monkeypatch)
    found = all_effects(network, codes)
    assert {args[3] is not None for args in launched} == ({False, True} if name == "dilated" else {False})
    np.testing.assert_allclose(found, plain, rtol=0, atol=1e-6 * np.abs(plain).max())


@pytest.mark.parametrize("said", ["out of memory", "no C compiler"])
def test_launch_that_fails(said, monkeypatch, caplog):
    """Memory is the engine's business; anything else is said once, and PyTorch goes on."""

    def launch(*args):
        raise RuntimeError(said)

    monkeypatch.setattr(fused, "_launch", launch)
    monkeypatch.setattr(fused, "_compiled", object)
    monkeypatch.setattr(fused, "_failed", [])
    monkeypatch.setattr(fused, "available", lambda device: not fused._failed)
    change, below, minus = draw((3, 2, 2, 4), torch.float32, 4)
    residual = change[:2].clone()
    wanted = plainly(change, below, minus, residual, 1)
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        arguments = {"residual": residual, "first": 1, "out": torch.empty_like(change)}
        if said == "out of memory":
            with pytest.raises(RuntimeError, match=said):
                fused.relu_change_add(change, below, minus, **arguments)
        else:
            assert torch.equal(fused.relu_change_add(change, below, minus, **arguments), wanted)
    assert len(caplog.records) == (0 if said == "out of memory" else 1)


@pytest.mark.parametrize("without", ["DEEPMR_NO_TRITON", "module"])
def test_without_triton(without, monkeypatch, caplog):
    if without == "module":
        monkeypatch.setitem(sys.modules, "triton", None)
    else:
        monkeypatch.setenv(without, "1")
    fused._compiled.cache_clear()
    caplog.set_level(logging.INFO)
    try:
        assert not fused.available(torch.device("cuda"))
    finally:
        fused._compiled.cache_clear()
    assert not caplog.records


def test_cpu_never_asks_for_triton(monkeypatch):
    monkeypatch.setattr(fused, "_compiled", lambda: pytest.fail("asked"))
    assert not fused.available(CPU)


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (7, 5, 3, 77), (40, 48, 10, 64)], ids=str)
def test_kernel_on_a_gpu(sizes, dtype):
    cuda = torch.device("cuda")
    assert fused.available(cuda)
    change, below, minus = draw(sizes, dtype, 5, cuda)
    for first in {0, 1, sizes[0] // 2}:  # 1 and multiples of 16 are compiled apart
        residual = torch.randn(sizes[0] - first, *sizes[1:], dtype=dtype, device=cuda)
        out = torch.full_like(change, torch.nan)
        fused._launch(change, below, minus, residual, first, out)
        assert torch.equal(out, plainly(change, below, minus, residual, first))


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("name", ["dilated", "paper"])
def test_windows_on_a_gpu(name, monkeypatch):
    codes = np.random.default_rng(2).integers(0, 5, (2, 29), dtype=np.uint8)
    network = networks(29)[name]
    wanted = all_effects(network, codes)
    network = network.to("cuda")
    with_kernel = all_effects(network, codes, torch.device("cuda"))
    monkeypatch.setattr(fused, "available", lambda device: False)
    without = all_effects(network, codes, torch.device("cuda"))
    for found in (with_kernel, without):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
