"""Seeded variants of config.json through transformers' own config classes: what tests/families/variants.test.ts compares ours with.

    pip install transformers==5.24.0 torch
    python bench/peers/config_variants.py --out tests/fixtures/configs

Writes one <family>.json.gz a family: a list of {"config": ..., "fields": ...} or {"config": ..., "refused": ...}. `fields` is what the
published model's code reads of the config (config_fields.py), after the defaults, aliases and rotary conversion of the class.
"""

import argparse
import gzip
import json
import random
import tempfile
from pathlib import Path

import transformers
from config_fields import CLASSES, described
from transformers import AutoConfig, CONFIG_MAPPING, Kimi_K25Config

transformers.logging.set_verbosity_error()

# Its model_type is that of code beside the weights; transformers knows it as the decoder of a later model, and as DeepSeek-V3.
KIMI = "kimi_k2"

SIZES = {
    "vocab_size": [160, 32000, 1024],
    "hidden_size": [32, 48, 64, 4096],
    "intermediate_size": [24, 40, 96],
    "num_hidden_layers": [1, 2, 3, 5],
    "num_attention_heads": [4, 4, 4, 8],
    "num_key_value_heads": [1, 2, 4, 4, 4, 3, None],
    "head_dim": [8, 16, 32, 64, None],
    "max_position_embeddings": [256, 2048, 131072],
    "rms_norm_eps": [1e-5, 1e-6, 0.001],
}
IDS = {
    "bos_token_id": [None, 0, 1, 7],
    "eos_token_id": [None, 0, 2, [2], [2, 16, 5], []],
    "pad_token_id": [None, 0, 3],
}
# What may be there and mean nothing, to these classes or to any.
STRANGERS = {
    "num_experts": [4, 8],
    "num_local_experts": [4, 6],
    "n_routed_experts": [4, 12],
    "sliding_window": [None, None, None, 8],
    "mlp_bias": [True, False],
    "attention_bias": [True, False],
    "use_qk_norm": [True, False],
    "norm_topk_prob": [True, False],
    "first_k_dense_replace": [0, 1, 2],
    "partial_rotary_factor": [None, 0.25, 0.5, 1.0],
    "original_max_position_embeddings": [32, 64],
    "attention_dropout": [0.0, 0.1],
    "router_jitter_noise": [0.0, 0.1],
    "router_aux_loss_coef": [0.001, 0.02],
    "output_router_logits": [True, False],
    "initializer_range": [0.02],
    "use_cache": [True, False],
    "pretraining_tp": [1, 2],
    "torch_dtype": ["bfloat16", "float32"],
    "dtype": ["float16"],
    "temperature": [0.3],
    "do_sample": [True],
    "architectures": [["MixtralForCausalLM"], None],
    "transformers_version": ["4.36.0", "5.23.0"],
    "num_nextn_predict_layers": [0, 1],
    "num_mtp_layers": [1],
    "is_causal": [True, False],
    "per_layer_config": [None, {"0": {"num_key_value_heads": 2}}],
    "head_dim": [8, None],
    "clip_qkv": [8.0],
    "layer_types": [None, ["full_attention"], ["sliding_attention", "full_attention"]],
    "n_group": [2],
    "moe_top_k": [1],
    "attention_chunk_size": [None, None, 8],
    "quantization_config": [None, None, {"quant_method": "gptq", "bits": 4}],
    "auto_map": [{"AutoConfig": "configuration.Config"}],
    "a_field_that_nobody_knows": [1, "x", None],
    "hidden_act": ["silu", "swish", "swish", "gelu", None],
    "tie_word_embeddings": [True, True, False, None],
}
ROUTED = {"num_experts_per_tok": [1, 2, 2, 4], "norm_topk_prob": [True, False]}
LOCAL = {"num_local_experts": [4, 8], "num_experts_per_tok": [1, 2, 4, 5]}
DEEPSEEK = {
    **ROUTED,
    "n_routed_experts": [8, 16],
    "n_group": [1, 1, 2, 4, 3],
    "topk_group": [1, 1, 2],
    "n_shared_experts": [0, 1, 2],
    "moe_intermediate_size": [16, 24],
    "first_k_dense_replace": [0, 1, 2, 9],
    "routed_scaling_factor": [1.0, 1.5, 2.5],
}
LATENT = {
    **DEEPSEEK,
    "head_dim": [],
    "num_key_value_heads": [4, 8, None],
    "q_lora_rank": [None, 16, 24],
    "kv_lora_rank": [16, 24],
    "qk_nope_head_dim": [8, 16],
    "qk_rope_head_dim": [4, 8],
    "v_head_dim": [8, 12],
    "attention_bias": [True, False],
}
V3 = {**LATENT, "rope_interleave": [True, True, False], "topk_method": ["noaux_tc", "greedy"], "scoring_func": ["sigmoid"]}
QWEN = {
    **ROUTED,
    "num_experts": [4, 8],
    "moe_intermediate_size": [16, 24],
    "decoder_sparse_step": [1, 1, 2],
    "mlp_only_layers": [[], None, [0], [1, 2]],
    "use_sliding_window": [True, False],
    "sliding_window": [None, 8, 4096],
    "max_window_layers": [0, 1, 28],
}


def types(*kinds):
    """One a layer, mostly as many as there are layers."""
    return lambda rng, layers: [rng.choice(kinds) for _ in range(layers if rng.random() < 0.9 else 2)]


EXPERTS = {
    "mixtral": {**LOCAL, "sliding_window": [None, 8]},
    "llama": {"attention_bias": [True, False], "mlp_bias": [True, False]},
    "glm4_moe": {**DEEPSEEK, "use_qk_norm": [True, False], "attention_bias": [True, False]},
    "deepseek_v3": V3,
    KIMI: V3,
    "deepseek_v2": {**LATENT, "mlp_bias": [True, False], "topk_method": ["greedy", "group_limited_greedy"]},
    "qwen3_moe": {**QWEN, "attention_bias": [True, False]},
    "qwen2_moe": {
        **QWEN,
        "qkv_bias": [True, False],
        "shared_expert_intermediate_size": [16, 40],
        "layer_types": [None, None, types("full_attention"), types("full_attention", "sliding_attention")],
    },
    "olmoe": {**ROUTED, "num_experts": [4, 8], "clip_qkv": [None, 0.5, 8.0], "attention_bias": [True, False]},
    "gpt_oss": {
        **LOCAL,
        "head_dim": [8, 16, 32],
        "sliding_window": [8, 128, 128, 128, None],
        "swiglu_limit": [7.0, 1.5],
        "swiglu_alpha": [1.702, 1.0],
        "attention_bias": [True, False],
        "layer_types": [None, None, types("full_attention", "sliding_attention"), types("full_attention", "chunked_attention")],
    },
    "granitemoe": {
        **LOCAL,
        "attention_bias": [True, False],
        "embedding_multiplier": [1.0, 12.0, 12, 0.5],
        "residual_multiplier": [1.0, 0.22],
        "attention_multiplier": [1.0, 0.015625],
        "logits_scaling": [1.0, 6.0, 8],
    },
    "phimoe": {
        **LOCAL,
        "attention_bias": [True, False],
        "lm_head_bias": [True, False],
        "router_jitter_noise": [0.01, 0.0, 0.3],
        "sliding_window": [None, None, 8],
    },
    "llama4_text": {
        **LOCAL,
        "head_dim": [8, 16, 32],
        "attention_bias": [True, False],
        "intermediate_size_mlp": [32, 48],
        "interleave_moe_layer_step": [1, 1, 2],
        "moe_layers": [None, None, None, [], [0], [1, 2, 9]],
        "no_rope_layers": [None, [], types(0, 1), types(0, 1)],
        "no_rope_layer_interval": [2, 4],
        "use_qk_norm": [True, False],
        "attention_chunk_size": [8, 8192, 8, None],
        "layer_types": [None, None, types("full_attention", "chunked_attention"), types("full_attention", "sliding_attention")],
        "attn_temperature_tuning": [True, False],
        "floor_scale": [4, 8192],
        "attn_scale": [0.1, 0.5],
    },
    "dbrx": {},
}
DBRX = {
    "d_model": [32, 48, 64],
    "n_heads": [4, 4, 8],
    "n_layers": [1, 2, 3],
    "max_seq_len": [256, 2048],
    "vocab_size": [160, 32000],
    "resid_pdrop": [0.0, 0.1],
    "emb_pdrop": [0.0],
    "num_key_value_heads": [2, 4],
    "hidden_size": [32],
    "num_attention_heads": [4],
    "num_hidden_layers": [2],
    "max_position_embeddings": [512],
}
ATTENTION = {"kv_n_heads": [1, 2, 4], "clip_qkv": [8.0, 8, None], "rope_theta": [1e4, 5e5, 5e5], "attn_pdrop": [0.0, 0.1]}
FFN = {
    "ffn_hidden_size": [24, 40],
    "moe_num_experts": [4, 8],
    "moe_top_k": [1, 2, 4, 5],
    "moe_normalize_expert_weights": [1.0, 2.0, None],
    "moe_jitter_eps": [None, 0.01],
    "moe_loss_weight": [0.05],
    "ffn_act_fn": [None, {"name": "silu"}, {"name": "gelu"}, {}],
    "hidden_size": [32, 6144],
}
YARN = {
    "original_max_position_embeddings": [32, 128],
    "beta_fast": [32, 16.0, None],
    "beta_slow": [1, 2.0],
    "truncate": [True, False],
    "mscale": [0.7, 1.0, 0],
    "mscale_all_dim": [0.7, 1.0, 0],
    "attention_factor": [1.5],
}
WRONG = ["32", -1, 1.5, True, [], {}]


def rope_settings(rng, longer=()):
    kind = rng.choice(["default"] * 4 + ["linear"] * 3 + ["llama3"] * 4 + ["yarn"] * 4 + ["dynamic", *longer])
    rope = {rng.choice(["rope_type", "rope_type", "type"]): kind} if rng.random() < 0.9 else {}
    if kind != "default" or rng.random() < 0.2:
        rope["factor"] = rng.choice([2.0, 4.0, 8.0])
    if kind == "llama3":
        rope.update(low_freq_factor=1.0, high_freq_factor=4.0)
        if rng.random() < 0.7:
            rope["original_max_position_embeddings"] = rng.choice([32, 128])
    if kind == "yarn" or rng.random() < 0.1:
        for name, values in YARN.items():
            if rng.random() < 0.3:
                rope[name] = rng.choice(values)
    if kind == "longrope" or (longer and rng.random() < 0.3):
        width = rng.choice([4, 4, 4, 8])
        factors = [round(1 + rng.random(), 2) for _ in range(width)]
        rope.update(short_factor=factors, long_factor=[2 * factor for factor in factors])
        rope.update(short_mscale=rng.choice([1.0, 1.25]), long_mscale=1.5, original_max_position_embeddings=64)
    if rng.random() < 0.6:
        rope["rope_theta"] = rng.choice([1e4, 5e5, 7.0, 1000000])
    if rng.random() < 0.2:
        rope["partial_rotary_factor"] = rng.choice([0.25, 0.5, 1.0])
    if rng.random() < 0.1 and len(rope) > 1:
        del rope[rng.choice(list(rope))]
    return rope


def variant(family, rng):
    """A config of plain values, then a few changes: fields left out, given twice, in another dialect, strange or wrong."""
    config = {"model_type": family}
    sizes = DBRX if family == "dbrx" else SIZES
    fields = {**sizes, **IDS, **EXPERTS[family]}
    for name, values in fields.items():
        # dbrx's second names, which its class takes, are rare
        if values and rng.random() < (0.06 if family == "dbrx" and name in SIZES and name != "vocab_size" else 0.85):
            config[name] = rng.choice(values)
    if family == "dbrx":
        config["tie_word_embeddings"] = False
        for name, table in {"attn_config": ATTENTION, "ffn_config": FFN}.items():
            config[name] = {key: rng.choice(values) for key, values in table.items() if rng.random() < 0.8}
        if rng.random() < 0.7:  # one base for both, else the class leaves out attn_config's
            config["attn_config"]["rope_theta"] = config["rope_theta"] = rng.choice([1e4, 5e5])
    elif rng.random() < 0.9:
        fitting(family, config)
    for name in rng.sample(list(STRANGERS), rng.randint(0, 4)):
        config[name] = rng.choice(STRANGERS[name])
    if family != "dbrx" and rng.random() < 0.5:
        config["rope_theta"] = rng.choice([1e4, 1e6, 1000000, 5e5])
    longer = ["longrope"] * 8 if family == "phimoe" else []
    for name in ["rope_parameters", "rope_scaling"]:
        if rng.random() < 0.45:
            config[name] = rng.choice([None, {}, *(rope_settings(rng, longer) for _ in range(3))])
    layers = config.get("num_hidden_layers") or 2
    config = {name: value(rng, layers) if callable(value) else value for name, value in config.items()}
    if rng.random() < 0.1:
        name = rng.choice(list(config))
        if name not in ["model_type", "auto_map", "torch_dtype"]:
            config[name] = rng.choice(WRONG)
    if rng.random() < 0.05:
        config[rng.choice(list(sizes))] = None
    items = list(config.items())
    rng.shuffle(items)
    return dict(items)


def fitting(family, config):
    """Numbers that go together, where chance chose others: a model could be made of them."""
    default = CONFIG_MAPPING[known(family)]()
    given = lambda name: config[name] if config.get(name) is not None else getattr(default, name)
    if given("num_attention_heads") % (given("num_key_value_heads") or 1):
        config["num_key_value_heads"] = given("num_attention_heads")
    if given("hidden_size") % given("num_attention_heads"):
        config["hidden_size"] = given("num_attention_heads") * 8
    if hasattr(default, "n_group"):
        if config.get("n_group") and given("n_routed_experts") % given("n_group"):
            config["n_group"] = 2
        if config.get("topk_group") and config.get("n_group"):
            config["topk_group"] = min(given("topk_group"), given("n_group"))
        if (given("num_experts_per_tok") or 1) > (given("topk_group") or 1) * given("n_routed_experts") // (given("n_group") or 1):
            config["num_experts_per_tok"] = 1


def known(family):
    return "deepseek_v3" if family == KIMI else family


def outcome(config, folder):
    family = config["model_type"]
    (folder / "config.json").write_text(json.dumps(config))
    try:
        read = Kimi_K25Config(text_config=dict(config)).text_config if family == KIMI else AutoConfig.from_pretrained(folder)
        if read.rope_parameters["rope_type"] != "default":
            read.standardize_rope_params()  # as the rotary embedding does before it computes
        return {"fields": described(known(family), read)}
    except Exception as error:
        message = " ".join(str(error).split()).split(": {'")[0]  # a set's order changes from run to run
        return {"refused": f"{type(error).__name__}: {message}"[:200]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--families", nargs="+", default=[*CLASSES, KIMI], metavar="FAMILY")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=19)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write_all(arguments, Path(folder))


def write_all(arguments, folder):
    for family in arguments.families:
        rng = random.Random(f"{arguments.seed} {family}")
        variants = [variant(family, rng) for _ in range(arguments.count)]
        cases = [{"config": config, **outcome(config, folder)} for config in variants]
        text = json.dumps({"transformers": transformers.__version__, "cases": cases}, separators=(",", ":"))
        file = arguments.out / f"{family}.json.gz"
        with file.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
            packed.write(text.encode())
        refused = sum("refused" in case for case in cases)
        print(f"{file}: {len(cases)} variants, {refused} refused by transformers {transformers.__version__}")


if __name__ == "__main__":
    main()
