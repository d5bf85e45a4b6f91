"""A model repository in Triton Inference Server: `serve_triton.py HTTP_PORT GRPC_PORT FOLDER`.

Every folder with a `config.pbtxt` is taken as it is. The package of the server has no ONNX Runtime backend; the one in
`triton_onnxruntime.py` stands in its place, so that reading the repository, checking requests and both protocols are
Triton's own.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).parent


def main(http_port: str, grpc_port: str, models: str) -> int:
    """Serve until the process is ended, or whoever started it."""
    found = importlib.util.find_spec("pytriton")  # importing it takes packages that the server does not need
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    server = package / "tritonserver"
    with tempfile.TemporaryDirectory(prefix="triton-backends-") as folder:
        backends = Path(folder)  # of copies: Triton refuses links that lead out of it
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        shutil.copytree(server / "backends" / "python", backends / "python")
        shutil.copytree(server / "python_backend_stubs" / version, backends / "python", dirs_exist_ok=True)
        (backends / "onnxruntime").mkdir()
        shutil.copy(HERE / "triton_onnxruntime.py", backends / "onnxruntime" / "model.py")
        libraries = (str(package.parent / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR") or "")
        process = subprocess.Popen(
            [
                str(server / "bin" / "tritonserver"),
                f"--model-repository={models}",
                f"--backend-directory={backends}",
                "--http-address=127.0.0.1",
                f"--http-port={http_port}",
                "--grpc-address=127.0.0.1",
                f"--grpc-port={grpc_port}",
                "--allow-metrics=false",
                "--exit-timeout-secs=5",
            ],
            stdin=subprocess.DEVNULL,
            # The interpreter in Triton's processes does not know the environment that this one runs in.
            env={**os.environ, "LD_LIBRARY_PATH": ":".join(libraries), "EDGEAI_PACKAGES": str(package.parent)},
        )
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        threading.Thread(target=_end_with_parent, args=(process,), daemon=True).start()
        return process.wait()


def _end_with_parent(process: subprocess.Popen[bytes]) -> None:
    sys.stdin.read()
    process.terminate()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
