"""Pages whose tables a study writes: blocks between markers."""

import re
from collections.abc import Mapping
from pathlib import Path


def fill_blocks(path: Path, texts: Mapping[str, str]) -> None:
    """Put texts into the blocks of a page; a block without a text stays as it is.

    Parameters
    ----------
    path : of the page; a block is what lies between `<!-- study: NAME -->` and `<!-- end -->`.
    texts : by the name of the block.
    """

    def fill(match: re.Match[str]) -> str:
        text = texts.get(match["name"], match["text"])
        return f"<!-- study: {match['name']} -->\n\n{text.strip()}\n\n<!-- end -->"

    pattern = r"<!-- study: (?P<name>\w+) -->(?P<text>.*?)<!-- end -->"
    path.write_text(re.sub(pattern, fill, path.read_text(), flags=re.DOTALL))
