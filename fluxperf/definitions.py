"""Which definitions of the metrics results were made by. Runs of different ones are not compared, nor gone on with."""

DEFINITIONS = 1
"""To be counted up with every change of what a figure means: `tests/test_definitions.py` notices."""
