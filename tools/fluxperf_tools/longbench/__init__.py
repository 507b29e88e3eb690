"""LongBench: its tasks, its rows as prompts, where it is on the hub, and a sample drawn of it."""
