"""Findings: what is wrong, or may be, with data or a model, in one form for everyone who looks."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mrcnn_steps.class_names import printable

Level = Literal["error", "warning", "note"]

# The worst first.
LEVELS: tuple[Level, ...] = ("error", "warning", "note")

# Ids that a table lists of one finding.
SHOWN = 8


@dataclass(frozen=True)
class Finding:
    """Something that a person should know, and what to do about it.

    Attributes:
        code: what kind of thing it is, such as "photo_missing"; the same in every run.
        level: "error": what it names cannot be used; "warning": it looks wrong; "note": it is
            worth knowing.
        sentence: what was found, in one sentence; may quote names from files.
        remedy: what to do, in one sentence.
        image_ids: the photos that it concerns; none where it concerns the whole.
        annotation_ids: the objects that it concerns.
        gain: what undoing it would bring; None where nothing was tried.
        p_value: how probable such a gain is by chance, corrected for everything that was tried.
        treatment: what was done to the model or its input to measure the gain.
    """

    code: str
    level: Level
    sentence: str
    remedy: str
    image_ids: tuple[int, ...] = ()
    annotation_ids: tuple[int, ...] = ()
    gain: float | None = None
    p_value: float | None = None
    treatment: str | None = None

    def __post_init__(self) -> None:
        """Check the level.

        Raises:
            ValueError: it is none of `LEVELS`.
        """
        if self.level not in LEVELS:
            raise ValueError(f"level: expected one of {', '.join(LEVELS)}, found {self.level!r}")


def table(findings: Sequence[Finding]) -> str:
    """Write findings for a terminal: grouped, errors first, long lists of ids cut.

    Args:
        findings: in any order; inside a level they stay in it.

    Returns:
        Lines without control characters, whatever names the findings quote.
    """
    if not findings:
        return "no findings"
    groups = [[each for each in findings if each.level == level] for level in LEVELS]
    parts = [", ".join(_counted(len(group), group[0].level) for group in groups if group)]
    for group in filter(None, groups):
        parts.append(f"{group[0].level.upper()}S")
        parts.extend(_lines(each) for each in group)
    return "\n\n".join(parts)


def summary(findings: Sequence[Finding]) -> str:
    """Write errors and warnings in one line.

    Args:
        findings: in any order.

    Returns:
        Such as "1 error (photo_missing), 2 warnings (bbox_off, objects_alike)"; empty if there are
        only notes.
    """
    serious = LEVELS[:-1]
    codes = {level: [each.code for each in findings if each.level == level] for level in serious}
    return ", ".join(
        f"{_counted(len(each), level)} ({', '.join(each)})" for level, each in codes.items() if each
    )


def record(finding: Finding) -> dict[str, Any]:
    """Give a finding as JSON has it.

    Args:
        finding: any.

    Returns:
        Its fields by their names.
    """
    return asdict(finding)


def _lines(finding: Finding) -> str:
    lines = [f"{finding.code}: {finding.sentence}"]
    for kind, ids in (("image", finding.image_ids), ("annotation", finding.annotation_ids)):
        if ids:
            lines.append(f"    {kind}{'s' if len(ids) > 1 else ''} {_listed(ids)}")
    if finding.gain is not None:
        chance = "" if finding.p_value is None else f", p {finding.p_value:.2g}"
        what = "" if finding.treatment is None else f" ({finding.treatment})"
        lines.append(f"    undone{what}: {finding.gain:+.3f}{chance}")
    lines.append(f"    → {finding.remedy}")
    return "\n".join(map(printable, lines))


def _listed(ids: Sequence[int]) -> str:
    shown = ", ".join(map(str, ids[:SHOWN]))
    return shown if len(ids) <= SHOWN else f"{shown} and {len(ids) - SHOWN:,} more"


def _counted(count: int, level: str) -> str:
    return f"{count} {level}{'' if count == 1 else 's'}"
