"""A folder with a picture of every stage of a trace, and a page that shows them in order."""

import html
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from mrcnn_steps import draw
from mrcnn_steps.stages import STAGES
from mrcnn_steps.tensors import Table
from mrcnn_steps.tracing import Trace

PAGE = "index.html"
# Tells a page of ours from any other: only a folder with one is ever replaced.
MARKER = '<meta name="generator" content="mrcnn-steps inspect">'


@dataclass(frozen=True)
class Scene:
    """A picture of the page.

    Attributes:
        stage: heading of the section it belongs to.
        title: what it shows.
        caption: what to look for.
        draw: makes the figure.
        needs: "annotations" or "masks" if it shows nothing without them.
    """

    stage: str
    title: str
    caption: str
    draw: Callable[[Trace], draw.Picture]
    needs: str = ""

    @property
    def slug(self) -> str:
        """Name for files and links."""
        return self.draw.__name__.removeprefix("figure_").replace("_", "-")


OVERVIEW, PHOTO = "Overview", "Photo"
MINI, ANCHORS, TARGETS, PROPOSALS, CLASSES, DETECTION, MASKS = (stage.title for stage in STAGES)

SCENES = (
    Scene(
        OVERVIEW,
        "The pipeline in one strip",
        "From every possible box to a few objects: each stage keeps fewer and better boxes.",
        draw.figure_pipeline,
    ),
    Scene(
        OVERVIEW,
        "The network",
        "Three heads share one backbone; the shapes are those of this very photo.",
        draw.figure_network,
    ),
    Scene(
        PHOTO,
        "The photo and its annotations",
        "Masks are annotated; the boxes are computed from them.",
        draw.figure_sample,
    ),
    Scene(
        PHOTO,
        "Resized for the network",
        "The aspect ratio stays. Everything up to the final result is in these pixels.",
        draw.figure_letterbox,
    ),
    Scene(
        MINI,
        "Mini-masks",
        "A mask is kept as a small picture of its own box.",
        draw.figure_mini_masks,
        "annotations",
    ),
    Scene(
        MINI,
        "Mini-masks resized back",
        "The price of the small picture: pixels along the outline of large or thin objects.",
        draw.figure_mini_mask_round_trip,
        "annotations",
    ),
    Scene(
        ANCHORS,
        "The anchors of one cell",
        "Each level has its size; each cell has an anchor of that size for every aspect ratio.",
        draw.figure_anchor_cell,
    ),
    Scene(
        ANCHORS,
        "The pyramid",
        "Small anchors stand close together, large ones far apart.",
        draw.figure_anchor_levels,
    ),
    Scene(
        TARGETS,
        "Positive anchors",
        "What the RPN is trained to call an object.",
        draw.figure_positive_anchors,
        "annotations",
    ),
    Scene(
        TARGETS,
        "Negative anchors",
        "What it is trained to call background: a random sample of very many.",
        draw.figure_negative_anchors,
        "annotations",
    ),
    Scene(
        TARGETS,
        "Neutral anchors",
        "Neither object nor background: they take no part in training.",
        draw.figure_neutral_anchors,
        "annotations",
    ),
    Scene(
        TARGETS,
        "Before and after refinement",
        "Dotted: a positive anchor. Solid: where its target delta moves it.",
        draw.figure_refined_positives,
        "annotations",
    ),
    Scene(
        PROPOSALS,
        "Top anchors by score",
        "Where the RPN suspects objects, before it moves the boxes.",
        draw.figure_top_anchors,
    ),
    Scene(
        PROPOSALS,
        "Refined, then clipped",
        "The RPN's deltas fit the anchors to what it sees; the image's border cuts them.",
        draw.figure_refined_anchors,
    ),
    Scene(
        PROPOSALS,
        "Final proposals",
        "What NMS leaves, in coordinates from 0 to 1.",
        draw.figure_proposals,
    ),
    Scene(
        CLASSES,
        "Classified proposals",
        "The second stage names each proposal; most are background.",
        draw.figure_classified_proposals,
    ),
    Scene(
        DETECTION,
        "Detection, step by step",
        "Each step drops candidates: read the counts.",
        draw.figure_detection_steps,
    ),
    Scene(
        MASKS,
        "Mask targets",
        "What the mask head is trained to answer for a proposal.",
        draw.figure_mask_targets,
        "annotations",
    ),
    Scene(
        MASKS,
        "Predicted masks",
        "What the mask head answers for a detection.",
        draw.figure_predicted_masks,
        "masks",
    ),
    Scene(
        MASKS,
        "The result",
        "Masks and boxes mapped back to the photo's own pixels.",
        draw.figure_result,
    ),
)


def check_folder(out: Path) -> None:
    """Refuse to replace anything but an empty folder or one that `inspect` wrote.

    Args:
        out: absolute.

    Raises:
        ValueError: the folder holds something else, or the process works in it.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"{out}: found a file, expected a folder to write")
    if out == Path.cwd() or out in Path.cwd().parents:
        raise ValueError(f"{out}: is the current folder, expected another one to write")
    page, names = out / PAGE, {PAGE, *map(file_name, range(len(SCENES)))}
    ours = page.is_file() and MARKER in page.read_text(encoding="utf-8", errors="replace")[:1000]
    # A folder or link that is called like a picture is somebody else's.
    foreign = sorted(
        path.name
        for path in out.iterdir()
        if not (ours and path.name in names and stat.S_ISREG(path.lstat().st_mode))
    )
    if foreign:
        raise ValueError(
            f"{out}: holds {foreign[0]!r}, which `inspect` did not write; choose another folder "
            "with --pictures"
        )


def file_name(number: int) -> str:
    """Name the picture of a scene, so that a folder lists them in order."""
    return f"{number:02d}-{SCENES[number].slug}.png"


def write_folder(trace: Trace, table: Table, name: str, out: Path) -> int:
    """Draw all pictures and the page beside the folder, then put it in place whole.

    Args:
        trace: of the photo.
        table: of the trace.
        name: of the photo.
        out: the folder; one that `check_folder` accepts is replaced.

    Returns:
        The number of pictures.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    has = {
        "": True,
        "annotations": trace.ground_truth is not None,
        "masks": trace.mask_logits is not None,
    }
    shown = [number for number, scene in enumerate(SCENES) if has[scene.needs]]
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as holder:
        new, old = Path(holder) / "new", Path(holder) / "old"
        new.mkdir()
        pictures = {}
        for number in tqdm(shown, desc="pictures", unit="", leave=False, disable=None):
            figure = SCENES[number].draw(trace)
            figure.savefig(new / file_name(number))
            pictures[number] = Image(figure.heading, *figure.canvas.get_width_height())
        (new / PAGE).write_text(page(table, name, pictures), encoding="utf-8")
        check_folder(out)
        if out.exists():
            for path in (out, *out.iterdir()):
                twin = new / path.relative_to(out)
                if twin.exists():
                    twin.chmod(stat.S_IMODE(path.stat().st_mode))
            out.rename(old)
        new.rename(out)
    return len(shown)


class Image(NamedTuple):
    """A picture on the page: what it shows in words, and its size in pixels."""

    text: str
    width: int
    height: int


def page(table: Table, name: str, pictures: dict[int, Image]) -> str:
    """Write the page that shows the pictures in order.

    Args:
        table: of the trace.
        name: of the photo.
        pictures: by the number of their scene.

    Returns:
        HTML that needs nothing but the pictures beside it.
    """
    stages = list(dict.fromkeys(SCENES[number].stage for number in pictures))
    links = [f'<a href="#{_anchor(stage)}">{html.escape(stage)}</a>' for stage in stages]
    sections = [_section(stage, pictures) for stage in stages]
    missing = [scene.title for number, scene in enumerate(SCENES) if number not in pictures]
    note = (
        f"<p>Not shown, as this photo or model has nothing to show there: "
        f"{html.escape(', '.join(missing))}.</p>"
        if missing
        else ""
    )
    title = html.escape(f"{name}: a Mask R-CNN, step by step")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{MARKER}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<nav aria-label="Stages">{"".join(links)}<a href="#tensors">Tensors</a></nav>
<main>
<h1>{title}</h1>
{note}
{"".join(sections)}
<section id="tensors">
<h2>Tensors</h2>
{_rows(table)}
</section>
</main>
</body>
</html>
"""


def _anchor(stage: str) -> str:
    return stage.lower().replace(" ", "-")


def _section(stage: str, pictures: dict[int, Image]) -> str:
    """Give the pictures of a stage."""
    figures = []
    for number, image in pictures.items():
        scene = SCENES[number]
        if scene.stage != stage:
            continue
        figures.append(f"""<figure id="{scene.slug}">
<h3>{html.escape(scene.title)}</h3>
<figcaption>{html.escape(scene.caption)}</figcaption>
<a href="{file_name(number)}"><img src="{file_name(number)}" width="{image.width}"
height="{image.height}" alt="{html.escape(image.text)}"></a>
</figure>
""")
    return f"""<section id="{_anchor(stage)}">
<h2>{html.escape(stage)}</h2>
{"".join(figures)}</section>
"""


def _rows(table: Table) -> str:
    """Give the table of tensors."""
    head = "".join(f"<th scope=col>{name}</th>" for name in ("tensor", "shape", "min", "max"))
    body = "".join(
        f"<tr><th scope=row>{html.escape(name)}</th><td>{shape}</td>"
        f"{_number(low)}{_number(high)}</tr>\n"
        for name, shape, low, high in table.rows
    )
    return (
        f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _number(value: float | None) -> str:
    return f"<td>{'' if value is None else f'{value:.5f}'}</td>"


STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --paper: #ffffff;
  --back: #f6f8fa; --line: #d1d9e0; --link: #0969da; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9da7b3;
  --paper: #161b22; --back: #0d1117; --line: #3d444d; --link: #58a6ff; } }
html { scroll-behavior: smooth; scroll-padding-top: 4rem; }
@media (max-width: 900px) { html { scroll-padding-top: 7rem; } }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
nav { position: sticky; top: 0; z-index: 1; display: flex; gap: .25rem .85rem; flex-wrap: wrap;
  padding: .7rem max(1rem, calc((100vw - 902px) / 2)); background: var(--paper);
  border-bottom: 1px solid var(--line); font-size: .85rem; }
nav a { color: var(--link); text-decoration: none; white-space: nowrap; }
nav a:hover, nav a:focus-visible { text-decoration: underline; }
main { max-width: 902px; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .5rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { margin: 0; font-size: 1.05rem; }
figure { margin: 1.2rem 0 2rem; }
figcaption { color: var(--soft); margin-bottom: .6rem; }
img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 8px;
  border: 1px solid var(--line); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
td:nth-child(n+3), th:nth-child(n+3) { text-align: right; }
tbody th { font-weight: 500; font-family: ui-monospace, monospace; }
"""
