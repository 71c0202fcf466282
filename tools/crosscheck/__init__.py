"""The cross-check against TensorFlow, run by tools/tensorflow_differences.py: cases.py makes the cases (calls of public functions, samples of
ops), expressions.py says which TensorFlow expression an op is, running.py runs a case on both sides with its gradients, comparing.py says
what differs, accepted.py lists the differences that are meant, document.py writes them down."""
