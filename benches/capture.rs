//! temp
use personascope::axes::Site;
use personascope::model::{Model, Source};
use personascope::unit::{Item, Plan, Tally, Task, run};
use rand::Rng;
#[global_allocator]
static A: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn main() {
    let t = std::time::Instant::now();
    let model = Model::load(&Source::Embedded).unwrap();
    eprintln!("load {:?}", t.elapsed());
    let mut rng = personascope::rng::stream(1, "bench");
    let items: Vec<Item> = (0..2000)
        .map(|i| {
            let n = rng.random_range(12..=400usize);
            Item {
                id: i.to_string(),
                tokens: (0..n).map(|_| rng.random_range(6..1536u32)).collect(),
                prompt_len: n / 2,
                ranges: vec![n / 2..n],
                seed: 0,
                edits: vec![],
            }
        })
        .collect();
    let n: usize = items.iter().map(|i| i.tokens.len()).sum();
    for budget in [256, 2048] {
        for threads in [1, 2] {
            let plan = Plan {
                model: &model,
                task: Task::Capture { sites: (0..4).map(Site::post).collect() },
                edits: vec![],
                items: items.clone(),
                max_batch_tokens: budget,
            };
            let mut best = f64::MAX;
            for _ in 0..3 {
                let t = std::time::Instant::now();
                run(&plan, threads, None, &mut |_: &Tally| true, |_, _| Ok(())).unwrap();
                best = best.min(t.elapsed().as_secs_f64());
            }
            println!("budget {budget} threads {threads}: {:.0} tok/s", n as f64 / best);
        }
    }
}
