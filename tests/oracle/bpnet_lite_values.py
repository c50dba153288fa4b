"""Write bpnet_lite.safetensors: `python bpnet_lite_values.py <folder with bpnet-lite>`.

Random networks of bpnet-lite 1.1.0 itself (`pip install --no-deps --target FOLDER bpnet-lite==1.1.0 tqdm`), their
weights, an input and their outputs, made with torch 2.13. `tangermeme`, which it imports for training, is replaced by
nothing. SHA-256 of the wheel: 78adc0e0c1d3d8f261927a1557e721ae4d57e02a0e717d6839b89ad084aeb092.
"""

import sys
import types
from pathlib import Path

import safetensors.torch
import torch

sys.path.append(sys.argv[1])
for name in ("tangermeme", "tangermeme.predict"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["tangermeme.predict"].predict = None

from bpnetlite.bpnet import BPNet, ControlWrapper, ProfileWrapper  # noqa: E402
from bpnetlite.chrombpnet import ChromBPNet  # noqa: E402

torch.manual_seed(0)
kept = {}
codes = torch.randint(0, 4, (3, 160), dtype=torch.uint8)
x = (codes[:, None] == torch.arange(4)[:, None]).float()
x[0, :, 70:75] = 0
networks = {
    "stranded": BPNet(n_filters=4, n_layers=2, n_outputs=2, n_control_tracks=2, verbose=False),
    "plain": BPNet(n_filters=4, n_layers=1, n_outputs=1, n_control_tracks=0, trimming=20, verbose=False),
    "chrom": ChromBPNet(
        BPNet(n_filters=3, n_layers=1, n_outputs=1, n_control_tracks=0, verbose=False),
        BPNet(n_filters=4, n_layers=2, n_outputs=1, n_control_tracks=0, profile_output_bias=False, verbose=False),
    ),
}
controls = torch.rand(3, 2, 160)
with torch.no_grad():
    for name, network in networks.items():
        network.eval()
        kept |= {f"{name}/{key}": value for key, value in network.state_dict().items()}
        profile, count = ControlWrapper(network)(x)
        kept |= {f"out/{name}/profile": profile, f"out/{name}/count": count}
        kept[f"out/{name}/score"] = ProfileWrapper(ControlWrapper(network))(x)
    profile, count = networks["stranded"](x, controls)
    kept |= {"out/controlled/profile": profile, "out/controlled/count": count}
kept |= {"x": x, "controls": controls}
safetensors.torch.save_file(
    {k: v.contiguous() for k, v in kept.items()}, Path(__file__).parent / "bpnet_lite.safetensors"
)
