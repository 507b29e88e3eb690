"""`fluxperf report`: results that are on disk, for people to look at."""
