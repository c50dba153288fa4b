"""Draw the windows of engines.md, which widen through the layers of BPNet: `python docs/make_engine_figure.py`."""

from pathlib import Path

import torch
from matplotlib.figure import Figure

from deepmr.ism.intervals import Interval, affected, needed
from deepmr.ism.lowering import capture
from deepmr.sequence.published import BPNet

LENGTH, EDITS = 2114, (1057, 700, 250)
COLOURS = ("#0072b2", "#d55e00", "#009e73")
OUT = Path(__file__).parent / "img" / "engine_windows.png"


def main() -> None:
    """Draw, for a few edited bases, the positions of every layer that change and that the counts see."""
    network = BPNet(n_control_tracks=0, length=LENGTH).eval()
    graph = capture(network, LENGTH, dtype=torch.float32, device=torch.device("cpu"), outputs=[1])
    need = needed(graph)
    layers = [graph.input.name, *(node.name for node in graph.nodes.values() if node.kind == "conv")]
    names = ["sequence", "first convolution", *(f"dilation {2**k}" for k in range(1, len(layers) - 1))]
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for row, layer in enumerate(layers):
        axes.barh(row, len(need[layer]), left=need[layer].start, height=0.82, color="#e8e8e8")
    height = 0.8 / len(EDITS)
    for k, (offset, colour) in enumerate(zip(EDITS, COLOURS, strict=True)):
        spans = affected(graph, need, Interval(offset, offset + 1))
        for row, layer in enumerate(layers):
            width = max(len(spans[layer]), 4 if spans[layer] else 0)  # one base would be too thin to see
            axes.barh(row - 0.4 + (k + 0.5) * height, width, left=spans[layer].start, height=height, color=colour)
        total = sum(len(spans[layer]) for layer in layers[1:])
        share = total / (LENGTH * (len(layers) - 1))
        axes.barh(0, 0, color=colour, label=f"base {offset} edited: {100 * share:.0f} % of all positions")
    axes.barh(0, 0, color="#e8e8e8", label="what the counts can see")
    axes.set_yticks(range(len(layers)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, LENGTH)
    axes.set_xlabel("position")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.45, 1.2), ncols=2)
    figure.savefig(OUT, dpi=110)


if __name__ == "__main__":
    main()
