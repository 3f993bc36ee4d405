"""The commands of `mrcnn-steps`: each a module with `add_arguments(parser)` and `run(args)`."""
