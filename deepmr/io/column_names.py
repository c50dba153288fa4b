"""Names of columns as users write them: plain ones, ranges such as v{1..20}, and patterns such as rs*."""

import difflib
import fnmatch
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from deepmr.errors import InputError

_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)\}")
_WILD = re.compile(r"[*?\[]")
_MOST_NAMES = 100_000  # of a range
_SEARCHED = 20_000  # names among which a similar one is looked for
_LISTED = 12  # names that a message lists


def expand_ranges(text: str) -> list[str]:
    """Return the names that a text with ranges stands for; the text itself where there is none.

    Parameters
    ----------
    text : such as v{1..20}, or v{01..20} for names with leading zeros.

    Raises
    ------
    InputError
        For a range of more than 100,000 names.
    """
    found = _RANGE.search(text)
    if found is None:
        return [text]
    first, last = int(found[1]), int(found[2])
    if abs(last - first) >= _MOST_NAMES:
        raise InputError(f"{text}: a range has at most {_MOST_NAMES:,} names; this one has {abs(last - first) + 1:,}")
    padded = any(len(end.lstrip("-")) > 1 and end.lstrip("-").startswith("0") for end in found.groups())
    width = max(map(len, found.groups())) if padded else 0
    step = 1 if last >= first else -1
    before, after = text[: found.start()], text[found.end() :]
    return [
        name
        for number in range(first, last + step, step)
        for name in expand_ranges(f"{before}{number:0{width}d}{after}")
    ]


def choose_names(
    patterns: Sequence[str],
    available: Sequence[str],
    *,
    what: str,
    where: str,
    taken: Collection[str] = (),
    kind: Literal["column", "variant"] = "column",
) -> list[str]:
    """Return the names that patterns stand for, in the order of the patterns.

    Parameters
    ----------
    patterns : names, ranges, and patterns with * and ?, which stand for names in the order of `available`.
    available : names there are.
    what : what a name stands for, for messages: "instrument".
    where : what has the names, for messages.
    taken : names with another role, which patterns with * pass over.
    kind : what the names are of, for messages.

    Raises
    ------
    InputError
        For a name that is not available (with the most similar one), one that occurs twice, or a pattern that no name
        matches.
    """
    known = set(available)
    chosen: list[str] = []
    missing: list[str] = []
    for pattern in patterns:
        if pattern in known:
            chosen.append(pattern)
            continue
        for name in expand_ranges(pattern):
            if name in known:
                chosen.append(name)
            elif _WILD.search(name):
                fits = re.compile(fnmatch.translate(name)).match
                passed = {*taken, *chosen}
                found = [one for one in available if fits(one) and one not in passed]
                if not found:
                    raise InputError(f"{where}: no {what} matches {name!r}; there are {_listed(available)}")
                chosen += found
            else:
                missing.append(name)
    if missing:
        raise InputError(_absent(missing, available, what=what, where=where, kind=kind))
    name, times = Counter(chosen).most_common(1)[0] if chosen else ("", 0)
    if times > 1:
        raise InputError(f"{where}: {what} {name!r} is named more than once")
    return chosen


def check_roles(roles: Mapping[str, Sequence[str]], *, where: str) -> None:
    """Raise `InputError` where a column has two roles.

    Parameters
    ----------
    roles : columns by role.
    where : the table, for the message.
    """
    role_of: dict[str, str] = {}
    for role, names in roles.items():
        for name in names:
            if name in role_of:
                raise InputError(f"{where}: column {name!r} has two roles, {role_of[name]} and {role}; it can have one")
            role_of[name] = role


def _absent(missing: Sequence[str], available: Sequence[str], *, what: str, where: str, kind: str) -> str:
    first = missing[0]
    near = difflib.get_close_matches(first, available, n=1) if len(available) <= _SEARCHED else []
    lower = {name.lower(): name for name in available}
    guess = lower.get(first.lower()) or (near[0] if near else None)
    hint = f"did you mean {guess!r}?" if guess else f"there are {_listed(available)}"
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    return f"{where}: no {kind} {first!r}{more} for the {what}; {hint}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown} ... ({len(names):,} in all)"
