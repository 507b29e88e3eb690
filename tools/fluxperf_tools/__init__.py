"""Turns public data into FluxPerf's datasets, makes datasets with a known answer, and validates both."""
