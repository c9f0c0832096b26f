"""Experiments: plans of many runs, and what the results of the runs say."""
