//! Adapters in a pass: each on the rows of the examples that ask for it.

use super::{Adapter, LowRank};
use crate::error::{Error, Result};
use crate::model::kernels::{self, LowRankPart};
use crate::model::projection::{Module, Projection};
use crate::model::rows::Rows;
use candle_core::Tensor;
use std::ops::Range;

/// Runs of rows that go through one adapter, in order. Rows of the base model are in none.
pub fn runs(rows: &Rows) -> Vec<(Range<usize>, usize)> {
    let mut runs: Vec<(Range<usize>, usize)> = Vec::new();
    for example in rows.examples() {
        let Some(adapter) = example.adapter else { continue };
        match runs.last_mut() {
            Some((run, last)) if *last == adapter && run.end == example.rows.start => run.end = example.rows.end,
            _ => runs.push((example.rows.clone(), adapter)),
        }
    }
    runs
}

/// `x [row, in]` through a linear map, plus the low-rank parts on the runs.
pub fn linear(map: &Projection, x: &Tensor, runs: &[(Range<usize>, usize)], adapters: &[Adapter]) -> Result<Tensor> {
    let (mut hs, mut bs, mut parts) = (Vec::new(), Vec::<Tensor>::new(), Vec::<LowRankPart>::new());
    // Where the second factor of an adapter's module is kept, so that a later run uses it again.
    let mut kept: Vec<((usize, Range<usize>), usize)> = Vec::new();
    let (mut h_at, mut b_end) = (0, 0);
    let (_, d_in) = x.dims2()?;
    for (run, index) in runs {
        for module in &map.modules {
            let Some(low_rank) = adapters[*index].modules.get(&module.path) else { continue };
            fits(&adapters[*index], module, low_rank, d_in)?;
            let h = kernels::linear(&kernels::rows(x, run.clone())?, &low_rank.a)?;
            let key = (*index, module.columns.clone());
            let b_at = match kept.iter().find(|(k, _)| *k == key) {
                Some((_, at)) => *at,
                None => {
                    bs.push(match &module.order {
                        Some(order) => kernels::columns(&low_rank.b, order)?,
                        None => low_rank.b.clone(),
                    });
                    kept.push((key, b_end));
                    b_end += low_rank.b.elem_count();
                    b_end - low_rank.b.elem_count()
                }
            };
            let (rows, columns) = (run.clone(), module.columns.clone());
            parts.push(LowRankPart { rows, columns, rank: low_rank.rank(), scale: low_rank.scale, h_at, b_at });
            h_at += h.elem_count();
            hs.push(h);
        }
    }
    if parts.is_empty() {
        return map.weight.multiply(x);
    }
    let (hs, bs) = (kernels::end_to_end(&hs)?, kernels::end_to_end(&bs)?);
    map.weight.multiply_with_low_rank(x, &hs, &bs, parts)
}

fn fits(adapter: &Adapter, module: &Module, low_rank: &LowRank, d_in: usize) -> Result<()> {
    let expected = [module.columns.len(), d_in];
    if low_rank.shape() == expected {
        return Ok(());
    }
    let place = format!("adapter `{}`", adapter.name);
    let (found, expected) = (low_rank.shape().to_vec(), expected.to_vec());
    Err(Error::Shape { place, name: module.path.clone(), found, expected })
}
