//! Progress on stderr: a bar with rate and time left on a terminal, nothing elsewhere.

use crate::model::{Loading, Stage};
use crate::train::Progress;
use crate::unit::Tally;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// One bar for one run of units; counts prompt tokens.
pub struct Bar {
    bar: ProgressBar,
    resumed: bool,
}

impl Bar {
    /// A bar that is drawn only where somebody can see it.
    pub fn new(what: &str) -> Bar {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style =
            ProgressStyle::with_template("{msg:<24} {wide_bar:.cyan/dim} {pos}/{len} tokens  {per_sec}  ETA {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what.to_string());
        Bar { bar, resumed: false }
    }

    /// A bar over a known number of things that are not tokens; `what` names them.
    pub fn of(what: &'static str, n: u64) -> Bar {
        let bar = ProgressBar::with_draw_target(Some(n), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{wide_bar:.cyan/dim} {pos}/{len} {msg}  {per_sec}  ETA {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        Bar { bar, resumed: false }
    }

    /// A bar over bytes; none for what is done in a moment.
    pub fn bytes(what: &'static str, n: u64) -> Bar {
        const A_MOMENT: u64 = 64 << 20;
        let target = if n < A_MOMENT { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(n), target);
        let style = ProgressStyle::with_template(
            "{msg:<24} {wide_bar:.cyan/dim} {bytes}/{total_bytes}  {bytes_per_sec}  ETA {eta}",
        );
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        Bar { bar, resumed: false }
    }

    /// Moves on to a place.
    pub fn reach(&self, done: u64, all: u64) {
        self.bar.set_length(all);
        self.bar.set_position(done);
    }

    /// Moves on by so many of them.
    pub fn forward(&self, n: u64) {
        self.bar.inc(n);
    }

    /// Moves on. Always asks for more: an interrupt ends the process, and finished units are kept.
    pub fn step(&mut self, tally: &Tally) -> bool {
        self.bar.set_length(tally.tokens as u64);
        if tally.rows_resumed > 0 && tally.rows_computed == 0 {
            self.resumed = true;
        } else if std::mem::take(&mut self.resumed) {
            // What came from an earlier run says nothing about the speed of this one.
            self.bar.reset_eta();
        }
        self.bar.set_position(tally.tokens_done as u64);
        true
    }

    /// Names the stage that runs now.
    pub fn stage(&self, what: &str) {
        if self.bar.message() != what {
            self.bar.reset();
            self.bar.set_message(what.to_string());
        }
    }

    /// Takes the bar away.
    pub fn end(self) {
        self.bar.finish_and_clear();
    }
}

/// One bar for one training run; counts steps.
pub struct Steps {
    bar: ProgressBar,
}

impl Steps {
    /// A bar that is drawn only where somebody can see it.
    pub fn new(what: &str) -> Steps {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(
            "{prefix:<20} {wide_bar:.cyan/dim} {pos}/{len} steps  {per_sec}  ETA {eta}  {msg}",
        );
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(what.to_string());
        Steps { bar }
    }

    /// Moves on. Always asks for more: an interrupt ends the process, and the checkpoint is kept.
    pub fn step(&self, at: Progress) -> bool {
        if self.bar.length().is_none() {
            self.bar.set_length(at.steps as u64);
            // What came from an earlier run says nothing about the speed of this one.
            self.bar.set_position(at.resumed as u64);
            self.bar.reset_eta();
        }
        self.bar.set_position(at.step as u64);
        self.bar.set_message(format!("loss {:.3}", at.loss));
        true
    }

    /// Takes the bar away.
    pub fn end(self) {
        self.bar.finish_and_clear();
    }
}

/// A model on its way into memory: a line for every file that is fetched, and a bar where it takes a while.
pub struct Arriving {
    stage: String,
    since: Instant,
    bar: Option<ProgressBar>,
}

impl Arriving {
    /// What takes less than this passes unsaid.
    const A_WHILE: Duration = Duration::from_secs(1);

    pub fn new() -> Arriving {
        Arriving { stage: String::new(), since: Instant::now(), bar: None }
    }

    /// Moves on.
    pub fn step(&mut self, at: Loading<'_>) {
        let stage = match at.stage {
            Stage::Fetch(file) => format!("fetching {file}"),
            Stage::Hash => "hashing weights".into(),
            Stage::Read => "reading weights".into(),
        };
        if stage != self.stage {
            self.clear();
            if let Stage::Fetch(_) = at.stage {
                eprintln!("{stage} ({})", HumanBytes(at.total));
            }
            (self.stage, self.since) = (stage, Instant::now());
        }
        if self.bar.is_none() && self.since.elapsed() > Arriving::A_WHILE {
            let bar = ProgressBar::with_draw_target(Some(at.total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(
                "{msg:<24} {wide_bar:.cyan/dim} {bytes}/{total_bytes}  {bytes_per_sec}  ETA {eta}",
            );
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(self.stage.clone());
            self.bar = Some(bar.with_elapsed(self.since.elapsed()));
        }
        if let Some(bar) = &self.bar {
            bar.set_length(at.total);
            bar.set_position(at.done);
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Takes the bar away.
    pub fn end(mut self) {
        self.clear();
    }
}
