"""The visual debugger in JupyterLab: one viewer, and an explorer for each stage of a Mask R-CNN."""
