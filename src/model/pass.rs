//! One forward pass in flight: taps read, edits rewrite, and the pass says when all is done.

use super::adapter::{self, Adapter};
use super::cache::Cache;
use super::edit::Line;
pub use super::kernels::portable::Seen;
use super::kernels::portable::attention::Layout;
use super::kernels::{self, portable};
use super::projection::Projection;
use super::receipt::Receipt;
use super::rewriting::{Log, rewrite};
use super::rows::{Example, Rows};
use crate::axes::{Dims, Layer, Point, Site};
use crate::error::{Error, Result};
use candle_core::Tensor;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// Where in the run an activation is: its site, and the table of its rows.
#[derive(Clone, Copy)]
pub struct At<'a> {
    pub site: Site,
    pub rows: &'a Rows,
}

/// Whether a tap wants to see more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Go,
    Stop,
}

/// Reads activations. Taps see what the next layer reads: edits at the same site have run.
pub trait Tap {
    /// The sites it must be shown. A site that never fires is an error of the pass.
    fn wants(&self, site: Site) -> bool;
    /// The positions that it reads of the `example`-th example of the pass, at every site; `None` is all of them.
    ///
    /// What nothing reads need not be computed: at the last layer `see` may be shown these positions alone.
    fn reads(&self, _example: usize) -> Option<Range<usize>> {
        None
    }
    /// Takes `x [row, width]`, the rows of `at` at one site.
    fn see(&mut self, at: At, x: &Tensor) -> Result<Next>;
}

/// Rewrites activations: a pure function from rows to rows of the same shape.
pub trait Edit: Send + Sync {
    /// The sites it rewrites.
    fn wants(&self, site: Site) -> bool;
    /// Whether it rewrites this position of an example that lists it.
    fn covers(&self, example: &Example, pos: usize) -> bool;
    /// A position before which it covers none; examples that are alike up to there are computed once.
    fn first(&self, _prompt_len: usize) -> usize {
        0
    }
    /// What it does to the rows that it covers.
    fn how(&self) -> How<'_>;
}

impl<E: Edit + ?Sized> Edit for &E {
    fn wants(&self, site: Site) -> bool {
        (**self).wants(site)
    }
    fn covers(&self, example: &Example, pos: usize) -> bool {
        (**self).covers(example, pos)
    }
    fn first(&self, prompt_len: usize) -> usize {
        (**self).first(prompt_len)
    }
    fn how(&self) -> How<'_> {
        (**self).how()
    }
}

/// What an edit does to rows.
pub enum How<'a> {
    /// It rewrites the coordinate along a direction. The rows of all such edits of a site go through one operation.
    Along(Line<'a>),
    /// Anything else.
    Rows(&'a dyn Replace),
}

/// Makes rows of rows.
pub trait Replace: Send + Sync {
    /// The new rows for `x [row, d_model]`, rows of one example at these absolute positions, and what a receipt says of it.
    fn replace(&self, positions: &[usize], x: &Tensor) -> Result<(Tensor, Seen)>;
}

/// Hooks are asked what they want up to this layer, so that a site behind the last block is an error and not silence.
const LAYERS_ASKED: usize = 256;

/// Why a walk through the layers ended early.
#[derive(Debug)]
pub enum Interrupt {
    /// Everything wanted has been seen.
    Stopped,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Interrupt {
    fn from(e: E) -> Self {
        Interrupt::Failed(e.into())
    }
}

/// What listens to a pass and what rewrites it.
#[derive(Default)]
pub struct Hooks<'h> {
    taps: Vec<&'h mut dyn Tap>,
    edits: Vec<&'h dyn Edit>,
    adapters: &'h [Adapter],
}

impl<'h> Hooks<'h> {
    /// Adds a tap.
    pub fn tap(mut self, tap: &'h mut dyn Tap) -> Self {
        self.taps.push(tap);
        self
    }

    /// Adds an edit; its index is the number of edits added before it.
    pub fn edit(mut self, edit: &'h dyn Edit) -> Self {
        self.edits.push(edit);
        self
    }

    /// Gives the adapters that examples go through, by index.
    pub fn adapters(mut self, adapters: &'h [Adapter]) -> Self {
        self.adapters = adapters;
        self
    }
}

/// The state of one pass: the row table, the hooks, the cache, and what has fired.
pub struct Pass<'p, 'h> {
    /// All rows, or from the last attention on those that are read.
    rows: Cow<'p, Rows>,
    hooks: &'p mut Hooks<'h>,
    cache: Option<&'p mut Cache>,
    /// Logits are wanted, or keys of later layers: nothing may stop early.
    to_the_end: bool,
    done: Vec<bool>,
    fired: BTreeSet<Site>,
    receipts: Vec<Receipt>,
    log: Log,
    /// Where the rows stand in attention on a device, once that is known.
    layout: Option<Layout>,
    sites: Vec<Site>,
}

impl<'p, 'h> Pass<'p, 'h> {
    pub(super) fn new(
        rows: &'p Rows,
        hooks: &'p mut Hooks<'h>,
        cache: Option<&'p mut Cache>,
        to_the_end: bool,
        dims: &Dims,
        points: &[Point],
    ) -> Result<Self> {
        let blocks = (0..dims.n_layers).flat_map(|l| points.iter().map(move |p| Site::new(*p, l)));
        let sites: Vec<Site> = blocks.chain([Site::Logits]).collect();
        let receipts = vec![Receipt::default(); hooks.edits.len()];
        let done = vec![false; hooks.taps.len()];
        let to_the_end = to_the_end || cache.is_some();
        let (rows, fired) = (Cow::Borrowed(rows), BTreeSet::new());
        let (log, layout) = (Log::default(), None);
        let mut pass = Pass { rows, hooks, cache, to_the_end, done, fired, receipts, log, layout, sites };
        if let Some(cache) = pass.cache.as_mut() {
            cache.open_pass();
        }
        pass.refuse_edits_that_nothing_reads(dims.n_layers)?;
        pass.refuse_adapters_that_are_not_there()?;
        Ok(pass)
    }

    /// An edit behind the last site that is read could only look like one that has no effect.
    fn refuse_edits_that_nothing_reads(&self, n_layers: usize) -> Result<()> {
        let nowhere: Vec<&&dyn Edit> =
            self.hooks.edits.iter().filter(|e| !self.sites.iter().any(|s| e.wants(*s))).collect();
        if !nowhere.is_empty() {
            let asked = self.absent(n_layers).filter(|s| nowhere.iter().any(|e| e.wants(*s)));
            let sites = asked.map(|s| s.to_string()).collect::<Vec<_>>().join(", ");
            return Err(Error::Unfired { sites, exist: self.exist(n_layers) });
        }
        if self.to_the_end {
            return Ok(());
        }
        let last = self.sites.iter().filter(|s| self.hooks.taps.iter().any(|t| t.wants(**s))).max();
        let unread: Vec<String> = self
            .sites
            .iter()
            .filter(|s| last.is_none_or(|last| *s > last) && self.hooks.edits.iter().any(|e| e.wants(**s)))
            .map(Site::to_string)
            .collect();
        if unread.is_empty() {
            return Ok(());
        }
        Err(Error::Unfired { sites: unread.join(", "), exist: self.exist(n_layers) })
    }

    /// Sites that could be asked for and that the model does not have.
    fn absent(&self, n_layers: usize) -> impl Iterator<Item = Site> {
        let all = (0..LAYERS_ASKED.max(n_layers)).flat_map(|l| Point::ALL.map(|p| Site::new(p, l)));
        all.filter(|s| !self.sites.contains(s))
    }

    /// The sites that exist, in words.
    fn exist(&self, n_layers: usize) -> String {
        let own = |p: &Point| self.sites.contains(&Site::new(*p, 0));
        Site::describe_all(n_layers, &Point::ALL.into_iter().filter(own).collect::<Vec<_>>())
    }

    fn refuse_adapters_that_are_not_there(&self) -> Result<()> {
        let n = self.hooks.adapters.len();
        match self.rows.examples().iter().find_map(|e| e.adapter.filter(|a| *a >= n).map(|a| (e.index, a))) {
            Some((example, adapter)) => {
                let what = format!("example {example} asks for adapter {adapter}, but {n} are loaded");
                Err(Error::refused(what, "give it with --adapter, or leave out the `adapter` key"))
            }
            None => Ok(()),
        }
    }

    /// The row table.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// `x [row, in]` through a linear map, plus the low-rank parts of the adapters on their rows.
    pub fn linear(&self, map: &Projection, x: &Tensor) -> Result<Tensor> {
        let runs = adapter::runs(&self.rows);
        if runs.is_empty() { map.apply(x) } else { map.biased(adapter::linear(map, x, &runs, self.hooks.adapters)?) }
    }

    /// Attention of `qkv [row, width]` within each example, over its cache where the pass has one.
    ///
    /// Gives what the heads gather, and the rows of the stream `x` that it belongs to: at the last layer that is
    /// wanted these are the rows that are read, elsewhere all.
    pub fn attend(
        &mut self,
        layer: Layer,
        spec: kernels::Attention,
        qkv: &Tensor,
        x: Tensor,
    ) -> Result<(Tensor, Tensor)> {
        if portable::applies(qkv) {
            return self.attend_on_device(layer, spec, qkv, x);
        }
        if let Some(cache) = self.cache.as_mut() {
            let mut heads = cache.heads(layer, self.rows.examples());
            return Ok((kernels::attend_cached(qkv, spec, self.rows.ranges(), &mut heads)?, x));
        }
        let Some(asking) = self.asking(layer) else {
            return Ok((kernels::attend(qkv, spec, self.rows.ranges(), None)?, x));
        };
        let mixed = kernels::attend(qkv, spec, self.rows.ranges(), Some(&asking))?;
        Ok((mixed, self.narrow(&asking, &x)?))
    }

    /// [`Pass::attend`] in tensor operations.
    fn attend_on_device(
        &mut self,
        layer: Layer,
        spec: kernels::Attention,
        qkv: &Tensor,
        x: Tensor,
    ) -> Result<(Tensor, Tensor)> {
        if let Some(cache) = self.cache.as_mut() {
            let (slots, new) = cache.slots(self.rows.examples());
            return Ok((slots.attend(layer.0, &spec, &new, qkv)?, x));
        }
        if let Some(asking) = self.asking(layer) {
            let mut layout = Layout::new(&spec, self.rows.ranges(), Some(&asking), qkv.device())?;
            return Ok((layout.attend(qkv, &spec)?, self.narrow(&asking, &x)?));
        }
        let layout = match &mut self.layout {
            Some(layout) => layout,
            none => none.insert(Layout::new(&spec, self.rows.ranges(), None, qkv.device())?),
        };
        Ok((layout.attend(qkv, &spec)?, x))
    }

    /// Goes on with the rows of the stream `x` that are asked for alone.
    fn narrow(&mut self, asking: &[Range<usize>], x: &Tensor) -> Result<Tensor> {
        let rows: Vec<u32> = asking.iter().cloned().flatten().map(|r| r as u32).collect();
        let n = rows.len();
        self.rows = Cow::Owned(self.rows.narrowed(asking));
        Ok(x.index_select(&Tensor::from_vec(rows, n, x.device())?, 0)?)
    }

    /// The rows of each example that anything reads from this layer's attention on, where that is less than all.
    fn asking(&self, layer: Layer) -> Option<Arc<Vec<Range<usize>>>> {
        let later = |site: &&Site| **site > Site::Block { layer, point: Point::ResidPost };
        let behind = |site: &&Site| **site > Site::Block { layer, point: Point::ResidPre };
        let taps = || self.hooks.taps.iter().zip(&self.done).filter(|(_, done)| !**done).map(|(tap, _)| tap);
        let is_read = self.sites.iter().filter(later).any(|s| self.listens(*s));
        let is_edited = self.sites.iter().filter(behind).any(|s| self.hooks.edits.iter().any(|e| e.wants(*s)));
        if self.to_the_end || self.hooks.taps.is_empty() || is_read || is_edited {
            return None;
        }
        let of_example = |(i, example): (usize, &Example)| {
            let mut read = taps().map(|tap| tap.reads(i));
            let first = read.next()??;
            let hull = read.try_fold(first, |a, b| b.map(|b| a.start.min(b.start)..a.end.max(b.end)))?;
            let row = |pos: usize| example.rows.start + pos - example.first_pos;
            Some(row(hull.start)..row(hull.end))
        };
        self.rows.examples().iter().enumerate().map(of_example).collect::<Option<Vec<_>>>().map(Arc::new)
    }

    /// Whether anything in this pass reads or rewrites the site.
    fn listens(&self, site: Site) -> bool {
        self.hooks.edits.iter().any(|e| e.wants(site)) || self.hooks.taps.iter().any(|t| t.wants(site))
    }

    /// Shows `x` to the edits, then to the taps, and hands back what the next computation must use.
    pub fn at(&mut self, layer: Layer, point: Point, x: Tensor) -> Result<Tensor, Interrupt> {
        self.visit(Site::Block { layer, point }, x)
    }

    pub(super) fn visit(&mut self, site: Site, mut x: Tensor) -> Result<Tensor, Interrupt> {
        if self.listens(site) {
            if self.hooks.edits.iter().any(|e| e.wants(site)) {
                x = rewrite(&self.hooks.edits, &self.rows, site, x, &mut self.receipts, &mut self.log)?;
                self.fired.insert(site);
            }
            let at = At { site, rows: &self.rows };
            for (tap, done) in self.hooks.taps.iter_mut().zip(&mut self.done) {
                if !*done && tap.wants(site) {
                    *done = tap.see(at, &x)? == Next::Stop;
                    self.fired.insert(site);
                }
            }
        }
        if self.finished(site) { Err(Interrupt::Stopped) } else { Ok(x) }
    }

    /// Whether nothing that is wanted lies behind `site`.
    fn finished(&self, site: Site) -> bool {
        if self.to_the_end || self.hooks.taps.is_empty() {
            return false;
        }
        let wanted = |tap: &dyn Tap| self.sites.iter().any(|s| *s > site && tap.wants(*s));
        self.hooks.taps.iter().zip(&self.done).all(|(tap, done)| *done || !wanted(&**tap))
    }

    /// Ends the pass: every site that was wanted must have fired.
    pub(super) fn close(mut self, n_layers: usize) -> Result<Vec<Receipt>> {
        self.log.settle(&mut self.receipts)?;
        let taps = self.hooks.taps.iter().zip(&self.done).filter(|(_, done)| !**done);
        let wants: Vec<&dyn Tap> = taps.map(|(tap, _)| &**tap as &dyn Tap).collect();
        let silent: Vec<String> = self
            .sites
            .iter()
            .copied()
            .chain(self.absent(n_layers))
            .filter(|s| !self.fired.contains(s) && wants.iter().any(|t| t.wants(*s)))
            .map(|s| s.to_string())
            .collect();
        if silent.is_empty() {
            return Ok(self.receipts);
        }
        Err(Error::Unfired { sites: silent.join(", "), exist: self.exist(n_layers) })
    }
}
