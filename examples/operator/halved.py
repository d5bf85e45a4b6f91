"""An operator: weights rounded to half precision, computed with as before."""

import numpy as np
import onnx
from onnx import numpy_helper

from pytest_edgeai import NoParameters, Operator


class Halved(Operator[NoParameters]):
    """Rounds each weight to the nearest number of 16 bits."""

    name = "halved"
    takes = "graph"  # the exported graph, or that of the step before it in a chain
    libraries = ("onnx",)  # their versions decide the artifact, as this file does

    def build(self, job):
        """Write `model.onnx` into the job's folder, and return what is to be known about it."""
        model = onnx.load(job.base.folder / "model.onnx")
        rounded = 0
        for tensor in model.graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.dtype == np.float32:
                half = array.astype(np.float16).astype(np.float32)
                rounded += int(np.sum(half != array))
                tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
        onnx.save(model, job.folder / "model.onnx")
        return {"engine": "onnx", "rounded_weights": rounded}
