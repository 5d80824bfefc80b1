//! The stack machine: its stack, marks and memo, and the bytes it reads.

use super::node::{Id, Known, Node};
use super::{cut, refuse};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::collections::HashMap;

/// The most objects of one pickle; the largest files of vectors have some tens of thousands.
const MOST: usize = 1 << 18;

pub(super) struct Machine<'a, 'p> {
    pub place: &'p str,
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) stack: Vec<Id>,
    /// Heights of the stack at which marks were set.
    pub(super) marks: Vec<usize>,
    pub(super) memo: HashMap<u64, Id>,
    pub nodes: Vec<Node<'a>>,
    /// Bytes that may still be made which are not those of the file.
    pub budget: usize,
    /// Whether storages may be beside the pickle (files of torch), or within.
    pub beside: bool,
    /// Whether bytes may hold a pickle of their own: those of a storage, and no deeper.
    pub nested: bool,
}

impl<'a, 'p> Machine<'a, 'p> {
    /// A machine at the beginning of `bytes`.
    pub(super) fn new(place: &'p str, bytes: &'a [u8]) -> Machine<'a, 'p> {
        let (stack, marks, memo, nodes) = (Vec::new(), Vec::new(), HashMap::new(), Vec::new());
        let budget = bytes.len().saturating_mul(2).saturating_add(4096);
        Machine { place, bytes, at: 0, stack, marks, memo, nodes, budget, beside: false, nested: true }
    }

    /// Runs to the end; gives the root and how many bytes were read.
    pub(super) fn run(&mut self) -> Result<(Id, usize)> {
        loop {
            let op = self.take(1)?[0];
            if op == b'.' {
                return Ok((self.pop()?, self.at));
            }
            self.step(op)?;
        }
    }

    /// Adds a node without putting it on the stack.
    pub(super) fn add(&mut self, node: Node<'a>) -> Result<Id> {
        if self.nodes.len() >= MOST {
            return Err(refuse(self.place, format!("it holds more than {MOST} objects")));
        }
        self.nodes.push(node);
        Ok((self.nodes.len() - 1) as Id)
    }

    pub(super) fn push(&mut self, node: Node<'a>) -> Result<()> {
        let id = self.add(node)?;
        self.stack.push(id);
        Ok(())
    }

    pub(super) fn node(&self, id: Id) -> &Node<'a> {
        &self.nodes[id as usize]
    }

    /// Items of a tuple or list.
    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(items) | Node::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn text(&self, id: Id) -> Result<&str> {
        match self.node(id) {
            Node::Text(text) => Ok(text),
            _ => Err(refuse(self.place, "there is no text where one is needed")),
        }
    }

    /// Takes `n` from what may be made beyond the bytes of the file.
    pub(super) fn spend(&mut self, n: usize) -> Result<()> {
        self.budget = self.budget.checked_sub(n).ok_or_else(|| {
            refuse(self.place, "it makes more out of its bytes than there are: one object is used again and again")
        })?;
        Ok(())
    }

    pub(super) fn broken(&self) -> Error {
        cut(self.place, self.at.saturating_sub(1))
    }

    /// The refusal of a name.
    pub(super) fn stranger(&self, module: &str, name: &str) -> Error {
        refuse(
            self.place,
            format!("it holds `{module}.{name}`, which is no tensor: it is not loaded, and nothing is run"),
        )
    }

    pub(super) fn name(&mut self, module: &str, name: &str) -> Result<()> {
        let known = Known::named(module, name).ok_or_else(|| self.stranger(module, name))?;
        let node = match known {
            Known::TorchType => Node::Text(Cow::Owned(format!("{module}.{name}"))),
            known => Node::Name(known),
        };
        self.push(node)
    }

    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| cut(self.place, self.bytes.len()))?;
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// A number of `wide` bytes.
    pub(super) fn length(&mut self, wide: usize) -> Result<usize> {
        let mut out = [0; 8];
        out[..wide].copy_from_slice(self.take(wide)?);
        usize::try_from(u64::from_le_bytes(out)).map_err(|_| self.broken())
    }

    /// Bytes behind their length.
    pub(super) fn sized(&mut self, wide: usize) -> Result<&'a [u8]> {
        let length = self.length(wide)?;
        self.take(length)
    }

    pub(super) fn line(&mut self) -> Result<&'a [u8]> {
        let length = self.bytes[self.at..].iter().position(|b| *b == b'\n');
        let line = self.take(length.ok_or_else(|| cut(self.place, self.bytes.len()))?)?;
        self.at += 1;
        Ok(line)
    }

    pub(super) fn text_line(&mut self) -> Result<&'a str> {
        let line = self.line()?;
        std::str::from_utf8(line).map_err(|_| self.broken())
    }

    pub(super) fn index(&mut self) -> Result<u64> {
        self.text_line()?.parse().map_err(|_| self.broken())
    }

    pub(super) fn pop(&mut self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(self.broken());
        }
        self.stack.pop().ok_or_else(|| cut(self.place, self.at))
    }

    pub(super) fn top(&self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.last().copied().filter(|_| self.stack.len() > floor).ok_or_else(|| self.broken())
    }

    pub(super) fn above_mark(&mut self) -> Result<Vec<Id>> {
        let from = self.marks.pop().filter(|from| *from <= self.stack.len()).ok_or_else(|| self.broken())?;
        Ok(self.stack.split_off(from))
    }

    pub(super) fn pairs(&self, items: &[Id]) -> Result<Vec<(Id, Id)>> {
        let pairs = items.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return Err(self.broken());
        }
        Ok(pairs.map(|p| (p[0], p[1])).collect())
    }

    pub(super) fn extend(&mut self, items: Vec<Id>) -> Result<()> {
        let list = self.top()?;
        match &mut self.nodes[list as usize] {
            Node::List(held) => held.extend(items),
            _ => return Err(self.broken()),
        }
        Ok(())
    }

    pub(super) fn fill(&mut self, pairs: Vec<(Id, Id)>) -> Result<()> {
        let dict = self.top()?;
        match &mut self.nodes[dict as usize] {
            Node::Dict(held) => held.extend(pairs),
            _ => return Err(self.broken()),
        }
        Ok(())
    }

    pub(super) fn remember(&mut self, index: u64) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    pub(super) fn recall(&mut self, index: u64) -> Result<()> {
        let id = self.memo.get(&index).copied();
        let id = id.ok_or_else(|| refuse(self.place, format!("it asks for object {index}, which it never kept")))?;
        self.stack.push(id);
        Ok(())
    }
}
