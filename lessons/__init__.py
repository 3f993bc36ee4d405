"""The lessons: a notebook for each stage. `mrcnn-steps lab` copies them and opens JupyterLab."""
