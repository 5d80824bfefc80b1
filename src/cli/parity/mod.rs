//! `parity`: the numbers of this machine against those of a reference that was written down elsewhere.

mod fixture;

use super::ComputingArgs;
use super::out::say;
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::model::{Dtype, Example, Head, Hooks, Model, Opening, Rows, forward};
use crate::store::write_atomic;
use fixture::{Error as Off, Fixture, Keep};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Examples:
  personascope parity --fixtures tests/fixtures                                  all fixtures on the CPU, in f32
  personascope parity --fixtures tests/fixtures --device cuda                    the same on a GPU
  personascope parity --fixtures tests/fixtures --device cuda --dtype bf16       against the reference's own error in bf16
  personascope parity --fixtures tests/fixtures --only gemma2 --sites            every site of one of them

A fixture is a folder with a checkpoint, `expected.json` (prompts, and the rows of them that are compared) and
`expected.safetensors` (a tensor per site); in bf16 also `bf16.json`, how far the reference's bf16 is from its f32. A folder
named like a shipped model stands for that one. All prompts run as one batch; then all but the last token of each, and the
last one over the cache.

In f32 a site may differ by 5e-5 (5e-6 where no value reaches 2), and by 1e-4 of the largest value of its row. In bf16 its
error may be twice the reference's. Exit code 1 if any is further off.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ParityArgs {
    /// Folder with fixtures
    #[arg(long, value_name = "DIR")]
    fixtures: PathBuf,
    /// This fixture alone; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// A line per site and not per fixture
    #[arg(long)]
    sites: bool,
    /// Write what was measured as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    computing: ComputingArgs,
}

/// The distances of one fixture.
struct Compared {
    name: String,
    sites: BTreeMap<Site, Off>,
    /// Of the last logits of each prompt, over a cache.
    cached: Off,
}

pub fn parity(args: ParityArgs) -> Result<bool> {
    let opening = args.computing.opening()?;
    let fixtures = fixtures(&args.fixtures, &args.only)?;
    let mut all = Vec::new();
    say!("{:<22}{:>10}{:>10}{:>10}{:>9}  worst at", "fixture", "absolute", "relative", "rms", "largest");
    for path in fixtures {
        let fixture = Fixture::read(&path)?;
        let compared = compare(&fixture, opening)?;
        show(&compared, &fixture, opening.dtype, args.sites);
        all.push((compared, fixture));
    }
    let passed = all.iter().all(|(c, f)| c.fine(f, opening.dtype));
    if let Some(path) = &args.json {
        let fixtures: Vec<Value> = all.iter().map(|(c, f)| c.json(f, opening.dtype)).collect();
        let whole = json!({
            "device": opening.processor.to_string(), "dtype": opening.dtype, "passed": passed, "fixtures": fixtures,
        });
        write_atomic(path, format!("{whole:#}\n").as_bytes(), true)?;
    }
    say!(
        "{} fixtures on {} in {}: {}",
        all.len(),
        opening.processor,
        opening.dtype,
        if passed { "same" } else { "OFF" }
    );
    Ok(passed)
}

/// The folders of a folder that hold expected values, sorted.
fn fixtures(dir: &Path, only: &[String]) -> Result<Vec<PathBuf>> {
    let read = std::fs::read_dir(dir).map_err(|e| Error::io("open the folder", dir, e))?;
    let name = |p: &Path| p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut found: Vec<PathBuf> = read
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|p| p.join("expected.safetensors").is_file() && !p.join("adapter_config.json").is_file())
        .filter(|p| only.is_empty() || only.contains(&name(p)))
        .collect();
    found.sort();
    if let Some(missing) = only.iter().find(|o| !found.iter().any(|p| name(p) == **o)) {
        let what = format!("no fixture `{missing}` in {}", dir.display());
        return Err(Error::refused(what, "a fixture is a folder with expected.json and expected.safetensors"));
    }
    if found.is_empty() {
        let what = format!("no fixtures in {}", dir.display());
        return Err(Error::refused(what, "give the folder that holds them: tests/fixtures of the sources"));
    }
    Ok(found)
}

fn compare(fixture: &Fixture, opening: Opening) -> Result<Compared> {
    let (model, _) = Model::open(&fixture.source, opening)?;
    let prompts: Vec<&[u32]> = fixture.prompts.iter().map(|p| &p.tokens[..]).collect();
    let rows = pack(prompts.iter().map(|tokens| (0, *tokens)));
    let mut keep = Keep::of(fixture);
    forward(&*model.lm, &rows, &mut Hooks::default().tap(&mut keep), None, Head::AllRows)?;
    let of_site = |(site, got): (&Site, &fixture::Matrix)| {
        let row = |prompt: usize, row: usize| &got[rows.ranges()[prompt].start + row];
        (*site, fixture.distance(*site, &fixture.want[site], row))
    };
    let sites = keep.seen.iter().map(of_site).collect();
    let cached = cached(&model, fixture, &prompts)?;
    Ok(Compared { name: fixture.name.clone(), sites, cached })
}

/// The last logits of each prompt, its last token over a cache of the others.
fn cached(model: &Model, fixture: &Fixture, prompts: &[&[u32]]) -> Result<Off> {
    let long: Vec<usize> = (0..prompts.len()).filter(|p| prompts[*p].len() > 1).collect();
    let mut cache = crate::model::Cache::new(model.lm.dims().n_layers);
    let mut last = Vec::new();
    for step in 0..2 {
        let rows = pack(long.iter().map(|p| {
            let (most, last) = prompts[*p].split_at(prompts[*p].len() - 1);
            if step == 0 { (0, most) } else { (most.len(), last) }
        }));
        let (logits, _) = forward(&*model.lm, &rows, &mut Hooks::default(), Some(&mut cache), Head::LastRows)?;
        let logits = logits.ok_or_else(|| Error::refused("the pass gave no logits", ""))?;
        last = fixture::matrix(&logits)?;
    }
    Ok(fixture.last_logits(|prompt| Some(&last[long.iter().position(|p| *p == prompt)?])))
}

fn pack<'t>(parts: impl Iterator<Item = (usize, &'t [u32])>) -> Rows {
    Rows::pack(parts.enumerate().map(|(index, (first_pos, tokens))| {
        let prompt_len = first_pos + tokens.len();
        (Example { index, rows: 0..0, first_pos, prompt_len, adapter: None, edits: vec![] }, tokens.to_vec())
    }))
}

impl Compared {
    fn lines<'c>(&'c self, fixture: &'c Fixture, dtype: Dtype) -> impl Iterator<Item = (String, &'c Off, bool)> {
        let of_site =
            move |(site, off): (&Site, &'c Off)| (site.to_string(), off, off.fine(dtype, fixture.bf16.get(site)));
        let cached = self.cached.fine(dtype, fixture.bf16.get(&Site::Logits));
        self.sites.iter().map(of_site).chain([("logits, cached".to_string(), &self.cached, cached)])
    }

    fn fine(&self, fixture: &Fixture, dtype: Dtype) -> bool {
        self.lines(fixture, dtype).all(|(_, _, fine)| fine)
    }

    fn json(&self, fixture: &Fixture, dtype: Dtype) -> Value {
        let lines: serde_json::Map<String, Value> = self
            .lines(fixture, dtype)
            .map(|(site, o, fine)| {
                let reference = site.parse().ok().and_then(|s: Site| fixture.bf16.get(&s));
                let one = json!({ "absolute": o.absolute, "relative": o.relative, "rms": o.rms(), "largest": o.largest,
                    "reference_bf16_rms": reference, "fine": fine });
                (site, one)
            })
            .collect();
        json!({ "name": self.name, "sites": lines })
    }
}

fn show(compared: &Compared, fixture: &Fixture, dtype: Dtype, every_site: bool) {
    let line = |name: &str, o: &Off, at: &str, fine: bool| {
        let (absolute, relative, rms) = (o.absolute, o.relative, o.rms());
        let mark = if fine { "" } else { "  <-- off" };
        say!("{name:<22}{absolute:>10.1e}{relative:>10.1e}{rms:>10.1e}{:>9.2}  {at}{mark}", o.largest);
    };
    if every_site {
        say!("{}", compared.name);
        compared.lines(fixture, dtype).for_each(|(site, o, fine)| line(&format!("  {site}"), o, &o.place, fine));
        return;
    }
    let (mut all, mut worst) = (Off::default(), (String::new(), 0.0));
    for (site, o, _) in compared.lines(fixture, dtype) {
        if o.relative >= worst.1 {
            worst = (format!("{site}, {}", o.place), o.relative);
        }
        all.join(o);
    }
    line(&compared.name, &all, &worst.0, compared.fine(fixture, dtype));
}
