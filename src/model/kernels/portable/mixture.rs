//! Mixtures of experts: the rows of each expert gathered, so that nothing is computed that no row asked for.

use super::index;
use candle_core::{DType, Result, Tensor};

/// Sums over experts for the rows of `x [row, d]`.
///
/// `routes` says of each row the experts that it goes through and their weights; `expert` takes gathered rows through
/// one expert, `[n, d]` to `[n, d]`. Sums are in f32, experts in the order of their numbers.
pub fn mixture<E: From<candle_core::Error>>(
    x: &Tensor,
    routes: &[Vec<(usize, f32)>],
    mut expert: impl FnMut(usize, &Tensor) -> std::result::Result<Tensor, E>,
) -> std::result::Result<Tensor, E> {
    let mut sum = Tensor::zeros(x.shape(), DType::F32, x.device())?;
    for (e, rows) in by_expert(routes) {
        let (places, weights): (Vec<usize>, Vec<f32>) = rows.into_iter().unzip();
        let n = weights.len();
        let places = index(places, x.device())?;
        let y = expert(e, &x.index_select(&places, 0)?)?.to_dtype(DType::F32)?;
        let weighted = y.broadcast_mul(&Tensor::from_vec(weights, (n, 1), x.device())?)?;
        sum = sum.index_add(&places, &weighted, 0)?;
    }
    Ok(sum.to_dtype(x.dtype())?)
}

/// The experts that any row goes through, in order, with the rows and their weights.
fn by_expert(routes: &[Vec<(usize, f32)>]) -> impl Iterator<Item = (usize, Vec<(usize, f32)>)> {
    let mut experts = std::collections::BTreeMap::<usize, Vec<(usize, f32)>>::new();
    for (row, route) in routes.iter().enumerate() {
        route.iter().for_each(|(e, weight)| experts.entry(*e).or_default().push((row, *weight)));
    }
    experts.into_iter()
}
