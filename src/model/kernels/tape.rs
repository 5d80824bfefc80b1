//! Reverse-mode differentiation of the kernels.
//!
//! candle's own walk adds every gradient to a fresh tensor of zeros, through a pool that all workers share, and keeps
//! gradients of what is never trained; for small models that costs more than the products. Here a kernel writes down how
//! its gradient is computed, and only where a trained tensor stands behind one of its inputs. A node is forgotten as
//! soon as it was walked over, so that memory falls as the walk goes on.
//!
//! A tape belongs to one thread: workers differentiate side by side without knowing of each other.

use super::add::add_untaped;
use candle_core::{Result, Tensor, TensorId};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// Computes the gradients of the inputs from that of the output; `None` where an input is not wanted.
type Back = Box<dyn FnOnce(&Tensor, &[bool]) -> Result<Vec<Option<Tensor>>>>;

struct Node {
    inputs: Vec<TensorId>,
    wanted: Vec<bool>,
    output: TensorId,
    back: Back,
}

/// What the kernels wrote down during [`record`].
#[derive(Default)]
pub struct Tape {
    nodes: Vec<Node>,
    /// Outputs behind which a trained tensor stands.
    reached: HashSet<TensorId>,
}

thread_local! {
    static TAPE: RefCell<Option<Tape>> = const { RefCell::new(None) };
}

/// Takes the tape away however the recording ends.
struct Recording;

impl Drop for Recording {
    fn drop(&mut self) {
        TAPE.with(|t| t.borrow_mut().take());
    }
}

/// Runs `f` with a tape: what its kernels compute from trained tensors (`candle_core::Var`) can be differentiated.
///
/// # Errors
/// Those of `f`; a recording inside a recording.
pub fn record<T, E: From<candle_core::Error>>(
    f: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<(T, Tape), E> {
    if TAPE.with(|t| t.borrow().is_some()) {
        return Err(candle_core::Error::Msg("a tape is already recording on this thread".into()).bt().into());
    }
    TAPE.with(|t| *t.borrow_mut() = Some(Tape::default()));
    let recording = Recording;
    let value = f()?;
    let tape = TAPE.with(|t| t.borrow_mut().take()).unwrap_or_default();
    drop(recording);
    Ok((value, tape))
}

/// Whether a gradient of `x` is wanted by the tape of this thread.
pub(super) fn is_wanted(x: &Tensor) -> bool {
    TAPE.with(|t| t.borrow().as_ref().is_some_and(|tape| tape.wants(x)))
}

/// Writes down how the gradients of `inputs` follow from that of `output`, if any of them is wanted.
pub(super) fn push(
    inputs: &[&Tensor],
    output: &Tensor,
    back: impl FnOnce(&Tensor, &[bool]) -> Result<Vec<Option<Tensor>>> + 'static,
) {
    TAPE.with(|t| {
        let mut held = t.borrow_mut();
        let Some(tape) = held.as_mut() else { return };
        let wanted: Vec<bool> = inputs.iter().map(|x| tape.wants(x)).collect();
        if wanted.contains(&true) {
            tape.reached.insert(output.id());
            let inputs = inputs.iter().map(|x| x.id()).collect();
            tape.nodes.push(Node { inputs, wanted, output: output.id(), back: Box::new(back) });
        }
    });
}

impl Tape {
    fn wants(&self, x: &Tensor) -> bool {
        x.is_variable() || self.reached.contains(&x.id())
    }

    /// Gradients of `sum(seed * of)` with respect to the trained tensors; `seed` has the shape of `of`.
    ///
    /// # Errors
    /// Failures of the kernels.
    pub fn backward(self, of: &Tensor, seed: Tensor) -> Result<Gradients> {
        let mut held = HashMap::from([(of.id(), seed)]);
        for node in self.nodes.into_iter().rev() {
            let Some(grad) = held.remove(&node.output) else { continue };
            let grads = (node.back)(&grad, &node.wanted)?;
            for ((id, wanted), grad) in node.inputs.into_iter().zip(node.wanted).zip(grads) {
                let (true, Some(grad)) = (wanted, grad) else { continue };
                let sum = match held.remove(&id) {
                    Some(before) => add_untaped(&before, &grad)?,
                    None => grad,
                };
                held.insert(id, sum);
            }
        }
        Ok(Gradients(held))
    }
}

/// Gradients by tensor.
pub struct Gradients(HashMap<TensorId, Tensor>);

impl Gradients {
    /// The gradient of a trained tensor; `None` if nothing leads to it.
    pub fn take(&mut self, of: &Tensor) -> Option<Tensor> {
        self.0.remove(&of.id())
    }
}
