"""The viewer: a photo with layers on a canvas. It knows nothing of Mask R-CNN."""
