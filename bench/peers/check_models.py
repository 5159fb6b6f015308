"""Compares models with the transformers library: token ids of texts, all logits, and 24 greedy tokens after each, in float32.

  python bench/peers/check_models.py [DIR ...]      default: every model under models/

Prints two lines a model, then all tokens as one line of JSON, which is what bench/results/peers-transformers.json holds. Exits 1 where
anything differs or a logit is further away than --tolerance. Without torch and transformers it says so and exits 0.
"""

import argparse
import json
import os
import sys

from beside import TEXTS, add_directories, checked, compare_greedy, greedy_texts, models_of, sentence, skip, tinymoe
from peer import needed

torch = needed("torch", otherwise=skip)
transformers = needed("transformers", otherwise=skip)


def compare(directory):
    """Number of texts whose ids differ, of all; largest difference of a logit; tokens compared."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    theirs = [tokenizer(text).input_ids for text in TEXTS]
    ours = tinymoe("bench/peers/token-ids.ts", directory, given=json.dumps(TEXTS))
    different = sum(a != b for a, b in zip(ours, theirs, strict=True))

    flags = [flag for ids in theirs for flag in ("--tokens", ",".join(map(str, ids)))]
    logits = tinymoe("src/cli/main.ts", "logits", directory, *flags, "--json")["logits"]
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    worst = 0.0
    with torch.no_grad():
        for ids, own in zip(theirs, logits, strict=True):
            reference = model(torch.tensor([ids])).logits[0]
            worst = max(worst, (torch.tensor(own) - reference).abs().max().item())
    return different, worst, sum(map(len, theirs))


def theirs(path, _):
    """(ids, new ids) of each text."""
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    return greedy_texts(model, transformers.AutoTokenizer.from_pretrained(path))


def main():
    parser = argparse.ArgumentParser(description="Compares models with transformers: token ids and logits.")
    add_directories(parser)
    parser.add_argument("--tolerance", type=float, default=1e-3, help="largest difference of a logit (default: 1e-3)")
    args = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    failed = False
    for directory in models_of(args):
        name = os.path.relpath(directory)
        try:
            different, worst, tokens = compare(checked(directory))
        except Exception as error:  # whatever the library does not like about one model, the others are compared
            failed = True
            print(f"{name}: could not be compared: {sentence(error)}")
            continue
        fine = different == 0 and worst <= args.tolerance
        failed = failed or not fine
        texts = "token ids equal" if different == 0 else f"token ids of {different} of {len(TEXTS)} texts DIFFER"
        verdict = "" if worst <= args.tolerance else f", MORE than {args.tolerance:g}"
        print(f"{name}: {texts}; largest difference of a logit {worst:.2g}{verdict} ({tokens} tokens)")
    if failed:
        sys.exit(1)
    versions = {library.__name__: library.__version__ for library in (transformers, torch)}
    compare_greedy("transformers", versions, [(directory, 1) for directory in models_of(args)], theirs)


if __name__ == "__main__":
    main()
