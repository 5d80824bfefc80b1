//! Our side, as a process of its own that speaks as `peer_capture.py` does.

use crate::job::Job;
use crate::peer::Done;
use personascope::axes::Site;
use personascope::model::{Model, Source};
use personascope::unit::{Item, MAX_BATCH_TOKENS, Plan, Tally, Task, run};
use std::ops::Range;
use std::time::Instant;

/// `[layer][prompt, d_model]`
type Means = Vec<Vec<f32>>;

/// Runs an arm for every line on standard input.
pub fn serve(file: &str) -> Done<()> {
    let job: Job = serde_json::from_slice(&std::fs::read(file)?)?;
    let model = Model::load(&Source::parse(&job.source))?;
    let layers = model.lm.dims().n_layers;
    let means = plan(&model, &job, (0..layers).map(Site::post).collect(), |r| vec![r]);
    // The same pass over the same units with nothing kept. What nobody reads is not computed, so that a pass without any tap
    // would be another one: the ends of each range at the last layer are read, two rows where `means` averages them all at
    // all layers.
    let nothing = plan(&model, &job, vec![Site::post(layers - 1)], |r| vec![r.start..r.start + 1, r.end - 1..r.end]);
    capture(&plan(&model, &Job { ids: job.ids[..1].to_vec(), ..job }, vec![Site::post(0)], |r| vec![r]), 1)?;
    println!("{}", serde_json::json!({ "arms": ["means", "nothing"], "loaded": memory("VmRSS")? }));
    let mut latest = Means::new();
    for line in std::io::stdin().lines() {
        let line = line?;
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("run", arm) => {
                let began = Instant::now();
                latest = capture(if arm == "means" { &means } else { &nothing }, job.threads)?;
                println!("{}", began.elapsed().as_secs_f64());
            }
            ("write", path) => {
                std::fs::write(path, latest.iter().flatten().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())?;
                println!("{}", latest.len());
            }
            _ => println!("{}", memory("VmHWM")?),
        }
    }
    Ok(())
}

fn plan<'m>(model: &'m Model, job: &Job, sites: Vec<Site>, ranges: fn(Range<usize>) -> Vec<Range<usize>>) -> Plan<'m> {
    let item = |(i, (tokens, range)): (usize, (&Vec<u32>, &(usize, usize)))| Item {
        id: i.to_string(),
        tokens: tokens.clone(),
        prompt_len: tokens.len(),
        ranges: ranges(range.0..range.1),
        ..Item::default()
    };
    let items = job.ids.iter().zip(&job.ranges).enumerate().map(item).collect();
    Plan { model, task: Task::Capture { sites }, edits: vec![], items, max_batch_tokens: MAX_BATCH_TOKENS }
}

fn capture(plan: &Plan, threads: usize) -> Done<Means> {
    let mut means = Means::new();
    run(plan, threads, None, &mut |_: &Tally| true, |_, outcome| {
        means.resize_with(outcome.kept.len(), Vec::new);
        means.iter_mut().zip(outcome.kept).for_each(|(all, (_, rows))| all.extend(rows));
        Ok(())
    })?;
    Ok(means)
}

/// A line of `/proc/self/status` in kB.
fn memory(name: &str) -> Done<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).ok_or("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
