"""The reference runs: one plain record each.

`run` is the run file as a user would write it. What else a record says is how the oracle starts:
`b` "random" draws lora_B, so that A has a gradient from the first step ("zero" is PEFT's own start);
`perturb` moves the saved whole modules away from the base model's, so that a run which took the
base's instead of the adapter's is seen.
"""


def case(name, base, data, about, lora, train, *, core=False, b="random", perturb=False):
    train = {"max_steps": 30, "learning_rate": 3e-3, "shuffle": False, "max_length": 64} | train
    train = {key: value for key, value in train.items() if value is not None}
    run = {"lora": lora, "train": train}
    return {
        "name": name, "base": base, "data": f"{data}.jsonl", "about": about, "core": core,
        "b": b, "perturb": perturb, "run": run,
    }  # fmt: skip


ALL = {"target_modules": "all-linear"}
MLP = ["gate_proj", "up_proj", "down_proj"]

CASES = [
    # llama
    case("llama_all_linear", "llama", "mixed",
         "Grouped heads, untied; every linear; rows from 1 token to max_length; two micro-batches a step",
         {"r": 8, "lora_alpha": 16, **ALL},
         {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 2, "max_length": 48}, core=True),
    case("llama_defaults", "llama", "short",
         "A run file that says next to nothing: PEFT's targets, batch 8, linear decay, clip at 1, B zero",
         {}, {}, b="zero"),
    case("llama_tied_head", "llama_tied", "mixed",
         "Tied head trained whole beside LoRA (the embedding stays); tight clip; cosine with warm-up",
         {"r": 3, "lora_alpha": 6, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
          "modules_to_save": ["lm_head"], "task_type": "CAUSAL_LM"},
         {"per_device_train_batch_size": 2, "max_grad_norm": 0.1, "lr_scheduler_type": "cosine", "warmup_steps": 4,
          "weight_decay": 0.1}, core=True),
    case("llama_untied_head", "llama", "short", "Untied head trained whole, from a saved head that is not the base's",
         {"r": 8, "modules_to_save": ["lm_head"]}, {"per_device_train_batch_size": 5}, b="zero", perturb=True),
    case("llama_norms", "llama", "mixed", "modules_to_save norm: a plain suffix, so every layer norm too",
         {"r": 4, "lora_alpha": 4, "target_modules": ["down_proj"], "modules_to_save": ["norm"]},
         {"per_device_train_batch_size": 4, "weight_decay": 0.1, "lr_scheduler_type": "constant"}, perturb=True),
    case("llama_whole_down", "llama", "short", "A linear of every layer trained whole, between adapted ones",
         {"r": 2, "target_modules": ["gate_proj", "q_proj"], "modules_to_save": ["down_proj"]},
         {"per_device_train_batch_size": 3, "weight_decay": 0.05, "learning_rate": 1e-3}),
    case("llama_saved_wins", "llama", "short", "A linear both targeted and saved: it is saved, and gets no LoRA",
         {"r": 4, **ALL, "modules_to_save": ["down_proj"]}, {"per_device_train_batch_size": 4, "learning_rate": 1e-3}),
    case("llama_lonely_targets", "llama", "lonely",
         "One row a step, the first with a single target: query and key gradients are exactly zero there",
         {"r": 4, "target_modules": ["q_proj", "k_proj", "v_proj"]},
         {"per_device_train_batch_size": 1}),
    case("llama_bias_rslora", "llama_bias", "mixed", "Biases in attention and MLP, one key/value head; rsLoRA, rank 16",
         {"r": 16, "lora_alpha": 8, "use_rslora": True, **ALL},
         {"per_device_train_batch_size": 4, "lr_scheduler_type": "constant_with_warmup", "warmup_ratio": 0.1},
         core=True),
    case("llama_bias_whole", "llama_bias", "short", "Biased linears trained whole: the bias trains, without decay",
         {"r": 4, "target_modules": MLP, "modules_to_save": ["o_proj", "v_proj"]},
         {"per_device_train_batch_size": 2, "weight_decay": 0.2, "learning_rate": 1e-3}),
    case("llama_rank1", "llama", "mixed", "Rank 1, batch 1, no clipping, betas of its own",
         {"r": 1, "lora_alpha": 2, **ALL},
         {"per_device_train_batch_size": 1, "max_grad_norm": 0, "adam_beta1": 0.8, "adam_beta2": 0.95,
          "adam_epsilon": 1e-4}),
    case("llama_rank_over", "llama", "short", "A loaded rank above min(in, out) of k_proj and v_proj stays as it is",
         {"r": 24, "lora_alpha": 24, "target_modules": ["k_proj", "v_proj"]}, {"per_device_train_batch_size": 4}),
    case("llama_pattern", "llama_tied", "short", "target_modules as a full-match pattern; B zero; warmup_steps as a fraction",
         {"r": 8, "lora_alpha": 32, "target_modules": r".*layers\.(0|2)\.(self_attn\.q_proj|mlp\.(up|down)_proj)"},
         {"per_device_train_batch_size": 4, "weight_decay": 0.1, "lr_scheduler_type": "cosine", "warmup_steps": 0.12},
         b="zero"),
    case("llama_exclude", "llama_tied", "short", "exclude_modules takes a layer's and a kind's modules out",
         {"r": 4, "target_modules": ["q_proj", "v_proj", "up_proj"],
          "exclude_modules": ["layers.1.self_attn.q_proj", "up_proj"]},
         {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}),
    case("llama_exclude_pattern", "llama_tied", "short", "exclude_modules as a pattern against all-linear",
         {"r": 4, **ALL, "exclude_modules": r".*layers\.[02]\..*|.*mlp.*"}, {"per_device_train_batch_size": 2}),
    case("llama_layers", "llama_tied", "mixed", "layers_to_transform and layers_pattern",
         {"r": 8, "target_modules": ["o_proj", "gate_proj"], "layers_to_transform": [1, 2], "layers_pattern": "layers"},
         {"per_device_train_batch_size": 3}),
    case("llama_one_layer", "llama_tied", "short", "layers_to_transform as one number: nothing below needs a backward",
         {"r": 8, "target_modules": ["q_proj", "down_proj"], "layers_to_transform": 2},
         {"per_device_train_batch_size": 3}),
    case("llama_rank_pattern", "llama", "mixed", "rank_pattern and alpha_pattern, whole names and patterns",
         {"r": 4, "lora_alpha": 8, **ALL,
          "rank_pattern": {"layers.0.self_attn.q_proj": 7, r"layers\.\d+\.mlp\.down_proj": 2},
          "alpha_pattern": {"v_proj": 3, "model.layers.1.mlp.up_proj": 20}},
         {"per_device_train_batch_size": 4, "max_grad_norm": 0.5}, core=True),
    case("llama_gaussian", "llama_tied", "short", "Gaussian start, epochs instead of steps, a short last batch",
         {"r": 8, "init_lora_weights": "gaussian", "target_modules": ["q_proj", "v_proj"]},
         {"max_steps": None, "num_train_epochs": 15, "per_device_train_batch_size": 4,
          "gradient_accumulation_steps": 2}, b="zero"),
    case("llama_fractional_epochs", "llama", "short", "Epochs with a fraction, rounded up to steps; short last batch and accumulation",
         {"r": 4, **ALL},
         {"max_steps": None, "num_train_epochs": 14.6, "per_device_train_batch_size": 3,
          "gradient_accumulation_steps": 3, "lr_scheduler_type": "cosine", "warmup_ratio": 0.15}),
    case("llama_lm_head_lora", "llama", "short", "LoRA on the head itself",
         {"r": 4, "target_modules": ["lm_head", "v_proj"]}, {"per_device_train_batch_size": 5}),
    case("llama_linear", "llama_linear", "long", "Linear rotary scaling, Transformers 4's config.json",
         {"r": 8, **ALL}, {"per_device_train_batch_size": 2}, core=True),
    case("llama_llama3", "llama_llama3", "long", "llama3 rotary scaling, three safetensors with an index",
         {"r": 8, "target_modules": ["q_proj", "k_proj", "up_proj"]},
         {"per_device_train_batch_size": 2, "max_length": 96}, core=True),
    case("llama_yarn", "llama_yarn", "long", "yarn rotary scaling",
         {"r": 8, "target_modules": ["q_proj", "k_proj", "o_proj"]},
         {"per_device_train_batch_size": 3, "max_length": 96}, core=True),
    case("llama_odd", "llama_odd", "mixed", "No width a multiple of 4; rank 3",
         {"r": 3, "lora_alpha": 5, **ALL}, {"per_device_train_batch_size": 5}),
    case("llama_odd_whole", "llama_odd", "short", "No width a multiple of 4: head, down projection and norms whole",
         {"r": 5, "target_modules": ["q_proj", "up_proj"], "modules_to_save": ["lm_head", "down_proj", "norm"]},
         {"per_device_train_batch_size": 3, "learning_rate": 1e-3, "weight_decay": 0.1}),
    case("llama_bos", "llama_bos", "mixed", "The tokenizer adds a beginning: an empty row has a target; padded vocabulary",
         {"r": 8, "target_modules": ["self_attn.o_proj", "mlp.up_proj"]},
         {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}),
    case("llama_short_max_length", "llama", "mixed", "max_length 2: one target a row",
         {"r": 4, **ALL}, {"per_device_train_batch_size": 5, "max_length": 2}),
    case("llama_bf16", "llama_bf16", "mixed", "bf16 weights, against PEFT on the upcast ones",
         {"r": 8, **ALL}, {"per_device_train_batch_size": 3}, core=True),
    case("llama_bf16_head", "llama_bf16", "short", "bf16 weights, head and norms trained whole in f32",
         {"r": 8, "modules_to_save": ["lm_head", "norm"]}, {"per_device_train_batch_size": 3}, b="zero"),
    # mistral
    case("mistral_window", "mistral", "mixed", "A window of 6, shorter than the rows; warm-up, decay, accumulation",
         {"r": 8, "lora_alpha": 16, **ALL},
         {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "warmup_steps": 5, "weight_decay": 0.1},
         core=True),
    case("mistral_defaults", "mistral_defaults", "short", "Head count, window and rotary base left to the family",
         {"r": 8}, {"per_device_train_batch_size": 4}, b="zero"),
    case("mistral_rslora", "mistral", "long", "rsLoRA with a rank_pattern: each rank has its scale",
         {"r": 4, "use_rslora": True, "target_modules": ["k_proj", "gate_proj"], "rank_pattern": {"gate_proj": 9}},
         {"per_device_train_batch_size": 2, "lr_scheduler_type": "constant"}),
    # qwen2
    case("qwen2_layers", "qwen2", "mixed", "Biased q, k, v; tied; layers_to_transform; rsLoRA",
         {"r": 8, "use_rslora": True, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
          "layers_to_transform": [1], "bias": "none"},
         {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}, core=True),
    case("qwen2_whole_k", "qwen2", "short", "A biased k_proj trained whole: rotary gives its bias a gradient",
         {"r": 4, "target_modules": ["v_proj"], "modules_to_save": ["k_proj"]},
         {"per_device_train_batch_size": 4, "learning_rate": 1e-3}),
    case("qwen2_window", "qwen2_window", "long", "The upper two layers slide (max_window_layers), yarn, Transformers 4",
         {"r": 6, **ALL}, {"per_device_train_batch_size": 2}),
    case("qwen2_bf16", "qwen2_bf16", "mixed", "bf16 biases too",
         {"r": 8, "target_modules": ["q_proj", "v_proj", "down_proj"]}, {"per_device_train_batch_size": 4}),
    # qwen3
    case("qwen3_all_linear", "qwen3", "mixed", "q/k norm, head_dim beside hidden/heads; alpha_pattern",
         {"r": 8, "lora_alpha": 16, **ALL, "alpha_pattern": {"q_proj": 4}},
         {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 2}, core=True),
    case("qwen3_norms", "qwen3", "short", "modules_to_save norm takes q_norm and k_norm as well",
         {"r": 4, "target_modules": ["o_proj"], "modules_to_save": ["norm"]},
         {"per_device_train_batch_size": 3, "weight_decay": 0.1}),
    case("qwen3_window", "qwen3_window", "mixed", "layer_types: sliding, full, sliding; tied head trained whole",
         {"r": 8, "target_modules": ["k_proj", "v_proj"], "modules_to_save": ["lm_head"]},
         {"per_device_train_batch_size": 4}),
    case("qwen3_defaults", "qwen3_defaults", "short", "A head of 128 by default",
         {"r": 12, "lora_alpha": 12, "target_modules": ["q_proj", "o_proj"]},
         {"per_device_train_batch_size": 4, "learning_rate": 2e-3}),
    # gpt2
    case("gpt2_all_linear", "gpt2", "mixed", "Conv1D, tied, learned positions; accumulation; no clipping",
         {"r": 8, "lora_alpha": 16, **ALL},
         {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 2, "max_grad_norm": 0}, core=True),
    case("gpt2_defaults", "gpt2", "short", "PEFT's target for the family, B zero, fan_in_fan_out stated",
         {"fan_in_fan_out": True}, {}, b="zero"),
    case("gpt2_gelu", "gpt2_gelu", "short", "Exact gelu, few targets a step to tell it from the other; untied; an inner width of its own",
         {"r": 8, "target_modules": ["mlp.c_proj", "c_fc"]}, {"per_device_train_batch_size": 1, "adam_epsilon": 1e-3}, core=True),
    case("gpt2_gelu_new", "gpt2_f16", "short", "Few targets a step, so that one gelu is told from the other",
         {"r": 8, "target_modules": ["mlp.c_proj", "c_fc"]}, {"per_device_train_batch_size": 1, "adam_epsilon": 1e-3}),
    case("gpt2_whole", "gpt2_gelu", "short", "A Conv1D, the layer norms and the untied head trained whole",
         {"r": 4, "target_modules": ["c_attn"], "modules_to_save": ["c_fc", "ln_1", "ln_2", "ln_f", "lm_head"]},
         {"per_device_train_batch_size": 3, "weight_decay": 0.1, "learning_rate": 1e-3}, perturb=True),
    case("gpt2_tied_head", "gpt2", "short", "Tied head trained whole; layers_pattern h",
         {"r": 8, "target_modules": ["c_attn", "c_proj"], "layers_to_transform": [0], "layers_pattern": ["h"],
          "modules_to_save": ["lm_head"]}, {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 4}),
    case("gpt2_hub", "gpt2_hub", "mixed", "The hub's names and buffers, a full byte alphabet, rank_pattern",
         {"r": 4, "target_modules": ["c_attn", "c_fc"], "rank_pattern": {"h.1.attn.c_attn": 10}},
         {"per_device_train_batch_size": 4, "lr_scheduler_type": "cosine"}),
    case("gpt2_f16", "gpt2_f16", "mixed", "f16 weights, against PEFT on the upcast ones",
         {"r": 6, **ALL}, {"per_device_train_batch_size": 3}, core=True),
]  # fmt: skip

CORE = [record["name"] for record in CASES if record["core"]]


def find_case(name: str) -> dict:
    for record in CASES:
        if record["name"] == name:
            return record
    raise SystemExit(f"no case {name}; there are: {', '.join(record['name'] for record in CASES)}")
