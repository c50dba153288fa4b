"""A figure as SVG that stands inside a page: no outside reference, names of its own, colours that follow the page."""

import html
import io
import re

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from deepmr.report.style import PALETTE, styled

POINT = 4 / 3  # CSS pixels
LARGEST = 300_000  # characters of one figure: above, marks by the hundred become a picture inside it
LEAST = 7.8  # points of the smallest text: what 9 pixels are where a phone shows a figure at its least size
MARKS = 200  # vertices or points from which a mark is one of those
RASTER_DPI = 150.0


@styled
def inline_svg(figure: Figure, *, prefix: str, alt: str) -> str:
    """Return the figure as an <svg> element.

    Parameters
    ----------
    figure : drawn with the palette of `style`.
    prefix : put before every id, so that figures of one page do not take each other's clip paths.
    alt : what the figure shows, for those who do not see it.

    Notes
    -----
    Text below 7.8 points is enlarged to that. Where the figure takes more than 300,000 characters, its marks by the
    hundred are put in as a picture.
    """
    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_fontsize(max(float(text.get_fontsize()), LEAST))
    svg = _drawn(figure, prefix)
    if len(svg) > LARGEST:
        for axes in figure.axes:
            for line in axes.lines:
                line.set_rasterized(np.asarray(line.get_xydata()).shape[0] > MARKS)
            for marks in axes.collections:
                size = np.asarray(marks.get_offsets()).shape[0]
                size += sum(np.asarray(path.vertices).shape[0] for path in marks.get_paths())
                marks.set_rasterized(size > MARKS)
        svg = _drawn(figure, prefix, dpi=RASTER_DPI)
    width, height = (72 * side * POINT for side in figure.get_size_inches())
    head = (
        f'<svg class="plot" role="img" aria-label="{html.escape(alt)}" style="--width:{width:.0f}px" '
        f'viewBox="0 0 {width / POINT:g} {height / POINT:g}">'
    )
    return head + re.sub(r"\s*\n\s*", "\n", svg[svg.index(">") + 1 :]).strip()


def _drawn(figure: Figure, prefix: str, *, dpi: float = 100.0) -> str:
    """Return the figure as SVG without what only a file of its own needs."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=dpi)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"[#]([\w.-]+)[)\"]", svg))
    return re.sub(r"<[^>]+>", lambda tag: _clean_tag(tag[0], prefix, used), svg)


def _clean_tag(tag: str, prefix: str, used: set[str]) -> str:
    """Rename ids that are used, drop others and namespaces, shorten numbers to .01 point, make colours variables."""
    if tag.startswith("</"):
        return tag
    tag = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", tag).replace("xlink:href", "href")
    tag = re.sub(r'\sid="([^"]*)"', lambda name: f' id="{prefix}-{name[1]}"' if name[1] in used else "", tag)
    tag = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{prefix}-", tag)
    tag = re.sub(r' transform="rotate\(-?0 [^"]*"|font-family: [^;"]*;? ?', "", tag)
    tag = re.sub(r'\s(d|x|y|width|height|points)="[^"]*"', lambda m: _shorten(m[0]), tag)
    return _COLOUR.sub(lambda m: _VARIABLES[m[0].lower()], tag)


def _shorten(attribute: str) -> str:
    return re.sub(r"-?\d+\.\d{3,}(?!e)", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), attribute)


_VARIABLES = {light: f"var(--{name})" for name, (light, _) in PALETTE.items()}
_COLOUR = re.compile("|".join(_VARIABLES), re.IGNORECASE)
