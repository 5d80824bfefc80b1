//! The noise floor: how far numbers lie apart that mean the same.

use crate::axes::Site;
use crate::error::{Error, Result};
use crate::model::{At, Dtype, Example, Head, Hooks, Model, Next, Rows, Tap, forward};
use crate::rng::stream;
use candle_core::{DType, Tensor};
use rand::Rng;
use serde::Serialize;

/// Lengths of the prompts: random tokens, the same everywhere.
const LENGTHS: [usize; 8] = [5, 96, 1, 33, 64, 17, 48, 80];

/// What was measured.
#[derive(Serialize)]
pub struct Noise {
    pub prompts: usize,
    /// Each prompt by itself against all in one batch.
    pub batch: Distance,
    /// Weights as they are against weights rounded to another type.
    pub rounded: Vec<(Dtype, Distance)>,
}

/// How far two runs lie apart: largest difference over largest value.
#[derive(Serialize)]
pub struct Distance {
    /// Of the stream behind the last block.
    pub stream: f64,
    pub logits: f64,
    /// Share of rows at which the likeliest token is the same.
    pub same_choice: f64,
}

/// One run: the stream behind the last block, and the logits, of every row.
struct Run {
    stream: Vec<Vec<f32>>,
    logits: Vec<Vec<f32>>,
}

struct Last {
    site: Site,
    rows: Vec<Vec<f32>>,
}

impl Tap for Last {
    fn wants(&self, site: Site) -> bool {
        site == self.site
    }
    fn see(&mut self, _: At, x: &Tensor) -> Result<Next> {
        self.rows = x.to_dtype(DType::F32)?.to_vec2()?;
        Ok(Next::Go)
    }
}

/// Measures the model; `reload` gives it in another number type.
pub fn measure(model: &Model, reload: impl Fn(Dtype) -> Result<Model>) -> Result<Noise> {
    let dims = model.lm.dims();
    let mut rng = stream(0, "doctor");
    let prompts: Vec<Vec<u32>> = (LENGTHS.iter())
        .map(|n| (0..(*n).min(dims.n_ctx)).map(|_| rng.random_range(0..dims.d_vocab as u32)).collect())
        .collect();
    let whole = run(model, &prompts)?;
    let mut alone = Run { stream: vec![], logits: vec![] };
    for prompt in &prompts {
        let one = run(model, std::slice::from_ref(prompt))?;
        alone.stream.extend(one.stream);
        alone.logits.extend(one.logits);
    }
    let own: Dtype = model.dtype;
    let exact = if own == Dtype::F32 { None } else { Some(run(&reload(Dtype::F32)?, &prompts)?) };
    let mut rounded = Vec::new();
    for dtype in [Dtype::Bf16, Dtype::F16] {
        // A model whose weights f16 cannot hold is refused at loading: that is its distance.
        let other = match reload(dtype) {
            Ok(other) => run(&other, &prompts)?,
            Err(Error::NotFinite { .. }) => continue,
            Err(e) => return Err(e),
        };
        rounded.push((dtype, distance(exact.as_ref().unwrap_or(&whole), &other)));
    }
    Ok(Noise { prompts: prompts.len(), batch: distance(&whole, &alone), rounded })
}

fn run(model: &Model, prompts: &[Vec<u32>]) -> Result<Run> {
    let lm = &*model.lm;
    let rows = Rows::pack(prompts.iter().enumerate().map(|(index, tokens)| {
        let (prompt_len, adapter) = (tokens.len(), model.default_adapter);
        (Example { index, rows: 0..0, first_pos: 0, prompt_len, adapter, edits: vec![] }, tokens.clone())
    }));
    let mut last = Last { site: Site::post(lm.dims().n_layers - 1), rows: vec![] };
    let mut hooks = Hooks::default().adapters(&model.adapters).tap(&mut last);
    let (logits, _) = forward(lm, &rows, &mut hooks, None, Head::AllRows)?;
    let logits = logits.expect("the head was asked for").to_dtype(DType::F32)?.to_vec2()?;
    Ok(Run { stream: last.rows, logits })
}

fn distance(a: &Run, b: &Run) -> Distance {
    let apart = |a: &[Vec<f32>], b: &[Vec<f32>]| {
        let (mut most, mut largest) = (0.0f64, f64::MIN_POSITIVE);
        for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
            largest = largest.max(f64::from(a.abs()));
            most = most.max(f64::from(a - b).abs());
        }
        most / largest
    };
    let best = |row: &Vec<f32>| (0..row.len()).fold(0, |b, i| if row[i] > row[b] { i } else { b });
    let same = a.logits.iter().zip(&b.logits).filter(|(a, b)| best(a) == best(b)).count();
    Distance {
        stream: apart(&a.stream, &b.stream),
        logits: apart(&a.logits, &b.logits),
        same_choice: same as f64 / a.logits.len().max(1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Opening, Source};

    #[test]
    fn batches_change_nothing_and_coarser_weights_change_more() {
        let load = |dtype| Model::open(&Source::toyworld(), Opening { dtype, ..Opening::default() }).map(|(m, _)| m);
        let noise = measure(&load(Dtype::F32).unwrap(), load).unwrap();
        assert_eq!((noise.batch.stream, noise.batch.logits, noise.batch.same_choice), (0.0, 0.0, 1.0));
        let [(Dtype::Bf16, bf16), (Dtype::F16, f16)] = &noise.rounded[..] else { panic!("two number types") };
        // The file holds f16, so that rounding to it changes nothing; bf16 keeps 8 of its 11 bits, and half of the last of
        // these is 2^-9 = 2e-3 of a weight.
        assert_eq!((f16.stream, f16.same_choice), (0.0, 1.0));
        assert!((1e-4..5e-2).contains(&bf16.stream) && bf16.same_choice > 0.9, "{}", bf16.stream);
    }
}
