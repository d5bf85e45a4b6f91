"""Partition: where an ONNX graph can be cut in two, which cut to take, and the standalone parts that a cut makes."""
