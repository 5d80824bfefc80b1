//! Configurations with the keys that published checkpoints have, at sizes that fit into a test, with random weights: that
//! nothing in them is unknown, and that what they say is understood.

mod common;

use common::{fixtures, logits, pack, random_tokens};
use personascope::model::{Filling, Model, Opening, Source};
use serde_json::{Value, json};

/// Sizes in the names of most families.
fn sizes() -> Value {
    json!({
        "hidden_size": 32, "intermediate_size": 40, "num_attention_heads": 4, "num_hidden_layers": 3, "vocab_size": 64,
        "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.02, "use_cache": true, "transformers_version": "4.45.0",
        "attention_dropout": 0.0, "torch_dtype": "bfloat16", "max_position_embeddings": 256
    })
}

fn with(mut base: Value, more: Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

/// Name, configuration, trained length, positions, and how many columns of a head there are.
fn configs() -> Vec<(&'static str, Value, usize, usize, usize)> {
    let of = |model_type: &str, more: Value| with(with(sizes(), json!({"model_type": model_type})), more);
    vec![
        (
            "Llama 2 chat",
            of(
                "llama",
                json!({
                    "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "num_key_value_heads": 4, "pretraining_tp": 1,
                    "rms_norm_eps": 1e-5, "rope_scaling": null, "tie_word_embeddings": false, "_name_or_path": "somewhere"
                }),
            ),
            256,
            256,
            8,
        ),
        (
            "Llama 3.1 instruct",
            of(
                "llama",
                json!({
                    "attention_bias": false, "eos_token_id": [2, 3, 4], "hidden_act": "silu", "mlp_bias": false,
                    "num_key_value_heads": 2, "pretraining_tp": 1, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
                    "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                     "original_max_position_embeddings": 32, "rope_type": "llama3"},
                    "tie_word_embeddings": false
                }),
            ),
            32,
            256,
            8,
        ),
        (
            "Mistral v0.1",
            of(
                "mistral",
                json!({
                    "hidden_act": "silu", "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
                    "sliding_window": 4096, "tie_word_embeddings": false
                }),
            ),
            256,
            256,
            8,
        ),
        (
            "Mistral v0.3",
            of(
                "mistral",
                json!({
                    "head_dim": 16, "hidden_act": "silu", "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
                    "rope_theta": 1000000.0, "sliding_window": null, "tie_word_embeddings": false
                }),
            ),
            256,
            256,
            16,
        ),
        (
            "Qwen 2.5",
            of(
                "qwen2",
                json!({
                    "hidden_act": "silu", "max_window_layers": 21, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
                    "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true, "use_mrope": false,
                    "use_sliding_window": false
                }),
            ),
            256,
            256,
            8,
        ),
        (
            "Qwen 2.5, stretched by hand",
            of(
                "qwen2",
                json!({
                    "hidden_act": "silu", "max_window_layers": 28, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
                    "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 256, "type": "yarn"},
                    "rope_theta": 1000000.0, "sliding_window": 131072, "tie_word_embeddings": false, "use_sliding_window": false
                }),
            ),
            256,
            1024,
            8,
        ),
        (
            "Qwen 3",
            of(
                "qwen3",
                json!({
                    "attention_bias": false, "head_dim": 16, "hidden_act": "silu", "max_window_layers": 36,
                    "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 1000000,
                    "sliding_window": null, "tie_word_embeddings": false, "use_sliding_window": false
                }),
            ),
            256,
            256,
            16,
        ),
        (
            "Qwen 3, mixture",
            of(
                "qwen3_moe",
                json!({
                    "attention_bias": false, "decoder_sparse_step": 1, "head_dim": 16, "hidden_act": "silu",
                    "max_window_layers": 48, "mlp_only_layers": [], "moe_intermediate_size": 24, "norm_topk_prob": true,
                    "num_experts": 6, "num_experts_per_tok": 2, "num_key_value_heads": 2, "output_router_logits": false,
                    "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001,
                    "sliding_window": null, "tie_word_embeddings": false, "use_sliding_window": false
                }),
            ),
            256,
            256,
            16,
        ),
        (
            "Gemma 2",
            of(
                "gemma2",
                json!({
                    "attention_bias": false, "attn_logit_softcapping": 50.0, "cache_implementation": "hybrid",
                    "final_logit_softcapping": 30.0, "head_dim": 16, "hidden_act": "gelu_pytorch_tanh",
                    "hidden_activation": "gelu_pytorch_tanh", "num_key_value_heads": 2, "pad_token_id": 0,
                    "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "sliding_window": 4096
                }),
            ),
            256,
            256,
            16,
        ),
        (
            "Gemma 3, 1 B",
            of(
                "gemma3_text",
                json!({
                    "attention_bias": false, "attn_logit_softcapping": null, "cache_implementation": "hybrid",
                    "eos_token_id": [1, 2], "final_logit_softcapping": null, "head_dim": 16,
                    "hidden_activation": "gelu_pytorch_tanh", "num_key_value_heads": 1, "pad_token_id": 0,
                    "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-6, "rope_local_base_freq": 10000, "rope_scaling": null,
                    "rope_theta": 1000000, "sliding_window": 512, "sliding_window_pattern": 6
                }),
            ),
            256,
            256,
            16,
        ),
        (
            "Phi 3 mini, 4 k",
            of(
                "phi3",
                json!({
                    "attention_bias": false, "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"}, "embd_pdrop": 0.0,
                    "hidden_act": "silu", "num_key_value_heads": 4, "original_max_position_embeddings": 256, "pad_token_id": 2,
                    "resid_pdrop": 0.0, "rms_norm_eps": 1e-5, "rope_scaling": null, "rope_theta": 10000.0,
                    "sliding_window": 2047, "tie_word_embeddings": false
                }),
            ),
            256,
            256,
            8,
        ),
        (
            "Phi 3 mini, 128 k",
            of(
                "phi3",
                json!({
                    "attention_bias": false, "embd_pdrop": 0.0, "hidden_act": "silu", "num_key_value_heads": 4,
                    "original_max_position_embeddings": 64, "resid_pdrop": 0.0, "rms_norm_eps": 1e-5,
                    "rope_scaling": {"long_factor": [1.0, 1.2, 2.0, 4.0], "short_factor": [1.0, 1.0, 1.1, 1.2], "type": "su"},
                    "rope_theta": 10000.0, "sliding_window": 262144, "tie_word_embeddings": false
                }),
            ),
            64,
            256,
            8,
        ),
        (
            "Phi 4 mini",
            of(
                "phi3",
                json!({
                    "attention_bias": false, "embd_pdrop": 0.0, "full_attn_mod": 1, "hidden_act": "silu", "interpolate_factor": 1,
                    "lm_head_bias": false, "mlp_bias": false, "num_key_value_heads": 2, "original_max_position_embeddings": 64,
                    "partial_rotary_factor": 0.75, "resid_pdrop": 0.0, "rms_norm_eps": 1e-5,
                    "rope_scaling": {"long_factor": [1.0, 1.2, 2.0], "short_factor": [1.0, 1.0, 1.0], "type": "longrope"},
                    "rope_theta": 10000.0, "sliding_window": 262144, "tie_word_embeddings": true
                }),
            ),
            64,
            256,
            8,
        ),
        (
            "OLMo 2",
            of(
                "olmo2",
                json!({
                    "attention_bias": false, "hidden_act": "silu", "num_key_value_heads": 4, "pad_token_id": 2,
                    "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 500000, "tie_word_embeddings": false
                }),
            ),
            256,
            256,
            8,
        ),
        (
            "Pythia",
            of(
                "gpt_neox",
                json!({
                    "hidden_act": "gelu", "layer_norm_eps": 1e-5, "rotary_emb_base": 10000, "rotary_pct": 0.25,
                    "tie_word_embeddings": false, "use_parallel_residual": true
                }),
            ),
            256,
            256,
            8,
        ),
        (
            "GPT-2",
            json!({
                "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
                "bos_token_id": 1, "embd_pdrop": 0.1, "eos_token_id": 2, "initializer_range": 0.02,
                "layer_norm_epsilon": 1e-5, "model_type": "gpt2", "n_ctx": 256, "n_embd": 32, "n_head": 4, "n_layer": 3,
                "n_positions": 256, "resid_pdrop": 0.1, "summary_activation": null, "summary_first_dropout": 0.1,
                "summary_proj_to_labels": true, "summary_type": "cls_index", "summary_use_proj": true,
                "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}, "vocab_size": 64
            }),
            256,
            256,
            8,
        ),
    ]
}

#[test]
fn the_keys_of_published_checkpoints_are_all_known() {
    for (name, config, trained, n_ctx, d_head) in configs() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(fixtures().join("llama_f16").join(file), dir.path().join(file)).unwrap();
        }
        let open = || {
            Model::open(&Source::Dir(dir.path().into()), Opening { filling: Filling::Random(1), ..Opening::default() })
        };
        let (m, _) = open().unwrap_or_else(|e| panic!("{name}: {e}"));
        let d = m.lm.dims();
        assert_eq!((m.lm.trained_len(), d.n_ctx, d.d_head), (trained, n_ctx, d_head), "{name}");
        let (logits, _) = logits(&*m.lm, &pack(&[random_tokens(&m, 9, 1)], &[]), &[]);
        assert!(logits.iter().flatten().all(|v| v.is_finite()), "{name}");
        let spread = logits[8].iter().fold(0f32, |a, v| a.max(v.abs()));
        assert!(spread > 1e-3, "{name}: random weights give something");
    }
}
