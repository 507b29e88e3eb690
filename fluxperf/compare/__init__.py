"""`fluxperf compare`: whether two sets of results can be held against each other, and what comes of it."""
