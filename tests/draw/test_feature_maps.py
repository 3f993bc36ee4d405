"""The picture of the feature maps: as many panels as maps, dark where the numbers are strong."""

import numpy as np

from mrcnn_steps import draw


def test_each_map_has_a_panel_whose_cells_show_how_strong_they_are(traced):
    figure = draw.figure_feature_maps(traced)
    pictures = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(pictures) == 1 + len(traced.features)
    for shown, feature in zip(pictures[1:], traced.features.values(), strict=True):
        values = feature[0].numpy()
        by_hand = np.sqrt((values**2).sum(axis=0) / len(values))
        np.testing.assert_allclose(shown, by_hand, rtol=1e-5)


def test_captions_name_level_cells_and_the_line_of_the_table(traced):
    figure = draw.figure_feature_maps(traced)
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    for level, (name, feature) in zip(
        traced.anchors.level_names, traced.features.items(), strict=True
    ):
        assert f"{level}: {feature.shape[2]} × {feature.shape[3]} cells" in texts
        assert f"feature_map_{name}" in texts
        assert f"feature_map_{name}" in traced.tensors()
