"""Photos that could not be read while a funnel ran, as a finding."""

from mrcnn_steps.debug.findings import Finding
from mrcnn_steps.debug.funnel.summary import Funnel


def unread(found: Funnel) -> tuple[Finding, ...]:
    """Tell which photos a funnel could not read.

    Args:
        found: the funnel.

    Returns:
        One finding; none if every photo could be read.
    """
    gone = [each for each in found.photos if each.error is not None]
    if not gone:
        return ()
    count = "1 photo" if len(gone) == 1 else f"{len(gone):,} photos"
    return (
        Finding(
            code="photo_unread",
            level="error",
            sentence=f"{count} of {len(found.photos):,} could not be read: {gone[0].error}",
            remedy="Their objects are in no figure; restore the files and run again with --resume.",
            image_ids=tuple(each.image_id for each in gone),
        ),
    )
