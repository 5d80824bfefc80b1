//! What the few recognised names stand for. None is called: each has a meaning that is worked out here.

use super::container::legacy_storage;
use super::machine::Machine;
use super::node::{Held, Id, Known, Node, Number, Storage, Strided};
use super::refuse;
use crate::error::{Error, Result};
use std::borrow::Cow;

/// Tensors of more dimensions are none of vectors.
const DIMENSIONS: usize = 8;

impl<'a> Machine<'a, '_> {
    /// What a name gives for these arguments.
    pub(super) fn call(&mut self, callee: Id, arguments: Id) -> Result<Id> {
        let Node::Name(known) = *self.node(callee) else { return Err(self.broken()) };
        // A long tuple that is used again and again would cost its length each time.
        let args = self.items(arguments).filter(|a| a.len() <= 16).map(<[Id]>::to_vec);
        let args = args.ok_or_else(|| self.broken())?;
        let bad = |m: &Self| refuse(m.place, format!("`{}` has arguments that it never has", known.name()));
        match (known, args.as_slice()) {
            (Known::RebuildTensor, [storage, offset, size, stride, ..]) => {
                let tensor = self.strided(*storage, *offset, *size, *stride)?;
                self.add(Node::Tensor(Box::new(tensor)))
            }
            (Known::RebuildParameter, [tensor, ..]) if matches!(self.node(*tensor), Node::Tensor(_)) => Ok(*tensor),
            (Known::LoadFromBytes, [bytes]) => self.loaded(*bytes),
            (Known::Size, [size]) => Ok(*size),
            (Known::Device, [name, ..]) => Ok(*name),
            (Known::OrderedDict, []) => self.add(Node::Dict(vec![])),
            (Known::OrderedDict, [pairs]) => {
                let pairs = self.items(*pairs).ok_or_else(|| bad(self))?;
                let both = |pair: &Id| self.items(*pair).filter(|p| p.len() == 2).map(|p| (p[0], p[1]));
                let pairs: Option<Vec<_>> = pairs.iter().map(both).collect();
                let pairs = pairs.ok_or_else(|| bad(self))?;
                self.spend(8 * pairs.len())?;
                self.add(Node::Dict(pairs))
            }
            (Known::Encode, [text, ..]) => {
                let text = self.text(*text)?;
                let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
                let bytes = bytes.ok_or_else(|| bad(self))?;
                self.spend(bytes.len())?;
                self.add(Node::Bytes(Cow::Owned(bytes)))
            }
            (Known::NumpyDtype, [code, ..]) => {
                let code = self.text(*code)?;
                if code.len() > 8 {
                    return Err(bad(self));
                }
                let node = Node::Dtype(code.trim_start_matches(['<', '>', '=', '|']).into(), code.starts_with('>'));
                self.add(node)
            }
            (Known::NumpyScalar, [dtype, bytes]) => {
                let (Node::Dtype(code, big), Node::Bytes(bytes)) = (self.node(*dtype), self.node(*bytes)) else {
                    return Err(bad(self));
                };
                let node = scalar(code, *big, bytes).ok_or_else(|| bad(self))?;
                self.add(node)
            }
            (Known::NumpyReconstruct, _) => self.add(Node::Array),
            (Known::Reconstructor, [class, ..]) => self.instance(*class),
            (Known::Storage(_) | Known::NumpyArray | Known::PythonObject | Known::SteeringVector, _) => {
                Err(refuse(self.place, format!("it calls `{}`, which its own writer never does", known.name())))
            }
            _ => Err(bad(self)),
        }
    }

    /// A new object of a class.
    pub(super) fn instance(&mut self, class: Id) -> Result<Id> {
        match self.node(class) {
            Node::Name(Known::SteeringVector) => self.add(Node::Object(Known::SteeringVector, None)),
            Node::Name(Known::OrderedDict) => self.add(Node::Dict(vec![])),
            _ => Err(refuse(self.place, "it makes an object of a class that is none")),
        }
    }

    /// Gives an object its state.
    pub(super) fn build(&mut self, object: Id, state: Id) -> Result<()> {
        let made = match self.node(object) {
            Node::Object(class, None) => Node::Object(*class, Some(state)),
            Node::Dtype(code, _) => {
                let order = self.items(state).and_then(|s| s.get(1)).copied();
                let order = order.ok_or_else(|| self.broken())?;
                Node::Dtype(code.clone(), self.text(order)? == ">")
            }
            Node::Array => Node::Tensor(Box::new(self.numpy_array(state)?)),
            // Attributes that somebody hung on a dict or a tensor.
            Node::Dict(_) | Node::Tensor(_) => return Ok(()),
            _ => return Err(self.broken()),
        };
        self.nodes[object as usize] = made;
        Ok(())
    }

    /// `("storage", type, key, device, count)`
    pub(super) fn persistent(&mut self, id: Id) -> Result<Node<'a>> {
        if !self.beside {
            return Err(refuse(self.place, "it refers to an object outside of it"));
        }
        let bad = || refuse(self.place, "it refers to something beside it that is no storage of a tensor");
        let args = self.items(id).ok_or_else(bad)?;
        let [tag, class, key, _, count, rest @ ..] = args else { return Err(bad()) };
        let Node::Name(Known::Storage(number)) = *self.node(*class) else { return Err(bad()) };
        // What may follow says that the storage is a part of another, as no torch of the last years writes it.
        let part = rest.iter().any(|r| *self.node(*r) != Node::None);
        if part || self.text(*tag)? != "storage" {
            return Err(bad());
        }
        let count = self.whole(*count)?;
        let key = self.text(*key)?.to_string();
        self.spend(key.len())?;
        Ok(Node::Storage(Box::new(Storage { number, count, held: Held::Beside(key) })))
    }

    /// A storage in bytes of its own, as a plain pickle has it.
    fn loaded(&mut self, bytes: Id) -> Result<Id> {
        if !self.nested {
            return Err(refuse(self.place, "a storage within a storage"));
        }
        let Node::Bytes(held) = self.node(bytes) else { return Err(self.broken()) };
        let length = held.len();
        let found = legacy_storage(self.place, held)?;
        // Each is read once in an honest file.
        self.spend(length)?;
        let (number, count, range) = found;
        self.add(Node::Storage(Box::new(Storage { number, count, held: Held::Within(bytes, range, false) })))
    }

    /// The state of an array of numpy: version, shape, type, Fortran order, bytes.
    fn numpy_array(&mut self, state: Id) -> Result<Strided> {
        let bad = |m: &Self| refuse(m.place, "an array of numpy in it is no plain array of numbers");
        let state = self.items(state).filter(|s| s.len() == 5).ok_or_else(|| bad(self))?;
        let (shape, dtype, fortran, bytes) = (state[1], state[2], state[3], state[4]);
        let (Node::Dtype(code, big), Node::Bytes(held)) = (self.node(dtype), self.node(bytes)) else {
            return Err(bad(self));
        };
        let number = match code.as_str() {
            "f2" => Number::F16,
            "f4" => Number::F32,
            "f8" => Number::F64,
            "i8" | "u8" => Number::Other(8),
            "i4" | "u4" => Number::Other(4),
            _ => return Err(bad(self)),
        };
        let (count, range, big) = (held.len() / number.size(), 0..held.len(), *big);
        let size = self.sizes(shape)?;
        let mut stride = vec![1usize; size.len()];
        let fortran = *self.node(fortran) == Node::Bool(true);
        for i in 1..size.len() {
            // From the last dimension, or from the first where columns stand together.
            let (this, before) = if fortran { (i, i - 1) } else { (size.len() - 1 - i, size.len() - i) };
            stride[this] = stride[before].checked_mul(size[before]).ok_or_else(|| bad(self))?;
        }
        let held = Held::Within(bytes, range, big);
        let storage = self.add(Node::Storage(Box::new(Storage { number, count, held })))?;
        self.checked(Strided { storage, offset: 0, size, stride })
    }

    fn strided(&mut self, storage: Id, offset: Id, size: Id, stride: Id) -> Result<Strided> {
        let (offset, size, stride) = (self.whole(offset)?, self.sizes(size)?, self.sizes(stride)?);
        self.checked(Strided { storage, offset, size, stride })
    }

    /// A view that stays within what its storage announces, and is no larger.
    fn checked(&self, t: Strided) -> Result<Strided> {
        let Node::Storage(storage) = self.node(t.storage) else {
            return Err(refuse(self.place, "a tensor in it has no storage"));
        };
        let outside = || {
            let said = format!("a tensor {:?} with steps {:?} from {}", t.size, t.stride, t.offset);
            refuse(self.place, format!("{said} does not fit its storage of {} values", storage.count))
        };
        if t.size.len() != t.stride.len() || t.size.len() > DIMENSIONS {
            return Err(outside());
        }
        let count = t.size.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).ok_or_else(outside)?;
        if count > 0 {
            let mut steps = t.size.iter().zip(&t.stride);
            let last = steps.try_fold(t.offset, |at, (d, s)| at.checked_add((d - 1).checked_mul(*s)?));
            if last.is_none_or(|last| last >= storage.count) || count > storage.count {
                return Err(outside());
            }
        }
        Ok(t)
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>> {
        let items = self.items(id).filter(|i| i.len() <= DIMENSIONS).ok_or_else(|| self.broken())?;
        items.iter().map(|i| self.whole(*i)).collect()
    }

    fn whole(&self, id: Id) -> Result<usize> {
        let found = match self.node(id) {
            Node::Int(n) => usize::try_from(*n).ok(),
            _ => None,
        };
        found.ok_or_else(|| -> Error {
            refuse(self.place, format!("a size, a step or a place in it is {}, no count", self.node(id).words()))
        })
    }
}

/// A number of numpy.
fn scalar<'a>(code: &str, big: bool, bytes: &[u8]) -> Option<Node<'a>> {
    let mut b = bytes.to_vec();
    if big {
        b.reverse();
    }
    Some(match (code, b.as_slice()) {
        ("f8", b) => Node::Float(f64::from_le_bytes(b.try_into().ok()?)),
        ("f4", b) => Node::Float(f64::from(f32::from_le_bytes(b.try_into().ok()?))),
        ("f2", b) => Node::Float(half::f16::from_le_bytes(b.try_into().ok()?).to_f64()),
        ("i8", b) => Node::Int(i64::from_le_bytes(b.try_into().ok()?)),
        ("i4", b) => Node::Int(i64::from(i32::from_le_bytes(b.try_into().ok()?))),
        ("b1", [b]) => Node::Bool(*b != 0),
        _ => return None,
    })
}
