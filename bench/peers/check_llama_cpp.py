"""Compares models with llama.cpp: ids of texts by its own tokenizer, and 24 greedy tokens after each, in float32.

  python bench/peers/check_llama_cpp.py LLAMA_CPP [DIR ...]      default: every model under models/

LLAMA_CPP is the folder of its source: its own converter makes a GGUF file of each model (to_gguf.py), in a temporary folder.
The file is run by the package llama-cpp-python, whose source archive has that folder as vendor/llama.cpp.
Prints a line a model, then all tokens as one line of JSON, which is what bench/results/peers-llama-cpp.json holds.
Exits 1 where anything differs; without llama-cpp-python it says so and exits 0.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
from functools import partial

from beside import NEW_TOKENS, ROOT, TEXTS, add_directories, compare_greedy, models_of, skip
from peer import needed

# Longer than any of the texts with what follows it.
POSITIONS = 256


def convert(source, path, file):
    script = os.path.join(ROOT, "bench", "peers", "to_gguf.py")
    command = [sys.executable, script, source, path, "--outfile", file, "--outtype", "f32"]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(f"the converter failed: {run.stderr.strip().splitlines()[-1]}")


def theirs(source, path, _):
    """(ids, new ids) of each text. Its cache holds float16 by default."""
    import llama_cpp

    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "model.gguf")
        convert(source, path, file)
        float32 = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}
        model = llama_cpp.Llama(file, n_ctx=POSITIONS, n_gpu_layers=0, verbose=False, **float32)
        answers = []
        for text in TEXTS:
            ids = model.tokenize(text.encode())
            answers.append((ids, list(itertools.islice(model.generate(ids, temp=0), NEW_TOKENS))))
        return answers


def main():
    parser = argparse.ArgumentParser(description="Compares models with llama.cpp: token ids and greedy tokens.")
    parser.add_argument("source", metavar="LLAMA_CPP", help="folder of its source, with convert_hf_to_gguf.py")
    add_directories(parser)
    args = parser.parse_args()
    versions = {"llama-cpp-python": needed("llama_cpp", "llama-cpp-python", otherwise=skip).__version__}
    compare_greedy("llama.cpp", versions, [(directory, 1) for directory in models_of(args)], partial(theirs, args.source))


if __name__ == "__main__":
    main()
