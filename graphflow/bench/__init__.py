"""The benchmark: graphflow against its peers, measured so that the comparison means something.

It lives inside the package, rather than in the repository's `benchmarks/` folder, so that an installed
`graphflow bench` finds it; `benchmarks/` holds the `python -m benchmarks` entry and says how to read the results.
Nothing else in the package imports it, but for the command line.

How a comparison is made:

* Every contender runs in a process of its own, because the spinning threads of one library's pool slow down its
  neighbours. The parent drives the workers round-robin: in each round every contender does one timed batch, while the
  others are stopped. So a slow minute of the machine hits all contenders alike.
* Figures are medians over rounds; ratios are medians of the per-round ratios.
* Before anything is timed, each contender's result is compared with a float64 NumPy reference.
* A first call is measured in a fresh process with empty caches; the imports are done before it and reported apart.

Modules: `workloads` says what is computed (`networks` for the training steps), `peers/` says how each contender computes
it, `worker` is the process that runs one contender, `harness` drives the workers, `report` prints the tables and writes the
document.
"""
