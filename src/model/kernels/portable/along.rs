//! Rewriting coordinates of rows along directions, in tensor operations: all rows at once, each along its own.

use super::super::Move;
use super::{index, wide};
use candle_core::{Result, Tensor};

/// What happened to rows, `[row]` each in f32, still where it was computed.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The coordinate before, after, and as it was to be.
    pub before: Tensor,
    pub after: Tensor,
    pub wanted: Tensor,
    /// The length of the rows before and after.
    pub sizes: [Tensor; 2],
}

/// `x [row, d]` with some rows moved, given as (row, which unit, how), and what happened to all rows.
///
/// `units` are `[1, d]` each. Rows without a move take part with one of length 0, so that a pass costs as many operations
/// for one direction as for a hundred.
pub fn move_rows(x: &Tensor, units: &[Tensor], moves: &[(usize, usize, Move)]) -> Result<(Tensor, Seen)> {
    let (n, device) = (x.dim(0)?, x.device());
    let (mut by, mut which) = (vec![Move::NOTHING; n], vec![0; n]);
    for (row, unit, how) in moves {
        (by[*row], which[*row]) = (*how, *unit);
    }
    let units = match units {
        [one] => one.clone(),
        all => Tensor::cat(all, 0)?.index_select(&index(which, device)?, 0)?,
    };
    let full = wide(x)?;
    let along = |x: &Tensor| x.broadcast_mul(&units)?.sum(1);
    let length = |x: &Tensor| x.sqr()?.sum(1)?.sqrt();
    let (c, size) = (along(&full)?, length(&full)?);
    if by.iter().all(|m| m.is_nothing()) {
        let seen = Seen { before: c.clone(), after: c.clone(), wanted: c, sizes: [size.clone(), size] };
        return Ok((x.clone(), seen));
    }
    let column = |f: fn(&Move) -> f64| Tensor::from_vec(by.iter().map(|m| f(m) as f32).collect::<Vec<_>>(), n, device);
    let way = ((column(|m| m.slope)? * &c)? + column(|m| m.shift)?)?;
    let bounded = by.iter().any(|m| m.lo > f64::NEG_INFINITY || m.hi < f64::INFINITY);
    let way = match bounded {
        true => way.maximum(&(column(|m| m.lo)? - &c)?)?.minimum(&(column(|m| m.hi)? - &c)?)?,
        false => way,
    };
    let y = (&full + way.unsqueeze(1)?.broadcast_mul(&units)?)?.to_dtype(x.dtype())?;
    let after = wide(&y)?;
    let seen = Seen { after: along(&after)?, wanted: (&c + way)?, before: c, sizes: [size, length(&after)?] };
    Ok((y, seen))
}
