"""What the answers of a page are called where diagnostics have judged them: by the verdict of the diagnostics alone."""

from dataclasses import replace

from deepmr.report import words
from deepmr.report.content import Run
from deepmr.report.verdicts import DOUBTS, Verdict, pair_verdicts

BADGES = {
    "supported": "effect",
    "supported with doubts": "doubtful",
    "undecided": "doubtful",
    "not supported": "against",
}
MENDS = (
    "Calibration mends the size of effects of edits; it cannot tell whether an edit reaches {outcome} by another way."
)


def judged_pairs(run: Run) -> tuple[Verdict, ...]:
    """Judge every ordered pair of a run: by its diagnostics where it has any, else by its tables.

    Parameters
    ----------
    run : what the page shows.

    Notes
    -----
    Diagnostics see more than the tables, so that two verdicts of one pair would be one too many. What the tables give
    as reasons for doubt stays among the reasons, and the sentence names it without a verdict of its own. Diagnostics of
    the effect in the model stand for a calibrated one that has none: they ask the same of the instruments.
    """
    return tuple(_diagnosed(run, one) for one in pair_verdicts(run))


def _diagnosed(run: Run, one: Verdict) -> Verdict:
    for estimand in dict.fromkeys((one.estimand, "model")):
        judgement = run.judgements.get((one.exposure, one.outcome, estimand))
        if judgement:
            of = "" if estimand == one.estimand else f" (diagnosed: {words.EFFECTS[estimand]})"
            return replace(one, judgement=judgement, diagnosed=estimand, sentence=_sentence(run, one, judgement, of))
    return one


def _sentence(run: Run, one: Verdict, judgement: str, of: str) -> str:
    """Return the answer with the verdict first and, where it speaks for no effect, the number as an estimate only."""
    if one.grade == "open":
        return f"{one.pair}: {judgement}{of}. {one.sentence}"
    table = run.headline.table
    mine = (table["exposure"] == one.exposure) & (table["outcome"] == one.outcome)
    row = table[mine & (table["estimand"] == one.estimand)].iloc[0].to_dict()
    loci = words.count(int(row["n"]), "locus")
    what = f"{words.WHERE[one.estimand]} is {words.estimate(row)} per unit, {loci}"
    seen = [text for key, text in DOUBTS.items() if key in one.doubts]
    tail = f"; of note: {'; '.join(seen)}" if seen else ""
    if judgement.startswith("supported"):
        return f"{one.pair}: {judgement}{of}; the effect {what}{tail}."
    return f"{one.pair}: {judgement}{of}; the estimate {what}; it is not shown to be an effect{tail}."


def opening(verdict: Verdict) -> str:
    """Return what a card says of a number that diagnostics do not support, before the number; "" of any other.

    Parameters
    ----------
    verdict : of the pair.
    """
    if not verdict.questioned:
        return ""
    if verdict.judgement == "undecided":
        return f"The diagnostics leave open whether {verdict.exposure} acts on {verdict.outcome}."
    return f"The diagnostics speak against an effect of {verdict.exposure} on {verdict.outcome}."


def unmended(verdict: Verdict) -> str:
    """Return that calibration does not help a number that diagnostics do not support; "" of any other.

    Parameters
    ----------
    verdict : of the pair.
    """
    calibrated = verdict.questioned and verdict.estimand == "calibrated"
    return MENDS.format(outcome=verdict.outcome) if calibrated else ""


def pointer(verdict: Verdict) -> str:
    """Return the words of a card's link to the diagnostics, and of which effect they are; "" without.

    Parameters
    ----------
    verdict : of the pair.
    """
    if not verdict.judgement:
        return ""
    other = verdict.diagnosed != verdict.estimand
    return "Why: the diagnostics" + (f" of the {words.EFFECTS[verdict.diagnosed]}" if other else "")


def badge(verdict: Verdict | None) -> str:
    """Return the class of a verdict's badge.

    Parameters
    ----------
    verdict : of the pair; None for none.
    """
    if verdict is None:
        return ""
    return BADGES.get(verdict.judgement, "doubtful") if verdict.judgement else verdict.grade
