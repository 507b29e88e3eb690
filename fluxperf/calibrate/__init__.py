"""`fluxperf calibrate`: how much load a worker on this machine can measure, found by measuring an exact schedule."""
