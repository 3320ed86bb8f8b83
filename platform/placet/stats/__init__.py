"""Intervals, one-sided decisions and planning; pure functions of numbers.

Guarantees: no I/O, no clock, no randomness, no knowledge of policies. Every bound is one-sided at its own
`alpha`, so a pair of bounds is a two-sided interval of level ``1 - 2 * alpha``. Importing this package does not
import scipy; the functions that need a quantile of the beta, binomial or Student distribution do.
"""
