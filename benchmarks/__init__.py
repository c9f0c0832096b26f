"""Benchmarks: `python -m benchmarks`, or `make bench`. Each states its contenders' work in full."""
