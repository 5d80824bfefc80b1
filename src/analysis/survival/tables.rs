//! Retention as tables.

use super::Retained;
use crate::analysis::interval::wilson;
use crate::table::{Cell, Table};

impl Retained {
    /// `survival`, `groups` and `tests`; `agreement` where there are several definitions of a break, `modes` where breaks
    /// are labelled.
    pub fn tables(&self) -> Vec<Table> {
        let mut tables = vec![self.survival(), self.groups(), self.tests()];
        if !self.agreement.is_empty() {
            tables.push(self.agreement());
        }
        if !self.modes.is_empty() {
            tables.push(self.modes());
        }
        tables
    }

    fn survival(&self) -> Table {
        let columns = ["group", "clock", "time", "at_risk", "events", "survival", "ci_low", "ci_high", "censored"];
        let mut t = Table::new("survival", &columns);
        for g in &self.groups {
            for p in &g.curve.points {
                t.push(vec![
                    g.name.as_str().into(),
                    g.clock.to_string().into(),
                    Cell::exact(p.time),
                    p.at_risk.into(),
                    p.events.into(),
                    Cell::exact(p.survival),
                    Cell::exact(p.ci_low),
                    Cell::exact(p.ci_high),
                    p.censored.into(),
                ]);
            }
        }
        t
    }

    fn groups(&self) -> Table {
        let columns = [
            "group",
            "clock",
            "n",
            "events",
            "median",
            "median_low",
            "median_high",
            "horizon",
            "restricted_mean",
            "standard_error",
            "ci_low",
            "ci_high",
            "reason",
        ];
        let mut t = Table::new("groups", &columns);
        for g in &self.groups {
            let (n, events) = g.curve.counts();
            let (median, low, high) = g.curve.median();
            let mut reasons = Vec::new();
            if median.is_none() {
                reasons.push("more than half survive all that was watched: no median");
            } else if low.is_none() || high.is_none() {
                reasons.push("the interval of the curve does not cross one half on both sides");
            }
            if g.restricted.is_none() {
                reasons.push("the last run was censored before the horizon: no restricted mean");
            } else if events == 0 {
                reasons.push("no events: no standard error");
            }
            let r = g.restricted;
            let se = r.map(|r| r.standard_error).filter(|s| *s > 0.0);
            let half = se.map(|s| 1.959963984540054 * s);
            let end = |sign: f64| r.zip(half).map(|(r, h)| r.mean + sign * h);
            t.push(vec![
                g.name.as_str().into(),
                g.clock.to_string().into(),
                n.into(),
                events.into(),
                Cell::exact(median),
                Cell::exact(low),
                Cell::exact(high),
                Cell::exact(g.horizon),
                Cell::exact(r.map(|r| r.mean)),
                Cell::exact(se),
                Cell::exact(end(-1.0)),
                Cell::exact(end(1.0)),
                said(&reasons.join("; ")),
            ]);
        }
        t
    }

    fn tests(&self) -> Table {
        let columns = [
            "test",
            "clock",
            "group",
            "against",
            "statistic",
            "df",
            "p_value",
            "q_value",
            "measure",
            "estimate",
            "ci_low",
            "ci_high",
            "n",
            "events",
            "reason",
        ];
        let mut t = Table::new("tests", &columns);
        for test in &self.tests {
            t.push(vec![
                test.test.into(),
                test.clock.as_str().into(),
                test.group.as_str().into(),
                said(&test.against),
                Cell::exact(test.statistic),
                test.df.into(),
                Cell::exact(test.p),
                Cell::exact(test.q),
                said(test.measure),
                Cell::exact(test.estimate),
                Cell::exact(test.interval.map(|i| i.0)),
                Cell::exact(test.interval.map(|i| i.1)),
                test.n.into(),
                test.events.into(),
                said(&test.reason),
            ]);
        }
        t
    }

    fn agreement(&self) -> Table {
        let columns = [
            "a",
            "b",
            "n",
            "both",
            "only_a",
            "only_b",
            "neither",
            "kappa",
            "ci_low",
            "ci_high",
            "turns_difference",
            "difference_low",
            "difference_high",
            "difference_95",
            "reason",
        ];
        let mut t = Table::new("agreement", &columns);
        for a in &self.agreement {
            let mut reasons = Vec::new();
            if a.kappa.is_none() {
                reasons.push("both call the same of every run: no kappa");
            }
            if a.difference.is_none() {
                reasons.push("no run broke by both: no difference of turns");
            }
            t.push(vec![
                a.a.as_str().into(),
                a.b.as_str().into(),
                a.n.into(),
                a.both.into(),
                a.only_a.into(),
                a.only_b.into(),
                a.neither.into(),
                Cell::exact(a.kappa),
                a.interval.map(|i| i.lo).into(),
                a.interval.map(|i| i.hi).into(),
                a.difference.into(),
                a.difference_interval.map(|i| i.lo).into(),
                a.difference_interval.map(|i| i.hi).into(),
                a.largest.into(),
                said(&reasons.join("; ")),
            ]);
        }
        t
    }

    fn modes(&self) -> Table {
        let mut t = Table::new("modes", &["group", "mode", "breaks", "labelled", "share", "ci_low", "ci_high"]);
        for (group, mode, k, n) in &self.modes {
            let interval = wilson(*k, *n, 0.95);
            t.push(vec![
                group.as_str().into(),
                mode.as_str().into(),
                (*k).into(),
                (*n).into(),
                (*k as f64 / *n as f64).into(),
                interval.map(|i| i.lo).into(),
                interval.map(|i| i.hi).into(),
            ]);
        }
        t
    }
}

fn said(text: &str) -> Cell {
    if text.is_empty() { Cell::Empty } else { text.into() }
}
