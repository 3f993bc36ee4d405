"""Class names: what a list of them must be, and how two lists differ.

Files, checkpoints, models and arguments each bring names. Wherever two lists meet they are compared
by name, and a difference is told as names: rows of a layer mean nothing to a reader.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

# What the first class is called: by us, by torchvision's weights, by the notes.
BACKGROUNDS = ("background", "__background__", "BG")

# torchvision's name of a row that no class of COCO uses; the only one that may come twice.
UNUSED = "N/A"

# What can be iterated, and yet is no list in which each name has its place.
NO_LISTS = (str, bytes, Mapping, set, frozenset)

# Names that a message lists.
SHOWN = 5

# A name from a file may be as long as it likes; a label on a picture may not.
LONGEST_NAME = 28


def check_class_names(
    names: Any, where: str = "class_names", count: int | None = None
) -> tuple[str, ...]:
    """Make sure that a list from outside is one of class names.

    Args:
        names: what was found.
        where: file and field, or argument, for the message.
        count: the number of classes of the model, with the background, where it is known.

    Returns:
        The names; the first is "background", however it was spelled.

    Raises:
        ValueError: it is no list of different texts, the background does not come first, or the
            model has another number of classes.
    """
    try:
        listed = None if isinstance(names, NO_LISTS) else list(names)
    except TypeError:  # a number, or a tensor without dimensions, which claims to be iterable
        listed = None
    if listed is None:
        found = f"{type(names).__name__} {_short(names)}"
        raise ValueError(f"{where}: found {found}, expected a list of names, the background first")
    for label, name in enumerate(listed):
        if not isinstance(name, str) or not name.strip() or not _is_encodable(name):
            raise ValueError(f"{where}[{label}]: found {_short(name)}, expected a text")
    if not listed or listed[0] not in BACKGROUNDS:
        found = enumerate_names(listed) if listed else "no names"
        raise ValueError(
            f"{where}: found {found}, expected the background first: "
            f"{', '.join(map(repr, BACKGROUNDS))}"
        )
    checked = (BACKGROUNDS[0], *map(composed, listed[1:]))
    seen: set[str] = set()
    for name in checked:
        if name in seen and name != UNUSED:
            raise ValueError(f"{where}: found {_short(name)} twice, expected different names")
        seen.add(name)
    if count is not None and len(checked) != count:
        raise ValueError(
            f"{where}: found {len(checked)} names ({enumerate_names(checked)}), expected {count}: "
            f"the model has {count} classes, the background included"
        )
    return checked


def composed(name: str) -> str:
    """Write a name in the one way in which all that look the same are equal.

    Systems write é as one sign or as two, and nobody sees blanks around a name.

    Args:
        name: of a class.

    Returns:
        The same name to every reader, in Unicode's composed form (NFC).
    """
    return unicodedata.normalize("NFC", str(name)).strip()


def difference(before: Sequence[str], now: Sequence[str]) -> str:
    """Tell how two lists of class names differ.

    Args:
        before: names, the background first.
        now: others.

    Returns:
        Such as "washer is new; nut and bolt trade places"; empty if they are equal.
    """
    new = [name for name in now if name not in before]
    missing = [name for name in before if name not in now]
    kept = [name for name in before if name in now]
    order = [name for name in now if name in before]
    moved = [a for a, b in zip(kept, order, strict=False) if a != b]
    parts = []
    if new:
        parts.append(f"{enumerate_names(new)} {'is' if len(new) == 1 else 'are'} new")
    if missing:
        parts.append(f"{enumerate_names(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    if len(moved) == 2:
        parts.append(f"{enumerate_names(moved)} trade places")
    elif moved:
        parts.append(f"{enumerate_names(moved)} stand in another order")
    return "; ".join(parts)


def short(name: str) -> str:
    """Make a name from a file fit on one line of a picture.

    Args:
        name: of a class or a photo, whatever it contains.

    Returns:
        One line of at most `LONGEST_NAME` letters.
    """
    line = " ".join(name.split())
    return line if len(line) <= LONGEST_NAME else line[: LONGEST_NAME - 1] + "…"


def printable(text: str) -> str:
    r"""Make a text from a file harmless to a terminal, which obeys what it cannot print.

    Args:
        text: whatever it contains.

    Returns:
        The text with escapes, such as `\x1b`, for control characters, marks that turn the
        direction of writing, and halves of surrogate pairs.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def enumerate_names(names: Sequence[str]) -> str:
    """Write names as a sentence does, the first `SHOWN` of them.

    Args:
        names: at least one.

    Returns:
        Such as "nut, bolt and washer", or "nut, bolt and 7 more".
    """
    shown = [_cut(str(name)) for name in names[:SHOWN]]
    if len(names) > SHOWN:
        return f"{', '.join(shown)} and {len(names) - SHOWN} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def _short(value: object) -> str:
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


def _is_encodable(name: str) -> bool:
    """Whether a text can be written to a file: half a surrogate pair cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in name)
