//! Looking at what a file says, one object at a time.

use super::container::Pickled;
use super::node::{Id, Known, Node, Number};
use super::refuse;
use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// An object of a file.
#[derive(Clone, Copy)]
pub struct View<'p, 'a> {
    file: &'p Pickled<'a>,
    id: Id,
}

impl<'a> Pickled<'a> {
    /// The object that the file is.
    pub fn root(&self) -> View<'_, 'a> {
        View { file: self, id: self.root }
    }
}

impl<'p, 'a> View<'p, 'a> {
    fn node(&self) -> &'p Node<'a> {
        &self.file.nodes[self.id as usize]
    }

    fn at(&self, id: Id) -> View<'p, 'a> {
        View { file: self.file, id }
    }

    /// What it is, in words.
    pub fn words(&self) -> String {
        match self.node() {
            Node::Tensor(t) => format!("a tensor of {} {:?}", self.file.number(t).name(), t.size),
            node => node.words(),
        }
    }

    pub fn text(&self) -> Option<&'p str> {
        match self.node() {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number.
    pub fn whole(&self) -> Option<i64> {
        match self.node() {
            Node::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// A number; one in a text too, and the only value of a tensor.
    pub fn number(&self) -> Option<f64> {
        match self.node() {
            Node::Int(n) => Some(*n as f64),
            Node::Float(x) => Some(*x),
            Node::Text(text) => text.trim().parse().ok(),
            Node::Tensor(t) if t.size.iter().all(|d| *d == 1) => self.file.values(t).ok()?.first().copied(),
            _ => None,
        }
    }

    /// Items of a list or tuple.
    pub fn items(&self) -> Option<Vec<View<'p, 'a>>> {
        match self.node() {
            Node::List(items) | Node::Tuple(items) => Some(items.iter().map(|id| self.at(*id)).collect()),
            _ => None,
        }
    }

    /// Entries of a dict, in its order.
    pub fn entries(&self) -> Option<Vec<(View<'p, 'a>, View<'p, 'a>)>> {
        match self.node() {
            Node::Dict(pairs) => Some(pairs.iter().map(|(k, v)| (self.at(*k), self.at(*v))).collect()),
            _ => None,
        }
    }

    /// The entry of a dict under a text; the last of several, as in Python.
    pub fn get(&self, key: &str) -> Option<View<'p, 'a>> {
        match self.node() {
            Node::Dict(pairs) => {
                let of = |id: &Id| matches!(&self.file.nodes[*id as usize], Node::Text(t) if t == key);
                pairs.iter().rev().find(|(k, _)| of(k)).map(|(_, v)| self.at(*v))
            }
            _ => None,
        }
    }

    /// The attributes of a vector of the library steering-vectors.
    pub fn steering_vector(&self) -> Option<View<'p, 'a>> {
        match self.node() {
            Node::Object(Known::SteeringVector, Some(state)) => Some(self.at(*state)),
            _ => None,
        }
    }

    /// Sizes of a tensor.
    pub fn shape(&self) -> Option<&'p [usize]> {
        match self.node() {
            Node::Tensor(t) => Some(&t.size),
            _ => None,
        }
    }

    /// The kind of number of a tensor.
    pub fn dtype(&self) -> Option<Number> {
        match self.node() {
            Node::Tensor(t) => Some(self.file.number(t)),
            _ => None,
        }
    }

    /// The values of a tensor.
    ///
    /// # Errors
    /// What is no tensor, and tensors whose values are not there.
    pub fn values(&self) -> Result<Vec<f64>> {
        match self.node() {
            Node::Tensor(t) => self.file.values(t),
            _ => Err(self.not("a tensor")),
        }
    }

    /// A refusal: it is something else than what it should be.
    pub fn not(&self, wanted: &str) -> Error {
        refuse(&self.file.place, format!("{} where {wanted} belongs", self.words()))
    }

    /// As JSON, tensors in words; `None` where it is large.
    pub fn json(&self) -> Option<Value> {
        let mut left = 1000;
        self.some_json(&mut left)
    }

    fn some_json(&self, left: &mut usize) -> Option<Value> {
        *left = left.checked_sub(1)?;
        Some(match self.node() {
            Node::None => Value::Null,
            Node::Bool(b) => Value::Bool(*b),
            Node::Int(n) => Value::from(*n),
            Node::Float(x) => Value::from(*x),
            Node::Text(t) if t.len() <= 1 << 16 => Value::from(t.as_ref()),
            Node::List(_) | Node::Tuple(_) => {
                let items = self.items()?;
                Value::Array(items.iter().map(|v| v.some_json(left)).collect::<Option<_>>()?)
            }
            Node::Dict(_) => {
                let mut object = Map::new();
                for (key, value) in self.entries()? {
                    let name = key.text().map(String::from).or_else(|| key.whole().map(|n| n.to_string()))?;
                    object.insert(name, value.some_json(left)?);
                }
                Value::Object(object)
            }
            _ => Value::from(self.words()),
        })
    }
}
