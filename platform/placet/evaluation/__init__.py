"""Benchmark evaluation: subject and plan to per-sample results, through lm-eval."""
