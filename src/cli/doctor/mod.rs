//! `doctor`: what this machine is, how exact and how fast the program is on it, and which models fit.

mod fits;
mod machine;
mod noise;
mod speed;

use super::ModelArgs;
use super::out::say;
use crate::error::Result;
use crate::model::{Dtype, Source};
use machine::Machine;
use serde_json::json;

const EXAMPLES: &str = "Examples:
  personascope doctor                                  the embedded model: seconds
  personascope doctor --model ../checkpoints/some-7b   the same on a model of yours
  personascope doctor --json > machine.json

The noise floor is what differs where nothing should: the same prompts alone and in a batch, and weights in f32 against
weights rounded to bf16 and f16. A difference between two conditions below it means nothing. On a CPU a prompt has the
same bits alone and in company; if it has not, the check fails (exit code 1). On a GPU it need not.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub fn doctor(args: DoctorArgs) -> Result<bool> {
    let machine = Machine::look();
    let threads = args.model.work.threads();
    let model = args.model.load()?;
    let noise = noise::measure(&model, |dtype| args.model.load_as(dtype))?;
    let speed = speed::measure(&model, threads)?;
    let fits = fits::table(machine.memory_available, &speed, model.dtype);
    let exact = model.computing() == "cpu";
    let sound = !exact || (noise.batch.logits == 0.0 && noise.batch.stream == 0.0);
    let is_embedded = matches!(Source::parse(&args.model.model), Source::Embedded(_));
    if args.json {
        let all = json!({
            "version": env!("CARGO_PKG_VERSION"), "machine": machine, "model": model.name, "threads": threads,
            "noise_floor": noise, "speed": speed, "fits": fits, "sound": sound,
        });
        say!("{all:#}");
        return Ok(sound);
    }
    say!("personascope {}", env!("CARGO_PKG_VERSION"));
    say!("\nmachine");
    say!("  processor         {} ({} cores, {} used)", machine.processor, machine.cores, threads);
    say!("  vectors           {}", machine.vectors);
    say!("  memory            {} of {} available", gigabytes(machine.memory_available), gigabytes(machine.memory));
    say!("  devices built in  {}", machine.devices.join(", "));
    say!(
        "\nnoise floor of {} ({} prompts; largest difference, relative to the largest value)",
        model.name,
        noise.prompts
    );
    say!("  {:<26}{:>10}{:>10}{:>14}", "", "stream", "logits", "same choice");
    let line = |name: &str, d: &noise::Distance| {
        say!("  {name:<26}{:>10.1e}{:>10.1e}{:>13.1}%", d.stream, d.logits, 100.0 * d.same_choice);
    };
    line("alone or in a batch", &noise.batch);
    for (dtype, distance) in &noise.rounded {
        line(&format!("weights in f32 or {dtype}"), distance);
    }
    say!("\nspeed");
    say!("  products          {:.0} GFLOP/s on {threads} threads", speed.gflops);
    say!("  memory            {:.1} GB/s on {threads} threads", speed.gigabytes_per_second);
    say!("  reading prompts   {:.0} tokens/s, every layer kept", speed.prefill);
    for (batch, rate) in &speed.decoding {
        say!("  writing           {rate:.0} tokens/s, {batch} at a time");
    }
    say!(
        "\nwhat fits: weights and a quarter more, of the memory that is available now; rates are what products and memory allow"
    );
    say!(
        "  {:>10}{:>8}{:>12}{:>8}{:>14}{:>14}",
        "parameters",
        "weights",
        "needs",
        "fits",
        "reading, t/s",
        "writing, t/s"
    );
    for f in &fits {
        let (size, fit) = (format!("{} B", f.billions), if f.fits { "yes" } else { "no" });
        let needs = gigabytes(f.bytes);
        say!("  {size:>10}{:>8}{needs:>12}{fit:>8}{:>14.0}{:>14.1}", f.dtype.name(), f.reading, f.writing);
    }
    if is_embedded {
        say!("\nThe rates above the table are of the embedded model, which is small; give --model for one of yours.");
    }
    if !sound {
        eprintln!(
            "a prompt has other bits alone than in a batch: results of runs with other batches are not comparable"
        );
    }
    Ok(sound)
}

fn gigabytes(bytes: u64) -> String {
    if bytes == 0 { "unknown".into() } else { format!("{:.1} GB", bytes as f64 / 1e9) }
}

impl ModelArgs {
    /// The same model in other numbers.
    fn load_as(&self, dtype: Dtype) -> Result<crate::model::Model> {
        self.adapters.load(&self.model, crate::model::Opening { dtype, ..self.computing.opening()? })
    }
}
