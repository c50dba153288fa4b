"""One self-contained page of a run: figures, tables and where they come from, without any outside reference."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from deepmr import __version__
from deepmr.report import (
    association,
    context,
    context_sections,
    context_tables,
    gwas,
    gwas_tables,
    plates,
    tables,
    words,
)
from deepmr.report.association import AssociationRun
from deepmr.report.content import Plates, Run, Section
from deepmr.report.context import ContextRun
from deepmr.report.diagnosed import judged_pairs
from deepmr.report.gwas import GwasRun
from deepmr.report.style import PALETTE
from deepmr.types import Estimates

MAX_TOLD = 12  # pairs whose verdicts are told one by one; of more there is a table
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
    judged = judged_pairs(run)
    content = {
        "title": title,
        "run": run,
        "question": tables.question(run),
        "estimand": words.ESTIMANDS[run.estimand],
        "n_pairs": len(run.headline),
        "cards": tables.headline(run, judged),
        "n_told": MAX_TOLD,
        "verdicts": judged,
        "verdict_table": tables.verdict_table(judged),
        "two": () if run.estimand == "population" else words.TWO_EFFECTS,
        "shown": f"Shown here: {shown_effects(run)}.",
        "sure": [counter.lay(one) for one in run.sections if one.part == "sure"],
        "methods": _meanings(run.pooled),
        "global_plates": plates.global_effects(run, counter),
        "global_table": tables.global_table(run),
        "every_locus": plates.all_loci(run, counter),
        "evidence": [counter.lay(one) for one in run.sections if one.part == "evidence"],
        "loci": plates.locus_plates(run, counter),
        "single": plates.verdicts(run),
        "ensemble": plates.ensemble_plates(run, counter),
        "warnings": () if run.calibration is None else run.calibration.warnings,
        "counts": [(name, f"{n:,}") for name, n in run.counts.items()],
        "count_tables": tables.count_tables(run),
        "local_table": tables.local_table(run),
        "provenance": [(name, tables.flatten(record)) for name, record in run.provenance.items()],
    }
    return _rendered("template.html", content | {"links": _links(run, content)})


def render_gwas_page(run: GwasRun, *, title: str = "DeepMR report") -> str:
    """Render an analysis of GWAS results as one HTML page that works offline and loads nothing.

    Parameters
    ----------
    run : what to show.
    title : heading of the page.

    Returns
    -------
    str
        The page, as of `render_page`.
    """
    counter = Plates()
    table, each, unlisted = gwas_tables.dropped_tables(run)
    instruments, elsewhere = gwas_tables.instrument_tables(run)
    content = {
        "title": title,
        "run": run,
        "question": gwas.question(run),
        "estimand": words.ESTIMANDS["population"],
        "cards": gwas.cards(run),
        "n_effects": len(run.headline),
        "verdicts": gwas.verdicts(run),
        "summaries": gwas.summaries(run),
        "sure": [counter.lay(one) for one in run.sections if one.part == "sure"],
        "estimate_plates": gwas.estimate_plates(run, counter),
        "evidence": [counter.lay(one) for one in run.sections if one.part == "evidence"],
        "methods": _meanings(run.estimates),
        "estimate_table": gwas_tables.estimate_table(run),
        "skipped_table": gwas_tables.skipped_table(run),
        "pairs": gwas.pair_plates(run, counter),
        "trait_tables": gwas_tables.trait_tables(run),
        "step_table": gwas_tables.step_table(run),
        "strength_table": gwas_tables.strength_table(run),
        "dropped_table": table,
        "dropped": each,
        "unlisted": unlisted,
        "instrument_tables": instruments,
        "elsewhere": elsewhere,
        "provenance": [(name, tables.flatten(record)) for name, record in run.provenance.items()],
    }
    links = [
        ("answer", "Answer"),
        ("sure", "How sure" if content["verdicts"] or content["sure"] else ""),
        *_of_part(run.sections, "sure"),
        ("estimates", "Estimates"),
        *_of_part(run.sections, "evidence"),
        ("figures", "Figures" if content["pairs"] else ""),
        ("data", "Data"),
        ("dropped", "Dropped variants"),
        ("instruments", "Instruments"),
        ("provenance", "Provenance"),
    ]
    return _rendered("gwas.html", content | {"links": [link for link in links if link[1]]})


def render_association_page(run: AssociationRun, *, title: str = "DeepMR association") -> str:
    """Render a scan for associations as one HTML page that works offline and loads nothing.

    Parameters
    ----------
    run : what to show.
    title : heading of the page.

    Returns
    -------
    str
        The page, as of `render_page`.
    """
    counter = Plates()
    sections = [association.trait_section(run, trait, k) for k, trait in enumerate(run.traits, 1)]
    content = {
        "title": title,
        "run": run,
        "question": association.question(run),
        "answers": association.answers(run),
        "overview": association.overview(run),
        "sections": [counter.lay(one) for one in sections],
        "statuses": association.status_table(run),
        "lost": association.lost_sentence(run),
        "left_out": association.left_out_table(run),
        "provenance": [(name, tables.flatten(record)) for name, record in run.provenance.items()],
        "links": [
            ("answer", "Answer"),
            *((one.anchor, one.title) for one in sections),
            ("data", "What was tested"),
            ("provenance", "Provenance"),
        ],
    }
    return _rendered("association.html", content)


def render_context_page(run: ContextRun, *, title: str = "DeepMR contextual effects") -> str:
    """Render effects that vary with context as one HTML page that works offline and loads nothing.

    Parameters
    ----------
    run : what to show.
    title : heading of the page.

    Returns
    -------
    str
        The page, as of `render_page`.
    """
    counter = Plates()
    sections = context_sections.sections(run)
    content = {
        "title": title,
        "run": run,
        "question": context.question(run),
        "where": f"Effects are {words.ESTIMANDS[run.estimand]}. Estimates of loci: {words.method_name(run.method)}.",
        "verdict": words.with_names(run.verdict),
        "facts": context.facts(run),
        "comparators": context_tables.comparator_table(run),
        "meanings": context.meanings(run),
        "weighing": context.weighing(run),
        "sections": [counter.lay(one) for one in sections],
        "locus_table": context_tables.locus_table(run),
        "predictions": context_tables.prediction_table(run),
        "sensitivity": context_tables.sensitivity_table(run),
        "egger": context_tables.egger_table(run),
        "egger_sentence": context_tables.EGGER,
        "skipped": context_tables.skipped_table(run),
        "provenance": [(name, tables.flatten(record)) for name, record in run.provenance.items()],
        "links": [
            ("answer", "Answer"),
            ("models", "Models side by side"),
            *((one.anchor, one.title) for one in sections),
            *([("rests", "What it rests on")] if run.sensitivity is not None or run.egger is not None else []),
            ("loci", "Loci"),
            ("reading", "How to read this page"),
            ("provenance", "Provenance"),
        ],
    }
    return _rendered("context.html", content)


def shown_effects(run: Run) -> str:
    """Return which effects a page shows: "effect in the model", or both."""
    estimands = dict.fromkeys((*run.pooled.table["estimand"], *run.local.table["estimand"])) or {"model": None}
    return " and ".join(words.EFFECTS[str(name)] for name in estimands)


def _links(run: Run, content: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the table of contents: anchors and titles of what the page has."""
    links = [
        ("answer", "Answer"),
        ("sure", "How sure"),
        *_of_part(run.sections, "sure"),
        ("global", "Evidence"),
        *_of_part(run.sections, "evidence"),
        ("loci", "Loci" if content["loci"] else ""),
        ("local", "Local effects"),
        ("methods", "Methods"),
        ("counts", "What was used"),
        ("ensemble", "Ensemble" if content["ensemble"] else ""),
        ("provenance", "Provenance"),
    ]
    return [link for link in links if link[1]]


def _of_part(sections: Sequence[Section], part: str) -> list[tuple[str, str]]:
    return [(one.anchor, one.title) for one in sections if one.part == part]


def _rendered(template: str, content: Mapping[str, object]) -> str:
    """Fill a template, in the colours of the figures, and let the page's policy know its script."""
    html = _ENVIRONMENT.get_template(template).render(
        version=__version__, light=_variables(0), dark=_variables(1), **content
    )
    html = html.replace("SCRIPT-HASH", _script_hash(html), 1)
    return html.replace(" %", "\u00a0%")  # the sign never begins a line


def _meanings(estimates: Estimates) -> list[tuple[str, str]]:
    """Return the methods of a table as a reader knows them, with what each is."""
    methods = dict.fromkeys(estimates.table["method"])
    return [(words.method_name(m), words.METHOD_MEANINGS.get(m, "see its documentation")) for m in methods]


def _variables(side: int) -> Markup:
    return Markup(" ".join(f"--{name}: {colours[side]};" for name, colours in PALETTE.items()))  # noqa: S704 -- constants


def _script_hash(html: str) -> str:
    """Return the checksum of the page's only script, by which the policy knows it."""
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    return "sha256-" + base64.b64encode(hashlib.sha256(scripts[-1].encode()).digest()).decode()
