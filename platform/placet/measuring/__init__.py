"""What both measuring stages stand on: suites, the order of samples, per-sample rows, local scorers.

It knows neither engine nor policy. A stage is handed a :class:`placet.engine.tasks.TaskRunner` and gives back a
:class:`placet.measuring.measured.MeasuredSuite`. Importing this package loads no model library.
"""
