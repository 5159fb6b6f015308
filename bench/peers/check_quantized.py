"""Compares quantised models with transformers and compressed-tensors: ids of texts, and 24 greedy tokens after each.

  npm run -s tinymoe -- quantize moe --bits 4 --out moe-4bit
  python bench/peers/check_quantized.py moe-4bit ...

Prints a line a model, then all tokens as one line of JSON. Exits 1 where anything differs; without torch, transformers and
compressed-tensors it says so and exits 0.
"""

import argparse

from beside import add_directories, compare_greedy, greedy_texts, skip
from peer import needed


def theirs(path, _):
    """(ids, new ids) of each text. The library rounds experts to bfloat16 when it widens them; here they are not rounded."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    with torch.no_grad():
        model(torch.tensor([[0]]))  # the other matrices are widened by the first call
        widen_experts(model, path)
    return greedy_texts(model, tokenizer)


def widen_experts(model, path):
    """Puts the numbers that compressed-tensors unpacks of each expert in the place of the rounded ones."""
    import os

    import torch
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
    from safetensors import safe_open

    with safe_open(os.path.join(path, "model.safetensors"), "pt") as file:
        names = set(file.keys())

        def weight(name):
            if f"{name}_packed" not in names:
                return file.get_tensor(name).float()
            packed, scale, shape = (file.get_tensor(f"{name}_{part}") for part in ("packed", "scale", "shape"))
            bits = 32 * packed.shape[1] // int(shape[1])
            whole = unpack_from_int32(packed, bits, torch.Size(shape.tolist())).float()
            return whole * scale.float().repeat_interleave(int(shape[1]) // scale.shape[1], 1)

        for layer, block in enumerate(model.model.layers):
            experts = getattr(getattr(block, "mlp", None), "experts", None)
            if experts is None:
                continue
            for prefix, gate, up, down in (
                (f"model.layers.{layer}.block_sparse_moe.experts", "w1", "w3", "w2"),
                (f"model.layers.{layer}.mlp.experts", "gate_proj", "up_proj", "down_proj"),
            ):
                if not any(name.startswith(f"{prefix}.0.{gate}.weight") for name in names):
                    continue
                every = range(experts.gate_up_proj.shape[0])
                both = [torch.cat([weight(f"{prefix}.{e}.{part}.weight") for part in (gate, up)]) for e in every]
                downs = [weight(f"{prefix}.{e}.{down}.weight") for e in every]
                # Not as attributes: the library would copy them into the rounded ones.
                experts.__dict__["_parameters"] = {
                    "gate_up_proj": torch.nn.Parameter(torch.stack(both)),
                    "down_proj": torch.nn.Parameter(torch.stack(downs)),
                }


def main():
    parser = argparse.ArgumentParser(description="Compares quantised models with transformers: greedy tokens.")
    add_directories(parser)
    args = parser.parse_args()
    if not args.directories:
        parser.error("expected directories that tinymoe quantize wrote")
    libraries = [needed(name, otherwise=skip) for name in ("transformers", "torch", "compressed_tensors")]
    versions = {library.__name__: library.__version__ for library in libraries}
    compare_greedy("transformers", versions, [(directory, 1) for directory in args.directories], theirs)


if __name__ == "__main__":
    main()
