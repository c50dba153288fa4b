"""Intervals against counting: which outputs depend on which inputs, one pair at a time."""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import fx

from deepmr.ism.graph import Graph, Node
from deepmr.ism.intervals import NOTHING, Interval, affected, needed, reaches, reads

# Types are checked on a random sample, also where a strategy makes a node.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
QUICK = settings(max_examples=150, deadline=None, derandomize=True, database=None, phases=[Phase.generate])


def node_of(kind, name="y", inputs=("x",), *, length, **options):
    return Node(name=name, kind=kind, inputs=inputs, options=options, shape=(2, length), axes=("c", "l"))


def inputs_of(node, o, length):
    """Return the inputs that output o is computed from, by the definition of each operation."""
    options = node.options
    if node.kind in ("conv", "max_pool", "avg_pool"):
        at = [o * options["stride"] - options["left"] + j * options["dilation"] for j in range(options["kernel"])]
    elif node.kind == "slice":
        at = [o + options["start"]]
    elif node.kind == "pad":
        at = [o - options["left"]]
    elif node.kind == "flip":
        at = [length - 1 - o if options["positions"] else o]
    elif node.kind == "upsample":
        at = [o // options["factor"]]
    else:
        at = [o]
    return {i for i in at if 0 <= i < length}


def hull(found):
    return Interval(min(found), max(found) + 1) if found else NOTHING


def positions(interval):
    return set(range(interval.start, interval.stop))


@st.composite
def operations(draw, length=None, name="y", inputs=("x",)):
    """Return an operation on positions and the length of its input."""
    length = draw(st.integers(1, 24)) if length is None else length
    kind = draw(st.sampled_from(["conv", "max_pool", "avg_pool", "slice", "pad", "flip", "upsample", "relu"]))
    if kind in ("conv", "max_pool", "avg_pool"):
        width, dilation = draw(st.integers(1, 6)), draw(st.integers(1, 4)) if kind != "avg_pool" else 1
        left, stride = draw(st.integers(0, 5)), draw(st.integers(1, 5))
        made = max(1, (length + left + draw(st.integers(0, 5)) - dilation * (width - 1) - 1) // stride + 1)
        options = {"kernel": width, "dilation": dilation, "left": left, "stride": stride}
        return node_of(kind, name, inputs, length=made, **options), length
    if kind == "slice":
        start = draw(st.integers(0, length - 1))
        return node_of(kind, name, inputs, length=draw(st.integers(1, length - start)), start=start), length
    if kind == "pad":
        left = draw(st.integers(-min(3, length - 1), 4))
        return node_of(kind, name, inputs, length=length + left + draw(st.integers(0, 4)), left=left), length
    if kind == "flip":
        return node_of(kind, name, inputs, length=length, positions=draw(st.booleans()), channels=True), length
    if kind == "upsample":
        factor = draw(st.integers(1, 4))
        return node_of(kind, name, inputs, length=length * factor, factor=factor), length
    return node_of(kind, name, inputs, length=length), length


def intervals(length):
    return st.tuples(st.integers(0, length), st.integers(0, length)).map(lambda ends: Interval(min(ends), max(ends)))


@given(operations(), st.data())
@QUICK
def test_reaches_and_reads_are_what_counting_finds(drawn, data):
    node, length = drawn
    changed = data.draw(intervals(length))
    inside = positions(changed)
    touched = {o for o in range(node.length) if inputs_of(node, o, length) & inside}
    found = reaches(node, changed)
    gaps = node.kind in ("conv", "max_pool") and node.options["dilation"] > 1  # counted as read
    assert positions(found) >= touched
    assert 0 <= found.start <= found.stop <= node.length
    if not gaps:
        assert found == hull(touched)
    wanted = data.draw(intervals(node.length))
    used = set().union(*(inputs_of(node, o, length) for o in range(wanted.start, wanted.stop)))
    assert positions(reads(node, wanted, length)) >= used
    if not gaps:
        assert reads(node, wanted, length) == hull(used)


@st.composite
def graphs(draw):
    """Return operations one after another, some joined by sums, and what the network returns."""
    length = draw(st.integers(4, 20))
    nodes = {"x": Node(name="x", kind="input", inputs=(), shape=(4, length), axes=("c", "l"))}
    for k in range(draw(st.integers(1, 6))):
        source = nodes[draw(st.sampled_from(list(nodes)))]
        partners = [node.name for node in nodes.values() if node.length == source.length]
        if draw(st.booleans()) and len(partners) > 1:
            pair = (source.name, draw(st.sampled_from(partners)))
            nodes[f"n{k}"] = node_of("add", f"n{k}", pair, length=source.length, factors=(1, 1))
        else:
            nodes[f"n{k}"], _ = draw(operations(source.length, f"n{k}", (source.name,)))
    last = list(nodes)[-1]
    if draw(st.booleans()):
        nodes["out"] = Node(name="out", kind="sum", inputs=(last,), shape=(2,))
        last = "out"
    return Graph(traced=fx.Graph(), weights={}, constants={}, nodes=nodes, outputs=(last,), length=length)


@given(graphs(), st.data())
@QUICK
def test_what_changes_and_is_seen_lies_within_what_is_computed(graph, data):
    """Follow every position through the graph by counting."""
    need = needed(graph)
    window = data.draw(intervals(graph.length).filter(bool))
    spans = affected(graph, need, window)
    changed = {graph.input.name: positions(window)}
    seen = {name: set() for name in need}
    for name in graph.outputs:
        if graph.nodes[name].local:
            seen[name] = set(range(graph.nodes[name].length))
    for node in list(graph.nodes.values())[1:]:
        if node.local:
            sources = [(graph.nodes[name], changed[name]) for name in node.inputs]
            changed[node.name] = {
                o for o in range(node.length) if any(inputs_of(node, o, x.length) & there for x, there in sources)
            }
    for node in reversed(graph.nodes.values()):
        for name in node.inputs:
            length = graph.nodes[name].length
            outputs = seen[node.name] if node.local else None
            seen[name] |= (
                set(range(length)) if outputs is None else {i for o in outputs for i in inputs_of(node, o, length)}
            )
    for name, span in spans.items():
        computed = positions(span)
        assert computed >= changed[name] & seen[name], name
        assert positions(need[name]) >= seen[name], name
        assert computed <= set(range(graph.nodes[name].length))


@pytest.mark.parametrize(
    ("a", "b", "both", "either"),
    [
        (Interval(2, 5), Interval(4, 9), Interval(4, 5), Interval(2, 9)),
        (Interval(2, 3), Interval(7, 8), Interval(7, 3), Interval(2, 8)),
        (NOTHING, Interval(4, 6), Interval(4, 0), Interval(4, 6)),
        (Interval(4, 6), Interval(5, 5), Interval(5, 5), Interval(4, 6)),
    ],
)
def test_intervals_as_sets(a, b, both, either):
    assert (a & b, a | b) == (both, either)
    assert bool(a & b) == bool(positions(a) & positions(b))
    assert len(a & b) == len(positions(a) & positions(b))
    assert Interval(2, 5).shift(-3) == Interval(-1, 2)


def test_cropping_later_shrinks_what_is_needed_before():
    nodes = [
        Node(name="x", kind="input", inputs=(), shape=(4, 20), axes=("c", "l")),
        node_of("conv", "a", ("x",), length=20, kernel=3, dilation=1, stride=1, left=1),
        node_of("slice", "b", ("a",), length=4, start=8),
        Node(name="c", kind="sum", inputs=("b",), shape=(2,)),
    ]
    graph = Graph(
        traced=fx.Graph(),
        weights={},
        constants={},
        nodes={node.name: node for node in nodes},
        outputs=("c",),
        length=20,
    )
    need = needed(graph)
    assert need == {"x": Interval(7, 13), "a": Interval(8, 12), "b": Interval(0, 4)}
    assert affected(graph, need, Interval(0, 7)) == dict.fromkeys(need, NOTHING) | {"x": Interval(7, 7)}
    assert affected(graph, need, Interval(6, 8))["a"] == Interval(8, 9)
    assert affected(graph, need, Interval(12, 20))["b"] == Interval(3, 4)
