//! The stack machine: opcodes of protocols 0 to 5 into nodes.

use super::node::{Id, Known, Node};
use super::texts::{quoted, raw_unicode};
use super::{cut, refuse};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::collections::HashMap;

/// The most objects of one pickle; the largest files of vectors have some tens of thousands.
const MOST: usize = 1 << 18;

pub(super) struct Machine<'a, 'p> {
    pub place: &'p str,
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Id>,
    /// Heights of the stack at which marks were set.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
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

    fn step(&mut self, op: u8) -> Result<()> {
        match op {
            0x80 => {
                let version = self.take(1)?[0];
                if version > 5 {
                    return Err(refuse(self.place, format!("a pickle of protocol {version}; 0 to 5 are known")));
                }
            }
            // A frame is a hint for reading ahead.
            0x95 => {
                let length = self.length(8)?;
                if length > self.bytes.len() - self.at {
                    return Err(cut(self.place, self.at));
                }
            }
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => drop(self.above_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.push(Node::None)?,
            0x88 => self.push(Node::Bool(true))?,
            0x89 => self.push(Node::Bool(false))?,
            b'I' | b'L' | b'F' => {
                let line = self.line()?;
                self.push(self.written_number(op, line)?)?;
            }
            b'K' | b'M' => {
                let n = self.length(if op == b'K' { 1 } else { 2 })?;
                self.push(Node::Int(n as i64))?;
            }
            b'J' => {
                let b = self.array::<4>()?;
                self.push(Node::Int(i64::from(i32::from_le_bytes(b))))?;
            }
            0x8a | 0x8b => {
                let length = self.length(if op == 0x8a { 1 } else { 4 })?;
                let b = self.take(length)?;
                self.push(large(b))?;
            }
            b'G' => {
                let b = self.array::<8>()?;
                self.push(Node::Float(f64::from_be_bytes(b)))?;
            }
            b'S' | b'V' => {
                let line = self.line()?;
                let text = if op == b'S' { quoted(line) } else { raw_unicode(line) };
                let text = text.ok_or_else(|| self.broken())?;
                if let Cow::Owned(t) = &text {
                    self.spend(t.len())?;
                }
                self.push(Node::Text(text))?;
            }
            b'U' | b'T' => {
                let b = self.sized(if op == b'U' { 1 } else { 4 })?;
                let node = match std::str::from_utf8(b) {
                    Ok(text) => Node::Text(Cow::Borrowed(text)),
                    Err(_) => Node::Bytes(Cow::Borrowed(b)),
                };
                self.push(node)?;
            }
            b'X' | 0x8c | 0x8d => {
                let b = self.sized(match op {
                    0x8c => 1,
                    b'X' => 4,
                    _ => 8,
                })?;
                let text = std::str::from_utf8(b).map_err(|_| refuse(self.place, "a text in it is not UTF-8"))?;
                self.push(Node::Text(Cow::Borrowed(text)))?;
            }
            b'B' | b'C' | 0x8e | 0x96 => {
                let b = self.sized(match op {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                })?;
                self.push(Node::Bytes(Cow::Borrowed(b)))?;
            }
            b']' | 0x8f => self.push(Node::List(vec![]))?,
            b')' => self.push(Node::Tuple(vec![]))?,
            b'}' => self.push(Node::Dict(vec![]))?,
            b'l' => {
                let items = self.above_mark()?;
                self.push(Node::List(items))?;
            }
            b't' | 0x91 => {
                let items = self.above_mark()?;
                self.push(Node::Tuple(items))?;
            }
            0x85..=0x87 => {
                let mut items = (0..op - 0x84).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
                items.reverse();
                self.push(Node::Tuple(items))?;
            }
            b'd' => {
                let items = self.above_mark()?;
                let pairs = self.pairs(&items)?;
                self.push(Node::Dict(pairs))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.above_mark()?;
                self.extend(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.fill(vec![(key, value)])?;
            }
            b'u' => {
                let items = self.above_mark()?;
                let pairs = self.pairs(&items)?;
                self.fill(pairs)?;
            }
            b'p' => {
                let index = self.index()?;
                self.remember(index)?;
            }
            b'q' | b'r' => {
                let index = self.length(if op == b'q' { 1 } else { 4 })?;
                self.remember(index as u64)?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            b'g' => {
                let index = self.index()?;
                self.recall(index)?;
            }
            b'h' | b'j' => {
                let index = self.length(if op == b'h' { 1 } else { 4 })?;
                self.recall(index as u64)?;
            }
            b'c' => {
                let (module, name) = (self.text_line()?, self.text_line()?);
                self.name(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (name, module) = (self.text(name)?.to_string(), self.text(module)?.to_string());
                self.name(&module, &name)?;
            }
            b'R' => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                let made = self.call(callee, arguments)?;
                self.stack.push(made);
            }
            0x81 => {
                let (_, class) = (self.pop()?, self.pop()?);
                let made = self.instance(class)?;
                self.stack.push(made);
            }
            b'b' => {
                let state = self.pop()?;
                let object = self.top()?;
                self.build(object, state)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.persistent(id)?;
                self.push(storage)?;
            }
            b'i' => {
                let (module, name) = (self.text_line()?, self.text_line()?);
                return Err(self.stranger(module, name));
            }
            b'o' | 0x92 => return Err(refuse(self.place, "it makes an object in a way that tensors never need")),
            b'P' => return Err(refuse(self.place, "it refers to an object outside of it")),
            0x82..=0x84 => {
                return Err(refuse(self.place, "it refers to an object by a number that only its program knows"));
            }
            0x97 | 0x98 => return Err(refuse(self.place, "its data are in buffers outside of it")),
            _ => return Err(self.broken()),
        }
        Ok(())
    }

    /// Adds a node without putting it on the stack.
    pub(super) fn add(&mut self, node: Node<'a>) -> Result<Id> {
        if self.nodes.len() >= MOST {
            return Err(refuse(self.place, format!("it holds more than {MOST} objects")));
        }
        self.nodes.push(node);
        Ok((self.nodes.len() - 1) as Id)
    }

    fn push(&mut self, node: Node<'a>) -> Result<()> {
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

    fn name(&mut self, module: &str, name: &str) -> Result<()> {
        let known = Known::named(module, name).ok_or_else(|| self.stranger(module, name))?;
        let node = match known {
            Known::TorchType => Node::Text(Cow::Owned(format!("{module}.{name}"))),
            known => Node::Name(known),
        };
        self.push(node)
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| cut(self.place, self.bytes.len()))?;
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// A number of `wide` bytes.
    fn length(&mut self, wide: usize) -> Result<usize> {
        let mut out = [0; 8];
        out[..wide].copy_from_slice(self.take(wide)?);
        usize::try_from(u64::from_le_bytes(out)).map_err(|_| self.broken())
    }

    /// Bytes behind their length.
    fn sized(&mut self, wide: usize) -> Result<&'a [u8]> {
        let length = self.length(wide)?;
        self.take(length)
    }

    fn line(&mut self) -> Result<&'a [u8]> {
        let length = self.bytes[self.at..].iter().position(|b| *b == b'\n');
        let line = self.take(length.ok_or_else(|| cut(self.place, self.bytes.len()))?)?;
        self.at += 1;
        Ok(line)
    }

    fn text_line(&mut self) -> Result<&'a str> {
        let line = self.line()?;
        std::str::from_utf8(line).map_err(|_| self.broken())
    }

    fn index(&mut self) -> Result<u64> {
        self.text_line()?.parse().map_err(|_| self.broken())
    }

    fn written_number(&self, op: u8, line: &[u8]) -> Result<Node<'a>> {
        let text = std::str::from_utf8(line).map_err(|_| self.broken())?.trim();
        let digits = text.strip_suffix('L').unwrap_or(text);
        let node = match (op, text) {
            (b'I', "00") => Some(Node::Bool(false)),
            (b'I', "01") => Some(Node::Bool(true)),
            (b'F', _) => text.parse().ok().map(Node::Float),
            _ => match digits.parse() {
                Ok(n) => Some(Node::Int(n)),
                Err(_) => {
                    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
                    let number = !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit());
                    number.then_some(Node::Large)
                }
            },
        };
        node.ok_or_else(|| self.broken())
    }

    fn pop(&mut self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(self.broken());
        }
        self.stack.pop().ok_or_else(|| cut(self.place, self.at))
    }

    fn top(&self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.last().copied().filter(|_| self.stack.len() > floor).ok_or_else(|| self.broken())
    }

    fn above_mark(&mut self) -> Result<Vec<Id>> {
        let from = self.marks.pop().filter(|from| *from <= self.stack.len()).ok_or_else(|| self.broken())?;
        Ok(self.stack.split_off(from))
    }

    fn pairs(&self, items: &[Id]) -> Result<Vec<(Id, Id)>> {
        let pairs = items.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return Err(self.broken());
        }
        Ok(pairs.map(|p| (p[0], p[1])).collect())
    }

    fn extend(&mut self, items: Vec<Id>) -> Result<()> {
        let list = self.top()?;
        match &mut self.nodes[list as usize] {
            Node::List(held) => held.extend(items),
            _ => return Err(self.broken()),
        }
        Ok(())
    }

    fn fill(&mut self, pairs: Vec<(Id, Id)>) -> Result<()> {
        let dict = self.top()?;
        match &mut self.nodes[dict as usize] {
            Node::Dict(held) => held.extend(pairs),
            _ => return Err(self.broken()),
        }
        Ok(())
    }

    fn remember(&mut self, index: u64) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u64) -> Result<()> {
        let id = self.memo.get(&index).copied();
        let id = id.ok_or_else(|| refuse(self.place, format!("it asks for object {index}, which it never kept")))?;
        self.stack.push(id);
        Ok(())
    }
}

/// A whole number in two's complement, the smallest byte first.
fn large<'a>(b: &[u8]) -> Node<'a> {
    if b.len() > 8 {
        return Node::Large;
    }
    let fill = if b.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
    let mut out = [fill; 8];
    out[..b.len()].copy_from_slice(b);
    Node::Int(i64::from_le_bytes(out))
}
