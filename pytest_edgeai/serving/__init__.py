"""What runs inside a tier: an inference server, small enough for a phone-sized container.

It speaks the Open Inference Protocol v2 over HTTP and runs ONNX graphs in ONNX Runtime. It imports neither torch,
transformers nor pytest, and knows nothing of trials, operators or statistics. `python -m pytest_edgeai.serving`
starts it.
"""
