"""Times a whole model of the transformers library: prefill, and greedy decode through its cache.

The last line printed is JSON, in the form that bench/peers/whole-model.ts prints of tinymoe. On the processor, in
float32 unless --dtype says otherwise. Runs of the implementations take turns, so that a busy moment meets them alike.
"""

import argparse
import time

from peer import IMPLEMENTATIONS, needed, print_report, stop

torch = needed("torch")
transformers = needed("transformers")


def prompt_ids(length, sequence, vocab_size):
    """Ids that whole-model.ts makes too: a random number of 31 bits after the other (Park and Miller 1988)."""
    state, ids = sequence + 1, []
    for _ in range(length + 8):
        state = state * 48271 % 2147483647
        ids.append(state % vocab_size)
    return ids[8:]


def prompt_lengths(prompt, batch):
    """Ragged: from the whole prompt down to about half of it."""
    return [prompt - (b * prompt) // (2 * batch) for b in range(batch)]


def prefill(model, ids, mask):
    """Logits of every sequence's last token, and the cache."""
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    out = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1)
    return out.logits[:, -1], out.past_key_values


def run_prefill(model, ids, mask):
    start = time.perf_counter()
    logits, _ = prefill(model, ids, mask)
    tokens = logits.argmax(-1).tolist()
    return (time.perf_counter() - start) * 1000, [tokens]


def run_decode(model, ids, mask, steps):
    """Milliseconds of `steps` greedy steps behind a prompt, which is not counted; and the tokens they chose."""
    logits, cache = prefill(model, ids, mask)
    token = logits.argmax(-1, keepdim=True)
    ragged = bool((mask == 0).any())  # a mask of ones only costs time
    chosen = []
    start = time.perf_counter()
    for _ in range(steps):
        mask = torch.cat([mask, torch.ones_like(token)], 1)
        extra = {"attention_mask": mask, "position_ids": mask.sum(1, keepdim=True) - 1} if ragged else {}
        out = model(input_ids=token, past_key_values=cache, use_cache=True, logits_to_keep=1, **extra)
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        chosen.append(token.flatten().tolist())
    return (time.perf_counter() - start) * 1000, chosen


def padded(lengths, vocab_size):
    """Prompts padded on the left: ids and mask [B, longest]."""
    longest = max(lengths)
    ids = [[0] * (longest - n) + prompt_ids(n, b, vocab_size) for b, n in enumerate(lengths)]
    mask = [[0] * (longest - n) + [1] * n for n in lengths]
    return torch.tensor(ids), torch.tensor(mask)


def cases(args, vocab_size):
    """What is timed, by name: a function of the model that gives milliseconds and tokens."""
    made = {}
    if args.prefill:
        ids, mask = padded([args.prefill], vocab_size)
        made["prefill"] = (args.prefill, 1, lambda model: run_prefill(model, ids, mask))
    if args.decode:
        batch_ids, batch_mask = padded(prompt_lengths(args.prompt, args.batch), vocab_size)
        made["decode"] = (
            args.decode * args.batch,
            args.batch,
            lambda model: run_decode(model, batch_ids, batch_mask, args.decode),
        )
    return made


def measure(model, args):
    """One row a case and implementation; the first run of each warms up."""
    rows = []
    for kind, (tokens, batch, run) in cases(args, model.config.vocab_size).items():
        samples = {name: [] for name in args.experts}
        chosen = {}
        for turn in range(args.samples + 1):
            for name in args.experts:
                model.set_experts_implementation(name)
                ms, chosen[name] = run(model)
                if turn > 0:
                    samples[name].append(ms)
        for name in args.experts:
            row = {"kind": kind, "implementation": name, "batch": batch, "tokens": tokens}
            rows.append({**row, "samplesMs": samples[name], "chosen": chosen[name]})
    return rows


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a Hugging Face directory")
    parser.add_argument("--prefill", type=int, default=512, help="tokens of the prefill case; 0 leaves it out")
    parser.add_argument("--decode", type=int, default=64, help="steps of the decode case; 0 leaves it out")
    parser.add_argument("--prompt", type=int, default=64, help="tokens in the cache before the first step")
    parser.add_argument("--batch", type=int, default=1, help="sequences of the decode case, of different lengths")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--experts", nargs="+", default=IMPLEMENTATIONS, help="experts implementations")
    return parser.parse_args()


def main():
    args = parse()
    torch.set_num_threads(args.threads)
    transformers.utils.logging.disable_progress_bar()
    try:
        load = transformers.AutoModelForCausalLM.from_pretrained
        model = load(args.model, dtype=getattr(torch, args.dtype), local_files_only=True).eval()
    except (OSError, ValueError) as error:
        stop(f"transformers does not load {args.model} ({str(error).splitlines()[0]})")
    with torch.inference_mode():
        rows = measure(model, args)
    print_report(args.threads, rows, [transformers, torch])


main()
