//! A packed product in blocks that fit the caches of a core.

use super::super::{Kernel, team, vectorised};
use super::Line;
use super::element::Element;
use super::tile::{COLUMNS, LINE, ROWS, TERMS, Tile, fetch_place, tile};
use std::cell::RefCell;
use std::ops::Range;

/// Terms of a block: whole runs of [`TERMS`].
const DEPTH: usize = 2 * TERMS;
/// Rows of a block: with a panel of weights they fit the level 2 cache of a core.
const MOST_ROWS: usize = 12 * ROWS;
/// Panels for which it pays to pack rows anew.
const FEWEST_PANELS: usize = 4;
/// Pieces for each thread, so that one that is held up keeps nobody waiting for long.
const PIECES: usize = 4;

#[derive(Default)]
struct Scratch {
    /// Rows of a block, tile by tile, `[terms, rows of the tile]`.
    x: Vec<f32>,
    /// A panel of weights as f32.
    w: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A place that several threads write to, each its own part.
struct Shared(*mut f32);

// SAFETY: whoever gets it writes to places that are his alone.
unsafe impl Sync for Shared {}

/// `x [row, d_in] @ w`, with `w` in panels `[d_in, COLUMNS]`.
pub fn multiply<E: Element>(x: &[f32], w: &[Line<E>], d_in: usize, d_out: usize) -> Vec<f32> {
    let rows = x.len().checked_div(d_in).unwrap_or(0);
    assert!(x.len() == rows * d_in && w.len() == d_out.div_ceil(COLUMNS) * d_in, "operands of a product");
    let mut out: Vec<f32> = Vec::with_capacity(rows * d_out);
    if rows * d_out == 0 {
        return out;
    }
    // Equal blocks of whole tiles.
    let block = rows.div_ceil(rows.div_ceil(MOST_ROWS)).next_multiple_of(ROWS);
    let (blocks, panels) = (rows.div_ceil(block), d_out.div_ceil(COLUMNS));
    let hands = team::hands();
    let groups = if hands == 1 { 1 } else { (hands * PIECES).div_ceil(blocks).min(panels.div_ceil(FEWEST_PANELS)) };
    let share = panels.div_ceil(groups);
    let (groups, place) = (panels.div_ceil(share), Shared(out.as_mut_ptr()));
    team::each(blocks * groups, &|part| {
        let (block_at, group) = (part / groups * block, part % groups);
        let x = &x[block_at * d_in..(block_at + block).min(rows) * d_in];
        let panels = group * share..((group + 1) * share).min(panels);
        let place = &place;
        // SAFETY: the block begins within `out`, and no other part has its rows and columns.
        let out = unsafe { place.0.add(block_at * d_out) };
        SCRATCH.with_borrow_mut(|scratch| Part { x, w, d_in, d_out, panels, out }.compute(scratch));
    });
    // SAFETY: every row and column is in one part, and each part wrote all of its own.
    unsafe { out.set_len(rows * d_out) };
    out
}

/// Some rows by some panels.
struct Part<'a, E> {
    x: &'a [f32],
    w: &'a [Line<E>],
    d_in: usize,
    d_out: usize,
    panels: Range<usize>,
    /// The first of the rows in the result.
    out: *mut f32,
}

impl<E: Element> Part<'_, E> {
    fn compute(self, scratch: &mut Scratch) {
        let Part { x, w, d_in, d_out, panels, out } = self;
        let rows = x.len() / d_in;
        let tiles = rows.div_ceil(ROWS);
        // A panel that many tiles need is widened once.
        let widen = size_of::<E>() < size_of::<f32>() && tiles > 2;
        for from in (0..d_in).step_by(DEPTH) {
            let terms = DEPTH.min(d_in - from);
            let packed = if rows == 1 { &x[from..from + terms] } else { pack(x, d_in, from, terms, &mut scratch.x) };
            for panel in panels.clone() {
                let lines = &w[panel * d_in + from..][..terms];
                let next = w.as_ptr().wrapping_add((panel + 1) * d_in + from).cast::<u8>();
                if widen {
                    vectorised(Widen { lines, into: &mut scratch.w });
                }
                for i in 0..tiles {
                    let rows = ROWS.min(rows - i * ROWS);
                    let job = Tile {
                        rows,
                        terms,
                        x: packed[i * ROWS * terms..][..rows * terms].as_ptr(),
                        w: lines.as_ptr().cast::<E>(),
                        // SAFETY: the tile begins within the result.
                        out: unsafe { out.add(i * ROWS * d_out + panel * COLUMNS) },
                        stride: d_out,
                        add: from > 0,
                        // Each tile fetches a line of every term of the next panel, until all are fetched.
                        next: next.wrapping_add(if i * LINE < size_of::<Line<E>>() { i * terms * LINE } else { 0 }),
                    };
                    let columns = COLUMNS.min(d_out - panel * COLUMNS);
                    // SAFETY: rows, terms and panel are those of the operands; the place is this part's alone.
                    unsafe {
                        if widen {
                            runs(job.with(scratch.w.as_ptr()), columns);
                        } else {
                            runs(job, columns);
                        }
                    }
                }
            }
        }
    }
}

/// A tile, run of terms by run; of a panel that is not full only the first `columns` are kept.
///
/// # Safety
/// As of [`tile`], but for the columns.
unsafe fn runs<E: Element>(t: Tile<E>, columns: usize) {
    let mut whole = [0.0f32; ROWS * COLUMNS];
    let narrow = columns < COLUMNS;
    let (out, stride) = if narrow { (whole.as_mut_ptr(), COLUMNS) } else { (t.out, t.stride) };
    // SAFETY: by contract; runs are parts of the tile's terms, and what is copied are the columns that are there.
    unsafe {
        if narrow && t.add {
            (0..t.rows).for_each(|r| out.add(r * stride).copy_from_nonoverlapping(t.out.add(r * t.stride), columns));
        }
        (0..t.rows).for_each(|r| fetch_place(out.add(r * stride)));
        for from in (0..t.terms).step_by(TERMS) {
            let (terms, add) = (TERMS.min(t.terms - from), t.add || from > 0);
            let (x, w) = (t.x.add(from * t.rows), t.w.add(from * COLUMNS));
            tile(Tile { terms, x, w, out, stride, add, next: t.next.wrapping_add(from * LINE), ..t });
        }
        if narrow {
            (0..t.rows).for_each(|r| t.out.add(r * t.stride).copy_from_nonoverlapping(out.add(r * stride), columns));
        }
    }
}

/// Terms `from..from + terms` of all rows, tile by tile, `[term, row]` within one.
fn pack<'a>(x: &[f32], d_in: usize, from: usize, terms: usize, into: &'a mut Vec<f32>) -> &'a [f32] {
    let rows = x.len() / d_in;
    if into.len() < rows * terms {
        into.resize(rows * terms, 0.0);
    }
    for (x, tile) in x.chunks(ROWS * d_in).zip(into[..rows * terms].chunks_mut(ROWS * terms)) {
        let rows = x.len() / d_in;
        if rows == ROWS {
            turn(x, d_in, from, tile);
        } else {
            for (r, row) in x.chunks_exact(d_in).enumerate() {
                for (slots, x) in tile.chunks_exact_mut(rows).zip(&row[from..from + terms]) {
                    slots[r] = *x;
                }
            }
        }
    }
    &into[..rows * terms]
}

/// A full tile, four rows and four terms at a time: the compiler makes shuffles of that.
fn turn(x: &[f32], d_in: usize, from: usize, tile: &mut [f32]) {
    let terms = tile.len() / ROWS;
    for (g, x) in x.chunks_exact(4 * d_in).enumerate() {
        let rows: [&[f32]; 4] = std::array::from_fn(|r| &x[r * d_in + from..][..terms]);
        let [a, b, c, d] = rows.map(|row| row.as_chunks::<4>().0);
        for (slots, (((a, b), c), d)) in tile.chunks_exact_mut(4 * ROWS).zip(a.iter().zip(b).zip(c).zip(d)) {
            for t in 0..4 {
                slots[t * ROWS + 4 * g..][..4].copy_from_slice(&[a[t], b[t], c[t], d[t]]);
            }
        }
        for t in terms / 4 * 4..terms {
            tile[t * ROWS + 4 * g..][..4].copy_from_slice(&rows.map(|row| row[t]));
        }
    }
}

/// Lines of a panel as f32.
struct Widen<'a, E> {
    lines: &'a [Line<E>],
    into: &'a mut Vec<f32>,
}

impl<E: Element> Kernel for Widen<'_, E> {
    type Out = ();
    #[inline(always)]
    fn run<S: pulp::Simd>(self, simd: S) {
        let Widen { lines, into } = self;
        if into.len() < lines.len() * COLUMNS {
            into.resize(lines.len() * COLUMNS, 0.0);
        }
        for (line, into) in lines.iter().zip(into.as_chunks_mut::<COLUMNS>().0) {
            for (to, from) in into.chunks_exact_mut(S::F32_LANES).zip(line.0.chunks_exact(S::F32_LANES)) {
                // SAFETY: both have the lanes of a vector.
                unsafe { to.as_mut_ptr().cast::<S::f32s>().write_unaligned(E::load(simd, from.as_ptr())) };
            }
        }
    }
}
