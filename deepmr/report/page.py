"""One self-contained page of a run: figures, tables and where they come from, without any outside reference."""

import base64
import hashlib
import re

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from deepmr import __version__
from deepmr.report import plates, tables, words
from deepmr.report.content import Plates, Run
from deepmr.report.style import PALETTE

_ENVIRONMENT = Environment(
    loader=PackageLoader("deepmr", "report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_page(run: Run, *, title: str = "DeepMR report") -> str:
    """Render a run as one HTML page that works offline and loads nothing.

    Parameters
    ----------
    run : what to show.
    title : heading of the page.

    Returns
    -------
    str
        The page. Every name that comes from a file is escaped, and a content security policy in the page allows its
        own script alone.
    """
    counter = Plates()
    methods = list(dict.fromkeys(run.pooled.table["method"]))
    html = _ENVIRONMENT.get_template("template.html").render(
        title=title,
        version=__version__,
        run=run,
        estimand=words.ESTIMANDS[run.estimand],
        where=words.WHERE[run.estimand],
        n_pairs=len(run.headline),
        cards=tables.headline(run),
        methods=[(words.method_name(m), words.METHOD_MEANINGS.get(m, "see its documentation")) for m in methods],
        global_plates=plates.global_effects(run, counter),
        global_table=tables.global_table(run),
        loci=plates.locus_plates(run, counter),
        verdicts=plates.verdicts(run),
        ensemble=plates.ensemble_plates(run, counter),
        warnings=() if run.calibration is None else run.calibration.warnings,
        counts=[(name, f"{n:,}") for name, n in run.counts.items()],
        count_tables=tables.count_tables(run),
        local_table=tables.local_table(run),
        provenance=[(name, tables.flatten(record)) for name, record in run.provenance.items()],
        light=_variables(0),
        dark=_variables(1),
    )
    return html.replace("SCRIPT-HASH", _script_hash(html), 1)


def _variables(side: int) -> Markup:
    return Markup(" ".join(f"--{name}: {colours[side]};" for name, colours in PALETTE.items()))  # noqa: S704 -- constants


def _script_hash(html: str) -> str:
    """Return the checksum of the page's only script, by which the policy knows it."""
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    return "sha256-" + base64.b64encode(hashlib.sha256(scripts[-1].encode()).digest()).decode()
