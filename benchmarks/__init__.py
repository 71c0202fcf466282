"""The benchmark's entry in a checkout; the code is in `graphflow.bench`."""
