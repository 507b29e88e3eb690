"""The benchmark of accuracy and cost: FluxPerf and two usual clients against a server that tells the truth."""
