"""What follows from the results of rounds: values in, values out."""
