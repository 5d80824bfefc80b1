//! The tensors of a checkpoint on their way into a model: read, drawn at random, or made trainable.

use super::load::{Bytes, Purpose};
use super::projection::{Module, Parameter, Part, Projection, Unembedding};
use crate::axes::Layer;
use crate::error::{Error, Result};
use crate::rng::stream;
use candle_core::{DType, Device, Tensor, Var};
use rand::Rng;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Standard deviation of random weights: `initializer_range` of the common checkpoints.
const INIT_STD: f64 = 0.02;

/// The tensors of a checkpoint, handed out once each by name and shape.
pub struct Weights<'a> {
    place: String,
    origin: Origin<'a>,
    purpose: Purpose,
    /// What was handed out to be trained.
    parameters: Vec<Parameter>,
    taken: Vec<String>,
}

enum Origin<'a> {
    Files {
        tensors: BTreeMap<String, (usize, TensorView<'a>)>,
        files: &'a [(String, Bytes)],
    },
    /// Normal matrices, norms of 1 and biases of 0: what training starts from, and the null of every measurement.
    Random {
        seed: u64,
    },
}

impl<'a> Weights<'a> {
    /// The tensors of `shards`, given as (name of the file, its bytes).
    pub(super) fn open(config: &str, shards: &'a [(String, Bytes)]) -> Result<Weights<'a>> {
        let mut tensors = BTreeMap::new();
        for (i, (place, bytes)) in shards.iter().enumerate() {
            let file = SafeTensors::deserialize(bytes).map_err(|e| {
                let reason = format!("not a whole safetensors file of {} bytes ({e})", bytes.len());
                Error::format(place, reason, "the file is damaged or cut short; fetch it again")
            })?;
            tensors.extend(file.tensors().into_iter().map(|(name, view)| (name, (i, view))));
        }
        Ok(Weights::of(config, Origin::Files { tensors, files: shards }))
    }

    /// Random tensors of every name and shape that is asked for.
    pub(super) fn random(config: &str, seed: u64) -> Weights<'static> {
        Weights::of(config, Origin::Random { seed })
    }

    fn of(place: &str, origin: Origin<'a>) -> Weights<'a> {
        let (purpose, place) = (Purpose::Run, place.into());
        Weights { place, origin, purpose, parameters: Vec::new(), taken: Vec::new() }
    }

    /// Hands tensors out for another purpose.
    pub(super) fn for_purpose(self, purpose: Purpose) -> Self {
        Weights { purpose, ..self }
    }

    /// What was handed out to be trained, in the order of the model.
    pub(super) fn into_parameters(self) -> Vec<Parameter> {
        self.parameters
    }

    /// What the model is loaded for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Whether the checkpoint has a tensor of this name; one with random weights has every tensor but `wte.weight`,
    /// because the names that its files have are the long ones.
    pub fn has(&self, name: &str) -> bool {
        match &self.origin {
            Origin::Files { tensors, .. } => tensors.contains_key(name),
            Origin::Random { .. } => name != "wte.weight",
        }
    }

    /// The configuration that is being built.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// A tensor as f32, stored as it is in the file.
    ///
    /// # Errors
    /// Missing, of another shape, of a dtype that is no float, or with values that are not finite.
    pub fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.read(name, shape)?;
        self.hand_out(tensor, vec![Part::whole(name)])
    }

    /// The weight `[d]` of a norm: `offset` plus what the file has.
    pub fn norm(&mut self, name: &str, d: usize, offset: f64) -> Result<Tensor> {
        let mut weight = self.read(name, &[d])?;
        if offset != 0.0 && matches!(self.origin, Origin::Files { .. }) {
            weight = (weight + offset)?;
        }
        self.hand_out(weight, vec![Part { offset, ..Part::whole(name) }])
    }

    /// The linear maps of some modules as one: `[d_in, sum of outputs]`.
    pub fn linear(&mut self, linear: &Linear) -> Result<Projection> {
        let stem = format!("{}.{}", linear.stem, linear.layer.0);
        let (mut tensors, mut biases, mut modules, mut from) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let (mut parts, mut bias_parts) = (Vec::new(), Vec::new());
        for (path, d_out) in &linear.modules {
            let (path, columns) = (format!("{stem}.{path}"), from..from + d_out);
            from = columns.end;
            let order = linear.order.clone();
            let part = |name: String, turned| Part {
                columns: Some(columns.clone()),
                turned,
                order: order.clone(),
                ..Part::whole(&name)
            };
            let shape = if linear.turned { [*d_out, linear.d_in] } else { [linear.d_in, *d_out] };
            let name = format!("{path}.weight");
            let stored = self.read(&name, &shape)?;
            tensors.push(in_order(if linear.turned { stored.t()? } else { stored }, &order)?);
            parts.push(part(name, linear.turned));
            if linear.bias {
                let name = format!("{path}.bias");
                biases.push(in_order(self.read(&name, &[*d_out])?, &order)?);
                bias_parts.push(part(name, false));
            }
            modules.push(Module { path, columns: columns.clone(), order: order.clone() });
        }
        let weight = self.hand_out(Tensor::cat(&tensors, 1)?.contiguous()?, parts)?;
        let bias = match linear.bias {
            true => Some(self.hand_out(Tensor::cat(&biases, 0)?, bias_parts)?),
            false => None,
        };
        Ok(Projection { weight, bias, modules })
    }

    /// The head: a matrix of its own, or the embedding `[d_vocab, d_model]` again.
    pub fn unembedding(&mut self, name: &str, tied: bool, embedding: &Tensor) -> Result<Unembedding> {
        if !tied {
            let (d_vocab, d_model) = embedding.dims2()?;
            let weight = self.read(name, &[d_vocab, d_model])?.t()?.contiguous()?;
            let part = Part { columns: Some(0..d_vocab), turned: true, ..Part::whole(name) };
            return Ok(Unembedding::Own(self.hand_out(weight, vec![part])?));
        }
        // A trained embedding changes under a copy. A fixed one that is run is copied, because few rows times a
        // transposed matrix cost more to pack than to multiply.
        Ok(match self.purpose {
            Purpose::Run => Unembedding::Own(embedding.t()?.contiguous()?),
            Purpose::Adapt | Purpose::Train => Unembedding::Tied(embedding.clone()),
        })
    }

    /// Tensors that nobody asked for.
    pub(super) fn unused(&self) -> Vec<String> {
        match &self.origin {
            Origin::Files { tensors, .. } => tensors.keys().filter(|n| !self.taken.contains(n)).cloned().collect(),
            Origin::Random { .. } => Vec::new(),
        }
    }

    fn hand_out(&mut self, tensor: Tensor, parts: Vec<Part>) -> Result<Tensor> {
        if self.purpose != Purpose::Train {
            return Ok(tensor);
        }
        let var = Var::from_tensor(&tensor)?;
        let tensor = var.as_tensor().clone();
        self.parameters.push(Parameter { var, parts });
        Ok(tensor)
    }

    fn read(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.taken.push(name.into());
        match &self.origin {
            Origin::Random { seed } => draw(*seed, name, shape),
            Origin::Files { tensors, files } => from_file(tensors, files, name, shape),
        }
    }
}

/// Linear maps of one layer to be read as one.
#[derive(Clone, Debug)]
pub struct Linear<'a> {
    /// Where the checkpoint keeps its blocks: `model.layers`.
    stem: &'a str,
    layer: Layer,
    /// Columns of the rows that it reads.
    pub d_in: usize,
    /// Path in the layer and number of outputs of each.
    modules: Vec<(&'a str, usize)>,
    bias: bool,
    /// The file has `[out, in]`, and not `[in, out]`.
    turned: bool,
    order: Option<Arc<Vec<u32>>>,
}

impl<'a> Linear<'a> {
    /// Of a layer of the blocks at `stem`, stored `[out, in]` and without biases.
    pub fn at(stem: &'a str, layer: Layer) -> Linear<'a> {
        Linear { stem, layer, d_in: 0, modules: Vec::new(), bias: false, turned: true, order: None }
    }

    /// The same for other modules, given as (path in the layer, number of outputs).
    pub fn of<'b>(&self, d_in: usize, modules: &[(&'b str, usize)]) -> Linear<'b>
    where
        'a: 'b,
    {
        Linear { d_in, modules: modules.to_vec(), order: None, ..self.clone() }
    }

    /// With `{path}.bias [out]` or without.
    pub fn biased(self, bias: bool) -> Self {
        Linear { bias, ..self }
    }

    /// Stored `[out, in]` or not.
    pub fn turned(self, turned: bool) -> Self {
        Linear { turned, ..self }
    }

    /// Output i is the one that the file has at `order[i]`.
    pub fn ordered(self, order: Arc<Vec<u32>>) -> Self {
        Linear { order: Some(order), ..self }
    }
}

/// The columns of a tensor of one or two axes in another order.
fn in_order(tensor: Tensor, order: &Option<Arc<Vec<u32>>>) -> Result<Tensor> {
    match order {
        Some(order) => {
            let index = Tensor::from_slice(order, order.len(), tensor.device())?;
            Ok(tensor.contiguous()?.index_select(&index, tensor.rank() - 1)?)
        }
        None => Ok(tensor),
    }
}

fn draw(seed: u64, name: &str, shape: &[usize]) -> Result<Tensor> {
    let n = shape.iter().product();
    let values: Vec<f32> = match shape.len() {
        1 if name.ends_with("bias") => vec![0.0; n],
        1 => vec![1.0; n],
        _ => {
            let mut rng = stream(seed, &format!("weights {name}"));
            (0..n).map(|_| (INIT_STD * normal(&mut rng)) as f32).collect()
        }
    };
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// A draw from the standard normal distribution (Box and Muller 1958).
pub(crate) fn normal(rng: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn from_file(
    tensors: &BTreeMap<String, (usize, TensorView<'_>)>,
    files: &[(String, Bytes)],
    name: &str,
    shape: &[usize],
) -> Result<Tensor> {
    let Some((file, view)) = tensors.get(name) else {
        let have: Vec<&str> = tensors.keys().take(4).map(String::as_str).collect();
        let have = format!("{} tensors ({} ...)", tensors.len(), have.join(", "));
        let place = files.iter().map(|f| f.0.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Error::MissingTensor { place, name: name.into(), have });
    };
    let (place, bytes) = &files[*file];
    if view.shape() != shape {
        let (found, expected) = (view.shape().to_vec(), shape.to_vec());
        return Err(Error::Shape { place: place.clone(), name: name.into(), found, expected });
    }
    let tensor = as_f32(place, name, view)?;
    bytes.release(view.data());
    Ok(tensor)
}

/// A stored tensor as f32.
///
/// # Errors
/// A dtype that is no float, or values that are not finite.
pub(crate) fn as_f32(place: &str, name: &str, view: &TensorView<'_>) -> Result<Tensor> {
    let dtype = match view.dtype() {
        safetensors::Dtype::F32 => DType::F32,
        safetensors::Dtype::F16 => DType::F16,
        safetensors::Dtype::BF16 => DType::BF16,
        safetensors::Dtype::F64 => DType::F64,
        other => {
            let reason = format!("`{name}` is stored as {other:?}");
            return Err(Error::format(place, reason, "weights in f32, f16 or bf16 can be read; dequantise it first"));
        }
    };
    let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?.to_dtype(DType::F32)?;
    let count = tensor.flatten_all()?.to_vec1::<f32>()?.iter().filter(|v| !v.is_finite()).count();
    if count > 0 {
        return Err(Error::NotFinite { place: format!("{place}: `{name}`"), count });
    }
    Ok(tensor)
}
