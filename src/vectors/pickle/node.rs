//! What a pickle says, as a graph of plain values: objects point at others by number, so that an object that is
//! there twice is held once.

use std::borrow::Cow;
use std::ops::Range;

/// The number of a node.
pub(super) type Id = u32;

/// An object of a pickle.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// A whole number beyond 64 bits.
    Large,
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// Sets too.
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A recognised name, not called.
    Name(Known),
    Storage(Box<Storage>),
    Tensor(Box<Strided>),
    /// An instance of a recognised class, with its attributes.
    Object(Known, Option<Id>),
    /// A type of numpy: `f4`, and whether the larger byte comes first.
    Dtype(String, bool),
    /// An array of numpy before its state is known.
    Array,
}

impl Node<'_> {
    /// What it is, in words; short whatever it holds.
    pub(super) fn words(&self) -> String {
        match self {
            Node::None => "None".into(),
            Node::Bool(b) => if *b { "True" } else { "False" }.into(),
            Node::Int(n) => n.to_string(),
            Node::Large => "a number beyond 64 bits".into(),
            Node::Float(x) => x.to_string(),
            Node::Text(t) => match t.char_indices().nth(60) {
                Some((end, _)) => format!("`{}...`", &t[..end]),
                None => format!("`{t}`"),
            },
            Node::Bytes(b) => format!("{} bytes", b.len()),
            Node::List(items) => format!("a list of {}", items.len()),
            Node::Tuple(items) => format!("a tuple of {}", items.len()),
            Node::Dict(pairs) => format!("a dict of {}", pairs.len()),
            Node::Name(known) => format!("`{}`", known.name()),
            Node::Storage(s) => format!("a storage of {} {}", s.count, s.number.name()),
            Node::Tensor(t) => format!("a tensor {:?}", t.size),
            Node::Object(known, _) => format!("an object `{}`", known.name()),
            Node::Dtype(code, _) => format!("the type {code}"),
            Node::Array => "an array without a state".into(),
        }
    }
}

/// The values under a tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Storage {
    pub number: Number,
    /// How many values it is said to have.
    pub count: usize,
    pub held: Held,
}

/// Where the bytes of a storage are.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Held {
    /// Under this key, beside the pickle.
    Beside(String),
    /// A part of the bytes of a node, with the larger byte of a value first or not.
    Within(Id, Range<usize>, bool),
}

/// A view of a storage, checked against the count that the storage announces.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Strided {
    pub storage: Id,
    pub offset: usize,
    pub size: Vec<usize>,
    pub stride: Vec<usize>,
}

/// The kind of number in a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    F16,
    Bf16,
    F32,
    F64,
    /// Whole numbers or truth values, of so many bytes.
    Other(usize),
}

impl Number {
    /// Bytes of a value.
    pub(super) fn size(self) -> usize {
        match self {
            Number::F16 | Number::Bf16 => 2,
            Number::F32 => 4,
            Number::F64 => 8,
            Number::Other(size) => size,
        }
    }

    /// `f32`, ...
    pub fn name(self) -> &'static str {
        match self {
            Number::F16 => "f16",
            Number::Bf16 => "bf16",
            Number::F32 => "f32",
            Number::F64 => "f64",
            Number::Other(_) => "whole numbers",
        }
    }
}

/// Names that mean something here. Every other name is refused: none is ever called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    RebuildTensor,
    RebuildParameter,
    LoadFromBytes,
    Storage(Number),
    Size,
    Device,
    /// A type of torch, such as `torch.float32`.
    TorchType,
    OrderedDict,
    Encode,
    NumpyScalar,
    NumpyReconstruct,
    NumpyArray,
    NumpyDtype,
    Reconstructor,
    PythonObject,
    /// The class of the library steering-vectors.
    SteeringVector,
}

impl Known {
    /// Its name in Python.
    pub(super) fn name(self) -> &'static str {
        match self {
            Known::RebuildTensor => "torch._utils._rebuild_tensor_v2",
            Known::RebuildParameter => "torch._utils._rebuild_parameter",
            Known::LoadFromBytes => "torch.storage._load_from_bytes",
            Known::Storage(_) => "a storage of torch",
            Known::Size => "torch.Size",
            Known::Device => "torch.device",
            Known::TorchType => "a type of torch",
            Known::OrderedDict => "collections.OrderedDict",
            Known::Encode => "_codecs.encode",
            Known::NumpyScalar => "numpy.core.multiarray.scalar",
            Known::NumpyReconstruct => "numpy.core.multiarray._reconstruct",
            Known::NumpyArray => "numpy.ndarray",
            Known::NumpyDtype => "numpy.dtype",
            Known::Reconstructor => "copyreg._reconstructor",
            Known::PythonObject => "builtins.object",
            Known::SteeringVector => "steering_vectors.SteeringVector",
        }
    }

    /// The meaning of a name.
    pub(super) fn named(module: &str, name: &str) -> Option<Known> {
        Some(match (module, name) {
            ("torch._utils", "_rebuild_tensor_v2") => Known::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Known::RebuildParameter,
            ("torch.storage", "_load_from_bytes") => Known::LoadFromBytes,
            ("torch", "Size") => Known::Size,
            ("torch", "device") => Known::Device,
            ("torch", "HalfStorage") => Known::Storage(Number::F16),
            ("torch", "BFloat16Storage") => Known::Storage(Number::Bf16),
            ("torch", "FloatStorage") => Known::Storage(Number::F32),
            ("torch", "DoubleStorage") => Known::Storage(Number::F64),
            ("torch", "BoolStorage" | "ByteStorage" | "CharStorage") => Known::Storage(Number::Other(1)),
            ("torch", "ShortStorage") => Known::Storage(Number::Other(2)),
            ("torch", "IntStorage") => Known::Storage(Number::Other(4)),
            ("torch", "LongStorage") => Known::Storage(Number::Other(8)),
            ("torch", "float16" | "bfloat16" | "float32" | "float64" | "int64" | "int32" | "bool") => Known::TorchType,
            ("collections", "OrderedDict") => Known::OrderedDict,
            ("_codecs", "encode") => Known::Encode,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Known::NumpyScalar,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Known::NumpyReconstruct,
            ("numpy", "ndarray") => Known::NumpyArray,
            ("numpy", "dtype") => Known::NumpyDtype,
            ("copyreg" | "copy_reg", "_reconstructor") => Known::Reconstructor,
            ("builtins" | "__builtin__", "object") => Known::PythonObject,
            ("steering_vectors.steering_vector" | "steering_vectors", "SteeringVector") => Known::SteeringVector,
            _ => return None,
        })
    }
}
