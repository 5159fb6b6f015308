"""Exports small models of every family in both types and layouts, and compares their logits with the transformers library's.

  python bench/peers/check_exports.py [DIR ...]      default: every checkpoint under tests/fixtures that has values of its own

Each is written as `tinymoe export` writes it, f32 and bf16, published and fused. transformers is to find every tensor in it and to leave
none over; then the logits of the reference's longest prompt are compared, computed in float32, and how far those computed in the type of
the files are from them. Prints a line a model, type and layout, then all as one line of JSON, which is what
bench/results/peers-exports.json holds: with the files' hash, so that a test without Python knows whether they are the same today. Exits 1
where anything differs; without torch and transformers it says so and exits 0.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile

from beside import ROOT, checked, sentence, skip, tinymoe
from peer import needed

torch = needed("torch", otherwise=skip)
transformers = needed("transformers", otherwise=skip)

FIXTURES = os.path.join(ROOT, "tests", "fixtures")
LAYOUTS = ["published", "fused"]
DTYPES = ["f32", "bf16"]
TOLERANCE = 2e-4  # of a logit, both in float32
# Of the logits of a position, computed in the type of the files, as a share of the largest: at the median, since near a tie of
# experts rounding chooses another.
ROUNDED = 0.2


def with_values():
    """Directories of the reference's checkpoints, but for those that hold the same weights as another."""
    with open(os.path.join(FIXTURES, "index.json")) as file:
        cases = json.load(file)["cases"]
    return [os.path.join(FIXTURES, case["dir"]) for case in cases if os.path.dirname(case["golden"]) == case["dir"]]


def prompt_of(directory):
    with open(os.path.join(directory, "golden.json")) as file:
        return json.load(file)["prompts"][-1]["input_ids"]


def hash_of(directory):
    digest = hashlib.sha256()
    for name in ["config.json", "model.safetensors"]:
        with open(os.path.join(directory, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def theirs(directory, prompt, dtype):
    """Logits [T, V] by transformers; what a class takes from nowhere or leaves over would only be warned of."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=dtype, experts_implementation="eager", output_loading_info=True
    )
    wrong = {what: sorted(names) for what, names in info.items() if names}
    if wrong:
        raise ValueError(f"not loaded whole: {wrong}")
    with torch.no_grad():
        return model.eval()(torch.tensor([prompt])).logits[0].float()


def compare(asked, ours):
    """What is stored of an export, and the last of the logits."""
    reference = theirs(asked["out"], asked["prompt"], torch.float32)
    rounded = theirs(asked["out"], asked["prompt"], "auto")
    difference = (torch.tensor(ours) - reference).abs().max().item()
    share = ((rounded - reference).abs().amax(1).median() / reference.abs().max()).item()
    row = {"dtype": asked["dtype"], "layout": asked["layout"], "sha256": hash_of(asked["out"])}
    row.update(difference=float(f"{difference:.2g}"), rounded=float(f"{share:.2g}"))
    return row, [float(f"{value:.7g}") for value in reference[-1].tolist()]


def main():
    parser = argparse.ArgumentParser(description="Compares exported models with transformers: tensors and logits.")
    parser.add_argument("directories", nargs="*", metavar="DIR", help="default: the reference's checkpoints")
    args = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        asked = [
            {"directory": path, "out": os.path.join(folder, f"{i}-{dtype}-{layout}"), "dtype": dtype, "layout": layout, "prompt": prompt_of(path)}
            for i, path in enumerate(map(checked, args.directories or with_values()))
            for dtype in DTYPES
            for layout in LAYOUTS
        ]
        models, failed = compare_all(asked, tinymoe("bench/peers/exports.ts", given=json.dumps(asked)))
    versions = {library.__name__: library.__version__ for library in (transformers, torch)}
    print(json.dumps({"library": "transformers", "versions": versions, "models": models}))
    sys.exit(1 if failed else 0)


def compare_all(asked, logits):
    """What is stored of all, and whether anything differs."""
    models, failed = {}, False
    for one, ours in zip(asked, logits, strict=True):
        name = os.path.relpath(one["directory"], FIXTURES)
        try:
            row, last = compare(one, ours)
        except Exception as error:  # whatever the library does not like about one model, the others are compared
            failed = True
            print(f"{name} {one['dtype']} {one['layout']}: could not be compared: {sentence(error)}", flush=True)
            continue
        same = row["difference"] <= TOLERANCE and row["rounded"] <= ROUNDED
        failed = failed or not same
        differences = f"largest difference of a logit {row['difference']}, in the files' type {row['rounded']}"
        print(f"{name} {row['dtype']} {row['layout']}: {differences}{'' if same else '  DIFFERENT'}", flush=True)
        model = models.setdefault(name, {"model": name, "rows": [], "lastLogits": {}})
        model["rows"].append(row)
        model["lastLogits"][row["dtype"]] = last
    return list(models.values()), failed


if __name__ == "__main__":
    main()
