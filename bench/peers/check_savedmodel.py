"""Checks with TensorFlow for Python that a SavedModel made by `tinymoe export-savedmodel` gives the engine's logits.

  tinymoe export-savedmodel models/random-mixtral /tmp/served
  tinymoe logits models/random-mixtral --tokens 1,5,34 --json > /tmp/logits.json
  python3 bench/peers/check_savedmodel.py /tmp/served --tokens 1,5,34 --logits /tmp/logits.json

Both signatures are run: the whole prompt at once, and token by token with the kv-cache handed in and out. Several
--tokens, all of one length, are one batch, as for `tinymoe logits`. Exit code 1 when a logit differs by more than
--tolerance, absolutely and in proportion to its value. Without TensorFlow for Python it says so and exits 0.
"""

import argparse
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
try:
    import numpy
    import tensorflow
except ImportError as error:
    print(f"skipped: this Python has no usable TensorFlow ({error}); pip install tensorflow-cpu")
    sys.exit(0)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("saved_model", help="directory of the SavedModel")
    parser.add_argument("--tokens", action="append", required=True, help="token ids such as 1,5,34; once a sequence")
    parser.add_argument("--logits", required=True, help="what `tinymoe logits` printed for the same tokens with --json")
    parser.add_argument("--tolerance", type=float, default=1e-5, help="default: %(default)s")
    args = parser.parse_args()
    args.tokens = [[int(token) for token in sequence.split(",")] for sequence in args.tokens]
    if len({len(sequence) for sequence in args.tokens}) > 1:
        parser.error("all --tokens have to be of one length: the export takes no padding on the left")
    return args


def at_once(signatures, tokens):
    return signatures["serving_default"](input_ids=tensorflow.constant(tokens, tensorflow.int32))["logits"].numpy()


def token_by_token(signatures, tokens):
    decode = signatures["decode"]
    layers, _, heads, _, dim = decode.structured_input_signature[1]["past_keys"].shape
    keys = values = tensorflow.zeros([layers, len(tokens), heads, 0, dim])
    steps = []
    for column in numpy.array(tokens, numpy.int32).T:
        ids = tensorflow.constant(column[:, None])
        result = decode(input_ids=ids, past_keys=keys, past_values=values)
        keys, values = result["keys"], result["values"]
        steps.append(result["logits"].numpy())
    return numpy.concatenate(steps, axis=1)


def main():
    args = arguments()
    with open(args.logits, encoding="utf-8") as file:
        expected = numpy.array(json.load(file)["logits"], numpy.float32)
    signatures = tensorflow.saved_model.load(args.saved_model).signatures
    failed = False
    for name, run in (("serving_default", at_once), ("decode", token_by_token)):
        actual = run(signatures, args.tokens)
        if actual.shape != expected.shape:
            print(f"{name}: logits of shape {list(actual.shape)}, expected {list(expected.shape)} as in {args.logits}")
            failed = True
            continue
        difference = numpy.abs(actual - expected)
        wrong = not (difference <= args.tolerance * (1 + numpy.abs(expected))).all()
        print(f"{name}: largest difference {difference.max():.2e} {'WRONG' if wrong else 'ok'}")
        failed = failed or wrong
    print(f"TensorFlow {tensorflow.__version__}, Python {sys.version.split()[0]}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
