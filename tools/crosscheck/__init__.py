"""The cross-check against TensorFlow, run by tools/tensorflow_differences.py.

cases.py makes the cases: calls of public functions and samples of ops. expressions.py says which TensorFlow expression an op is.
running.py runs a case on one side, with its gradients. comparing.py says what differs, proofs.py who is right, accepted.py which ones
are meant. findings.py joins them; document.py writes them down.
"""
