"""A figure as SVG inside a page."""

import re
import xml.etree.ElementTree as ET

import numpy as np

from deepmr.report import style
from deepmr.report.svg import LARGEST, inline_svg


@style.styled
def drawing(label="a label"):
    figure = style.new_figure(4.0, 3.0)
    axes = figure.subplots()
    axes.plot([0.123456, 1.987654], [0.001, 0.002], color=style.INK, label=label)
    axes.imshow([[0.0, 1.0]], extent=(0, 1, 0, 0.001), aspect="auto")
    axes.set_title(label)
    return figure


def test_ids_of_two_figures_do_not_meet_and_references_resolve():
    seen = set()
    for prefix in ("fig1", "fig2"):
        svg = inline_svg(drawing(), prefix=prefix, alt="a drawing")
        ids = re.findall(r'\bid="([^"]+)"', svg)
        used = re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", svg)
        assert len(ids) == len(set(ids))
        assert not seen & set(ids)
        assert {a or b for a, b in used} <= set(ids)
        assert used, "the clip path and the ticks are references"
        seen |= set(ids)


def test_it_is_well_formed_names_nothing_outside_and_describes_itself():
    svg = inline_svg(drawing(), prefix="f", alt='effects of "A" & <B>')
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'effects of "A" & <B>'
    assert "http" not in svg
    assert "xlink" not in svg
    assert all(href.startswith(("#", "data:image/png")) for href in re.findall(r'href="([^"]*)"', svg))


def test_user_text_is_escaped_and_never_read_as_mathematics():
    svg = inline_svg(drawing("<script>alert(1)</script> $x^2$ --> 0.123456"), prefix="f", alt="")
    assert "<script" not in svg
    assert "&lt;script&gt;alert(1)&lt;/script&gt; $x^2$ --&gt; 0.123456" in svg


def test_colours_become_variables_and_numbers_short():
    svg = inline_svg(drawing(), prefix="f", alt="")
    assert "var(--ink)" in svg
    assert "var(--paper)" in svg
    assert not any(light in svg for light, _ in style.PALETTE.values())
    assert not re.findall(r'\sd="[^"]*\d\.\d{3}', svg)


def test_the_same_figure_gives_the_same_text():
    first, second = (inline_svg(drawing(), prefix="f", alt="") for _ in range(2))
    assert first == second


@style.styled
def test_marks_by_the_thousand_become_a_picture_and_text_stays_text():
    rng = np.random.default_rng(0)
    figure = style.new_figure(4.0, 3.0)
    axes = figure.subplots()
    axes.scatter(rng.normal(size=8000), rng.normal(size=8000), s=2)
    axes.set_title("many points")
    svg = inline_svg(figure, prefix="f", alt="many points")
    assert len(svg) < LARGEST
    assert "data:image/png;base64," in svg
    assert ">many points</text>" in svg
