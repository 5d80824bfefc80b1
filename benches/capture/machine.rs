//! How much of the machine went to anything but the process that was timed. Linux alone tells.

use std::fs::read_to_string;

/// The share of the machine that went to others while `f` had `process` work; 0 where that is not told.
pub fn others_while<T>(process: u32, f: impl FnOnce() -> T) -> (T, f64) {
    let before = Ticks::of(process);
    let done = f();
    (done, Ticks::of(process).zip(before).map_or(0.0, |(after, before)| after.others_since(before)))
}

/// Ticks so far: of all processors together, those they worked, and those the process worked.
#[derive(Clone, Copy)]
struct Ticks {
    all: u64,
    worked: u64,
    own: u64,
}

impl Ticks {
    fn of(process: u32) -> Option<Ticks> {
        // user nice system idle iowait irq softirq steal; what a hypervisor steals is work of others.
        let text = read_to_string("/proc/stat").ok()?;
        let numbers = |text: &str| text.split_whitespace().filter_map(|n| n.parse().ok()).collect::<Vec<u64>>();
        let cpu = numbers(text.lines().next()?.strip_prefix("cpu")?);
        let all: u64 = cpu.get(..8)?.iter().sum();
        // Behind the name, which ends with the last parenthesis, utime is the 12th and stime the 13th.
        let text = read_to_string(format!("/proc/{process}/stat")).ok()?;
        let (_, behind) = text.rsplit_once(')')?;
        let own = behind.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().ok()).sum::<Option<u64>>()?;
        Some(Ticks { all, worked: all - cpu[3] - cpu[4], own })
    }

    /// The share of the machine that others took since.
    fn others_since(self, before: Ticks) -> f64 {
        let others = (self.worked - before.worked).saturating_sub(self.own - before.own);
        others as f64 / (self.all - before.all).max(1) as f64
    }
}
