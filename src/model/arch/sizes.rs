//! What most configurations say in the same words.

use crate::axes::Dims;
use crate::error::Result;
use crate::model::config::Config;
use crate::model::kernels::Act;

/// The activations that checkpoints name.
const ACTS: &[(&str, Act)] = &[
    ("silu", Act::Silu),
    ("swish", Act::Silu),
    ("gelu", Act::Gelu),
    ("gelu_new", Act::GeluTanh),
    ("gelu_pytorch_tanh", Act::GeluTanh),
];

/// The activation under `key`.
pub fn act(c: &mut Config, key: &'static str, default: Act) -> Result<Act> {
    c.one_of(key, default, ACTS)
}

/// More columns than any head has: tables of positions are as wide, and they are made before weights are seen.
const WIDEST_HEAD: usize = 1 << 14;

/// The sizes in the names of Llama's configuration; heads are `d_model / n_heads` wide where nothing else is said.
///
/// # Errors
/// A size that is missing or that does not fit another.
pub fn dims(c: &mut Config, d_head: Option<usize>) -> Result<Dims> {
    let d_model = c.count("hidden_size")?;
    let n_heads = c.count("num_attention_heads")?;
    let dims = Dims {
        d_model,
        n_layers: c.count("num_hidden_layers")?,
        n_heads,
        n_kv_heads: c.count_or("num_key_value_heads", n_heads)?,
        d_head: c.count_or("head_dim", d_head.unwrap_or(d_model / n_heads))?,
        d_mlp: c.count("intermediate_size")?,
        d_vocab: c.count("vocab_size")?,
        n_ctx: c.count("max_position_embeddings")?,
    };
    if !n_heads.is_multiple_of(dims.n_kv_heads) {
        let reason = format!("{n_heads} heads cannot share {} key heads", dims.n_kv_heads);
        return Err(c.bad("num_key_value_heads", reason));
    }
    if !(1..=WIDEST_HEAD).contains(&dims.d_head) {
        let reason = format!("{n_heads} heads for {d_model} columns: {} columns each cannot be", dims.d_head);
        return Err(c.bad("head_dim", reason));
    }
    Ok(dims)
}

/// The sliding window of a layer. Not a list: the number of layers may be any until it is held against the file.
pub type Windows = Box<dyn Fn(usize) -> Option<usize>>;

/// One window in all layers, or none.
pub fn everywhere(window: usize) -> Windows {
    Box::new(move |_| (window > 0).then_some(window))
}

/// The window of each layer: what `layer_types` says, or else `slides`.
///
/// # Errors
/// A list of another length, a kind of layer that is not supported, a sliding layer without a window.
pub fn windows(
    c: &mut Config,
    n_layers: usize,
    window: Option<usize>,
    slides: impl Fn(usize) -> bool + 'static,
) -> Result<Windows> {
    let Some(kinds) = c.texts("layer_types")? else {
        return Ok(Box::new(move |l| window.filter(|_| slides(l))));
    };
    if kinds.len() != n_layers {
        return Err(c.bad("layer_types", format!("{} kinds for {n_layers} layers", kinds.len())));
    }
    let one = |kind: &String| match (kind.as_str(), window) {
        ("full_attention", _) => Ok(None),
        ("sliding_attention", Some(window)) => Ok(Some(window)),
        ("sliding_attention", None) => Err(c.bad("sliding_window", "is missing, but layers slide")),
        (kind, _) => Err(c.bad("layer_types", format!("`{kind}` is not supported"))),
    };
    let listed = kinds.iter().map(one).collect::<Result<Vec<_>>>()?;
    Ok(Box::new(move |l| listed.get(l).copied().flatten()))
}
