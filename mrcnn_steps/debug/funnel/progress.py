"""A bar that tells what became of the objects so far."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from tqdm import tqdm

from mrcnn_steps.debug.fates import FOUND
from mrcnn_steps.debug.funnel.rows import PhotoRow
from mrcnn_steps.model.evaluate import place_in_group

# Causes that the bar tells.
TOLD = 3


def observed(
    observe: Callable[[int], PhotoRow],
    todo: Sequence[int],
    done: Iterable[PhotoRow],
    progress: bool,
) -> Iterator[PhotoRow]:
    """Observe photo after photo.

    Args:
        observe: gives the row of a photo.
        todo: the photos, by index.
        done: rows of other photos, which count in the totals.
        progress: show a bar on a terminal; of many processes, the first does.

    Yields:
        The rows.
    """
    totals = Counter(each.cause for row in done for each in row.objects)
    silent = True if not progress or place_in_group()[0] else None
    with tqdm(todo, "funnel", unit=" photos", leave=False, disable=silent) as bar:
        for index in bar:
            row = observe(index)
            totals.update(each.cause for each in row.objects)
            bar.set_postfix_str(running_totals(totals), refresh=False)
            yield row


def running_totals(totals: Counter[str]) -> str:
    """Say in a few words what became of the objects so far.

    Args:
        totals: how many objects have each fate.

    Returns:
        Such as "45/71 found; class 12, box 8, rpn_nms 3".
    """
    causes = [(cause, count) for cause, count in totals.most_common() if cause != FOUND]
    main = ", ".join(f"{cause} {count}" for cause, count in causes[:TOLD])
    return f"{totals[FOUND]}/{totals.total()} found" + (f"; {main}" if main else "")
