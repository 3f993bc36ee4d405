"""The funnel: at which gate a model loses objects, over a whole dataset."""
