"""Edits of text: the slow and obviously right definition of what a deletion, insertion or substitution makes."""

LETTERS = "ACGTN"


def text_of(codes):
    return "".join(LETTERS[code] for code in codes)


def edited(text, offset, other, effect, anchor="center"):
    """Replace `other` by `effect` and cut or fill the ends so that the text keeps its length."""
    other, effect = other.replace("-", ""), effect.replace("-", "")
    assert text[offset : offset + len(other)] == other
    new = text[:offset] + effect + text[offset + len(other) :]
    if len(other) == len(effect):
        return new
    while other and effect and other[0] == effect[0]:
        other, effect, offset = other[1:], effect[1:], offset + 1
    while other and effect and other[-1] == effect[-1]:
        other, effect = other[:-1], effect[:-1]
    if anchor == "center":
        anchor = "right" if offset < len(text) - offset - len(other) else "left"  # the longer flank stays
    fill = "N" * len(text)
    return (new + fill)[: len(text)] if anchor == "left" else (fill + new)[-len(text) :]


def seen_by(module):
    """Return the sequences that a `Linear` stub was given, as text."""
    rows = []
    for x in module.rows:
        assert ((x == 0) | (x == 1)).all()
        assert (x.sum(1) <= 1).all()
        codes = x.argmax(1).where(x.sum(1) > 0, 4)
        rows += [text_of(row) for row in codes.tolist()]
    return rows
