"""A picture of the feature maps: where the backbone has much to say."""

from mrcnn_steps.draw.primitives import photo, to_numpy
from mrcnn_steps.draw.scene import INPUT, ratio
from mrcnn_steps.draw.style import MASK_COLORS, Picture, caption, page, plural
from mrcnn_steps.tracing import Trace


def figure_feature_maps(trace: Trace) -> Picture:
    """Draw the feature maps of a photo, a panel for each level of the pyramid.

    Args:
        trace: of a photo.

    Returns:
        The figure: the photo, then for each map how strong the numbers of a cell are (the root
        of the mean of their squares), from 0 to the strongest cell of the map.
    """
    image, maps = trace.letterbox.image, trace.features
    channels = next(iter(maps.values())).shape[1]
    figure, panels = page(
        f"{plural(len(maps), 'feature map')}, {channels} numbers in every cell",
        "The darker a cell, the stronger its numbers (root mean square, each map by itself).",
        ratio(image),
        rows=-(-(len(maps) + 1) // 3),
        columns=3,
        captions=True,
    )
    photo(panels[0], image)
    caption(panels[0], "the photo", INPUT)
    names = trace.anchors.level_names
    for ax, level, (name, feature) in zip(panels[1:], names, maps.items(), strict=False):
        strength = feature[0].float().square().mean(dim=0).sqrt()
        rows, columns = strength.shape
        extent = (0, image.shape[2], image.shape[1], 0)
        values = to_numpy(strength)
        ax.imshow(values, cmap=MASK_COLORS, vmin=0, extent=extent, interpolation="nearest")
        caption(ax, f"{level}: {rows} × {columns} cells", f"feature_map_{name}")
    for ax in panels[len(maps) + 1 :]:
        ax.set_axis_off()
    return figure
