use super::*;
use candle_core::D;
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    Silu,
    GeluTanh,
    Gelu,
}
pub fn scaled(x: &Tensor, s: f64) -> Result<Tensor> {
    x * s
}
pub fn softcap(x: &Tensor, c: f64) -> Result<Tensor> {
    (x / c)?.tanh()? * c
}
pub fn layer_norm(x: &Tensor, w: &Tensor, b: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    let m = x.mean_keepdim(D::Minus1)?;
    let x = x.broadcast_sub(&m)?;
    let v = x.sqr()?.mean_keepdim(D::Minus1)?;
    let y = x.broadcast_div(&(v + eps)?.sqrt()?)?.broadcast_mul(w)?;
    match b {
        Some(b) => y.broadcast_add(b),
        None => Ok(y),
    }
}
pub fn norm_heads(x: &Tensor, w: &Tensor, first: usize, heads: usize, d: usize, eps: f64) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    let part = x.narrow(1, first, heads * d)?.contiguous()?.reshape((rows * heads, d))?;
    let part = super::rms_norm(&part, w, eps)?.reshape((rows, heads * d))?;
    let end = first + heads * d;
    let mut all = vec![];
    if first > 0 {
        all.push(x.narrow(1, 0, first)?);
    }
    all.push(part);
    if end < width {
        all.push(x.narrow(1, end, width - end)?);
    }
    Tensor::cat(&all, 1)?.contiguous()
}
pub fn activate(x: &Tensor, a: Act) -> Result<Tensor> {
    match a {
        Act::Silu => x.silu(),
        Act::GeluTanh => x.gelu(),
        Act::Gelu => x.gelu_erf(),
    }
}
pub fn gated(x: &Tensor, a: Act) -> Result<Tensor> {
    if a == Act::Silu {
        return super::swiglu(x);
    }
    let d = x.dim(1)? / 2;
    activate(&x.narrow(1, 0, d)?.contiguous()?, a)? * x.narrow(1, d, d)?.contiguous()?
}
pub fn add_bias(x: &Tensor, b: &Tensor) -> Result<Tensor> {
    x.broadcast_add(b)
}
pub fn route(l: &Tensor, k: usize, norm: bool) -> Result<Vec<Vec<(usize, f32)>>> {
    Ok(l.to_vec2::<f32>()?
        .into_iter()
        .map(|r| {
            let top = r.iter().cloned().fold(f32::MIN, f32::max);
            let e: Vec<f32> = r.iter().map(|v| (v - top).exp()).collect();
            let s: f32 = e.iter().sum();
            let mut v: Vec<(usize, f32)> = e.iter().map(|x| x / s).enumerate().collect();
            v.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            v.truncate(k);
            if norm {
                let s: f32 = v.iter().map(|x| x.1).sum();
                v.iter_mut().for_each(|x| x.1 /= s);
            }
            v
        })
        .collect())
}
