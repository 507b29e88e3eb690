"""Starts, watches and ends the processes of a campaign that are not workers: the server under test, the mock, hooks."""
