//! What is known of a run afterwards: rate and loss at every step.

use crate::figures::{Axis, Curves, Page, Panel, Plot, Series, Style, Width};
use crate::table::Table;

/// One row per step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Tokens seen up to the end of each step.
    pub tokens: Vec<f64>,
    pub rate: Vec<f64>,
    /// Mean loss of the step's batch before its update, in nats per token.
    pub loss: Vec<f64>,
    /// Norm of all gradients before clipping.
    pub norm: Vec<f64>,
    /// Loss on held-out sequences after the step; NaN where it was not measured.
    pub heldout: Vec<f64>,
}

/// Steps that the smoothed line averages over, as a share of the run.
const SMOOTHED: usize = 40;

impl Curve {
    /// Steps so far.
    pub fn len(&self) -> usize {
        self.loss.len()
    }

    /// Whether no step was made.
    pub fn is_empty(&self) -> bool {
        self.loss.is_empty()
    }

    /// As a table with one row per step.
    pub fn table(&self) -> Table {
        let mut table =
            Table::new("loss", &["step", "tokens", "learning_rate", "loss_nats", "gradient_norm", "heldout_loss_nats"]);
        for i in 0..self.len() {
            table.push(vec![
                (i + 1).into(),
                (self.tokens[i] as usize).into(),
                self.rate[i].into(),
                self.loss[i].into(),
                self.norm[i].into(),
                self.heldout[i].into(),
            ]);
        }
        table
    }

    /// The losses over tokens.
    pub fn page(&self, name: &str) -> Page {
        let millions = |i: usize| self.tokens[i] / 1e6;
        let width = self.len().div_ceil(SMOOTHED).max(1);
        let mean = |from: usize| {
            let part = &self.loss[from..(from + width).min(self.len())];
            (millions((from + width - 1).min(self.len() - 1)), part.iter().sum::<f64>() / part.len() as f64)
        };
        let smooth: Vec<(f64, f64)> = (0..self.len()).step_by(width).map(mean).collect();
        let heldout: Vec<(f64, f64)> =
            (0..self.len()).filter(|i| self.heldout[*i].is_finite()).map(|i| (millions(i), self.heldout[i])).collect();
        let last = |points: &[(f64, f64)]| points.last().map_or("not measured".into(), |p| format!("{:.4}", p.1));
        let caption = format!(
            "Loss of {name} in nats per counted token, over tokens seen. Line: training loss, mean of {width} steps; points: {} \
             held-out measurements (last: {}). {} steps, {:.2} million tokens; last mean training loss {}.",
            heldout.len(),
            last(&heldout),
            self.len(),
            self.tokens.last().copied().unwrap_or_default() / 1e6,
            last(&smooth),
        );
        let mut series = vec![Series::new("training", smooth)];
        if !heldout.is_empty() {
            series.push(Series::new("held out", heldout).style(Style::Points));
        }
        let curves = Curves::new(Axis::new("million tokens"), Axis::new("loss (nats per token)"), series);
        Page::new("loss", format!("Training of {name}"), caption, Width::Column)
            .row(2.6, vec![Panel::new("", Plot::Curves(curves))])
    }
}
