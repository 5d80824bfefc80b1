//! The opcodes of protocols 0 to 5.

use super::machine::Machine;
use super::node::Node;
use super::texts::{quoted, raw_unicode};
use super::{cut, refuse};
use crate::error::Result;
use std::borrow::Cow;

impl<'a> Machine<'a, '_> {
    /// Does what one opcode says.
    pub(super) fn step(&mut self, op: u8) -> Result<()> {
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
