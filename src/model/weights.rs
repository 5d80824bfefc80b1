//! The tensors of a checkpoint on their way into a model: read, drawn at random, or made trainable.

use super::convert;
use super::kernels::Packed;
use super::kernels::packed::Packer;
use super::linear::Linear;
use super::load::{Bytes, Dtype, Filling, Opening, Purpose};
use super::missing::{Survey, unexpected};
use super::projection::{HeadMatrix, Module, Parameter, Part, Projection, Unembedding};
use super::shards::Tensors;
use super::weight::{Embedding, Weight};
use crate::error::{Error, Result};
use crate::rng::stream;
use candle_core::{DType, Device, Tensor, Var};
use rand::Rng;
use safetensors::tensor::TensorView;
use std::collections::HashSet;
use std::sync::Arc;

/// Standard deviation of random weights: `initializer_range` of the common checkpoints.
const INIT_STD: f64 = 0.02;
/// Values after which noise begins again: a prime, so that rows are not all the same.
const NOISE: usize = 65_537;

/// The tensors of a checkpoint, handed out once each by name and shape.
pub struct Weights<'a> {
    place: String,
    origin: Origin<'a>,
    purpose: Purpose,
    dtype: Dtype,
    /// Where tensors go.
    device: Device,
    /// Kernels are tensor operations.
    portable: bool,
    /// What was handed out to be trained.
    parameters: Vec<Parameter>,
    taken: HashSet<String>,
}

enum Origin<'a> {
    Files {
        tensors: Tensors<'a>,
        files: &'a [(String, Bytes)],
        /// Told the bytes of every tensor that was read.
        tell: Box<dyn FnMut(u64) + 'a>,
        /// What is asked for is noted and not read.
        survey: Option<Survey>,
    },
    /// Normal matrices, norms of 1 and biases of 0: what training starts from, and the null of every measurement.
    Random { filling: Filling },
}

impl<'a> Weights<'a> {
    /// The tensors of `files`, given as (what messages call the file, its bytes).
    pub(super) fn open(
        config: &str,
        files: &'a [(String, Bytes)],
        tensors: Tensors<'a>,
        tell: impl FnMut(u64) + 'a,
    ) -> Weights<'a> {
        Weights::of(config, Origin::Files { tensors, files, tell: Box::new(tell), survey: None })
    }

    /// Random tensors of every name and shape that is asked for.
    pub(super) fn random(config: &str, filling: Filling) -> Weights<'static> {
        Weights::of(config, Origin::Random { filling })
    }

    fn of(place: &str, origin: Origin<'a>) -> Weights<'a> {
        let Opening { purpose, dtype, .. } = Opening::default();
        let (device, parameters, taken) = (Device::Cpu, Vec::new(), HashSet::new());
        Weights { place: place.into(), origin, purpose, dtype, device, portable: false, parameters, taken }
    }

    /// Hands tensors out as an opening asks.
    pub(super) fn opened(self, opening: Opening, device: &Device) -> Self {
        let Opening { purpose, dtype, .. } = opening;
        Weights { purpose, dtype, device: device.clone(), portable: opening.is_portable(), ..self }
    }

    /// What every tensor that is handed out is rounded to.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The error that names every tensor that is missing, where `e` is of a build that met the first of them.
    pub(super) fn all_missing<T>(mut self, e: Error, build: impl FnOnce(&mut Weights) -> Result<T>) -> Error {
        let Origin::Files { survey, .. } = &mut self.origin else { return e };
        if !matches!(e, Error::MissingTensor { .. }) {
            return e;
        }
        *survey = Some(Survey::default());
        self.purpose = Purpose::Adapt;
        // What it builds is of no use, and where it ends makes no difference.
        let _ = build(&mut self);
        let Origin::Files { tensors, files, survey: Some(survey), .. } = &self.origin else { return e };
        survey.error(&places(files), tensors).unwrap_or(e)
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

    /// A tensor, stored as it is in the file.
    ///
    /// # Errors
    /// Missing, of another shape, of a dtype that is no float, or with values that are not finite.
    pub fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.read_there(name, shape)?;
        self.hand_out(tensor, vec![Part::whole(name)])
    }

    /// The weight `[d]` of a norm: `offset` plus what the file has.
    pub fn norm(&mut self, name: &str, d: usize, offset: f64) -> Result<Tensor> {
        let mut weight = self.read(name, &[d])?;
        if offset != 0.0 && matches!(self.origin, Origin::Files { .. }) {
            weight = (weight + offset)?;
        }
        let weight = self.there(weight)?;
        self.hand_out(weight, vec![Part { offset, ..Part::whole(name) }])
    }

    /// The linear maps of some modules as one: `[d_in, sum of outputs]`.
    pub fn linear(&mut self, linear: &Linear) -> Result<Projection> {
        let stem = format!("{}.{}", linear.stem, linear.layer.0);
        let (mut pieces, mut biases, mut modules, mut from) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let mut bias_parts = Vec::new();
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
            pieces.push(part(format!("{path}.weight"), linear.turned));
            if linear.bias {
                let name = format!("{path}.bias");
                biases.push(in_order(self.read_there(&name, &[*d_out])?, &order)?);
                bias_parts.push(part(name, false));
            }
            modules.push(Module { path, columns: columns.clone(), order: order.clone() });
        }
        let weight = self.joined(linear.d_in, from, pieces)?;
        let bias = match linear.bias {
            true => Some(self.hand_out(Tensor::cat(&biases, 0)?, bias_parts)?),
            false => None,
        };
        Ok(Projection { weight, bias, modules })
    }

    /// Whether weights are held in panels: what our own kernels run fastest on, but without gradients.
    fn packs(&self) -> bool {
        self.purpose == Purpose::Run && !self.portable
    }

    /// The tensors of `pieces` side by side, `[d_in, d_out]`.
    fn joined(&mut self, d_in: usize, d_out: usize, pieces: Vec<Part>) -> Result<Weight> {
        if self.packs() {
            return Ok(Weight::Packed(Arc::new(self.packed(d_in, d_out, &pieces)?)));
        }
        let one = |piece: &Part| {
            let stored = self.read_there(&piece.name, &shape_of(piece, d_in, d_out))?;
            in_order(if piece.turned { stored.t()? } else { stored }, &piece.order)
        };
        let tensors = pieces.iter().map(one).collect::<Result<Vec<_>>>()?;
        Ok(Weight::Plain(self.hand_out(Tensor::cat(&tensors, 1)?.contiguous()?, pieces)?))
    }

    /// The same in panels, straight from the bytes of the files.
    fn packed(&mut self, d_in: usize, d_out: usize, pieces: &[Part]) -> Result<Packed> {
        // Before any memory is taken: a file that has these tensors is not much smaller than they are.
        for piece in pieces {
            self.taken.insert(piece.name.clone());
            if let Origin::Files { tensors, files, .. } = &self.origin {
                find(tensors, files, &piece.name, &shape_of(piece, d_in, d_out))?;
            }
        }
        let mut packer = Packer::new(self.dtype.of_tensors(), d_in, d_out)?;
        for piece in pieces {
            let shape = shape_of(piece, d_in, d_out);
            match &mut self.origin {
                Origin::Random { filling } => {
                    let drawn = draw(*filling, &piece.name, &shape, self.dtype)?;
                    let drawn = if piece.turned { drawn.t()? } else { drawn };
                    let drawn = in_order(drawn, &piece.order)?.flatten_all()?.to_vec1::<f32>()?;
                    packer.columns(piece.columns.clone().unwrap_or(0..d_out), &drawn)?;
                }
                Origin::Files { tensors, files, tell, .. } => {
                    let (file, view) = find(tensors, files, &piece.name, &shape)?;
                    let (place, bytes) = &files[*file];
                    convert::pack(place, piece, view, self.dtype, &mut packer)?;
                    bytes.release(view.data());
                    tell(view.data().len() as u64);
                }
            }
        }
        Ok(packer.finish()?)
    }

    /// The embedding, in the file `[d_vocab, d_model]`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn embedding(&mut self, name: &str, d_vocab: usize, d_model: usize) -> Result<Embedding> {
        if !self.packs() {
            return Ok(Embedding::Table(self.tensor(name, &[d_vocab, d_model])?));
        }
        let whole = Part { columns: Some(0..d_vocab), turned: true, ..Part::whole(name) };
        Ok(Embedding::Packed(Arc::new(self.packed(d_model, d_vocab, &[whole])?)))
    }

    /// The head: a matrix of its own, in the file `[d_vocab, d_model]`, or the embedding again.
    pub fn unembedding(&mut self, name: &str, tied: bool, embedding: &Embedding) -> Result<Unembedding> {
        if tied {
            // A head that is tied and stored all the same says nothing new.
            self.taken.insert(name.into());
        }
        let matrix = match embedding {
            _ if !tied => {
                let (d_vocab, d_model) = embedding.dims()?;
                let whole = Part { columns: Some(0..d_vocab), turned: true, ..Part::whole(name) };
                HeadMatrix::Own(self.joined(d_model, d_vocab, vec![whole])?)
            }
            Embedding::Packed(w) => HeadMatrix::Own(Weight::Packed(w.clone())),
            Embedding::Table(table) => HeadMatrix::Tied(table.clone()),
        };
        Ok(Unembedding { matrix, cap: None })
    }

    /// What is worth saying about tensors that nobody asked for.
    pub(super) fn unexpected(&self) -> Option<String> {
        match &self.origin {
            Origin::Files { tensors, .. } => unexpected(tensors, &|name| self.taken.contains(name)),
            Origin::Random { .. } => None,
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

    /// A tensor of the file where the model computes.
    fn read_there(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.read(name, shape)?;
        self.there(tensor)
    }

    /// Brings a tensor to where the model computes, in its dtype: our own kernels compute in f32 whatever the weights are
    /// rounded to. A norm's weight that would lose something by that (one more than what the file has) stays in f32.
    fn there(&self, tensor: Tensor) -> Result<Tensor> {
        if !self.portable {
            return Ok(tensor);
        }
        let narrow = tensor.to_dtype(self.dtype.of_tensors())?;
        let exact = tensor.rank() > 1 || narrow.to_dtype(DType::F32)?.to_vec1::<f32>()? == tensor.to_vec1::<f32>()?;
        Ok(if exact { narrow } else { tensor }.to_device(&self.device)?)
    }

    fn read(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.taken.insert(name.into());
        match &mut self.origin {
            Origin::Random { filling } => draw(*filling, name, shape, self.dtype),
            Origin::Files { tensors, survey: Some(survey), .. } => survey.note(tensors, name, shape),
            Origin::Files { tensors, files, tell, .. } => {
                let (tensor, bytes) = from_file(tensors, files, name, shape, self.dtype)?;
                tell(bytes);
                Ok(tensor)
            }
        }
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

fn draw(filling: Filling, name: &str, shape: &[usize], dtype: Dtype) -> Result<Tensor> {
    let n = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    let mut values: Vec<f32> = Vec::new();
    if n.is_none_or(|n| values.try_reserve_exact(n).is_err()) {
        let what = format!("no memory for random values of `{name}` {shape:?}");
        return Err(Error::refused(what, "check the sizes in config.json"));
    }
    let n = n.unwrap_or_default();
    match shape.len() {
        1 if name.ends_with("bias") => values.resize(n, 0.0),
        1 => values.resize(n, 1.0),
        _ => {
            let drawn = if filling == Filling::Noise { n.min(NOISE) } else { n };
            let seed = if let Filling::Random(seed) = filling { seed } else { 0 };
            let mut rng = stream(seed, &format!("weights {name}"));
            values.extend((0..drawn).map(|_| (INIT_STD * normal(&mut rng)) as f32));
            while values.len() < n {
                values.extend_from_within(..drawn.min(n - values.len()));
            }
        }
    }
    convert::round(&mut values, dtype);
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// A draw from the standard normal distribution (Box and Muller 1958).
pub(crate) fn normal(rng: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// A tensor and the bytes that it has in its file.
fn from_file(
    tensors: &Tensors<'_>,
    files: &[(String, Bytes)],
    name: &str,
    shape: &[usize],
    dtype: Dtype,
) -> Result<(Tensor, u64)> {
    let (file, view) = find(tensors, files, name, shape)?;
    let (place, bytes) = &files[*file];
    let values = convert::to_f32(place, name, view, dtype)?;
    bytes.release(view.data());
    Ok((Tensor::from_vec(values, shape, &Device::Cpu)?, view.data().len() as u64))
}

/// A tensor of this name and shape, and the index of its file.
fn find<'t, 'a>(
    tensors: &'t Tensors<'a>,
    files: &[(String, Bytes)],
    name: &str,
    shape: &[usize],
) -> Result<&'t (usize, TensorView<'a>)> {
    let Some(found) = tensors.get(name) else {
        let have: Vec<&str> = tensors.keys().take(4).map(String::as_str).collect();
        let have = format!("{} tensors ({} ...)", tensors.len(), have.join(", "));
        return Err(Error::MissingTensor { place: places(files), name: name.into(), have });
    };
    if found.1.shape() != shape {
        let (found, expected) = ((files[found.0].0.clone(), found.1.shape().to_vec()), shape.to_vec());
        return Err(Error::Shape { place: found.0, name: name.into(), found: found.1, expected });
    }
    Ok(found)
}

/// The shape in the file of a part of a weight `[d_in, d_out]`.
fn shape_of(piece: &Part, d_in: usize, d_out: usize) -> [usize; 2] {
    let n = piece.columns.as_ref().map_or(d_out, |c| c.len());
    if piece.turned { [n, d_in] } else { [d_in, n] }
}

/// What messages call some files together.
fn places(files: &[(String, Bytes)]) -> String {
    files.iter().map(|f| f.0.as_str()).collect::<Vec<_>>().join(", ")
}

/// A stored tensor as f32.
///
/// # Errors
/// A dtype that is no float, or values that are not finite.
pub(crate) fn as_f32(place: &str, name: &str, view: &TensorView<'_>) -> Result<Tensor> {
    Ok(Tensor::from_vec(convert::to_f32(place, name, view, Dtype::F32)?, view.shape(), &Device::Cpu)?)
}
