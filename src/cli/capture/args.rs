//! What `capture` can be asked.

use super::super::ModelArgs;
use crate::axes::Pick;
use crate::capture::{Filter, Positions, Selection};
use crate::record::Moments;
use crate::store::manifest::Stored;
use crate::unit::{MAX_BATCH_TOKENS, Share};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::PathBuf;

const EXAMPLES: &str = r#"Examples:
  echo '{"id":"a","messages":[{"role":"user","content":"Tell me about tea."}],"persona":"none"}' > p.jsonl
  personascope capture --prompts p.jsonl --sites resid_post.all --pick last_prompt --out acts
  personascope capture --prompts p.jsonl --pick last_prompt --adapter warm=adapters/warm --out acts-warm
  personascope capture --prompts p.jsonl --sites resid_pre.0,attn_out.1..2,logits --pick all --out acts-all
  personascope capture --prompts p.jsonl --pick each_turn --keep moments --by persona,turn --out means
  personascope capture --prompts p.jsonl --pick last_prompt --shard 0/4 --out part-0      then: personascope capture-merge
  python3 -c "from safetensors.numpy import load_file; print(load_file('acts/activations.safetensors')['resid_post.2'].shape)"

Rows: activations.safetensors (a tensor per site, [row, d_model]) and rows.csv, which says for every row where it came from.
Moments: moments.safetensors (count, mean and M2 by group and site) and groups.csv; nothing of the size of the rows is kept.
manifest.json has the checksum of every file, run.json the plan. Interrupted in whatever way, the same command goes on where
it was; a file that was lost or damaged since is made again, and only that.

With one --adapter every prompt goes through it. With several, or to compare with the base in one file, a line says which:
"adapter": "warm", or null for the base. rows.csv then has a column `adapter`, empty for the base.

A message may name its speaker: {"role":"assistant","speaker":"<|Ariana|>","content":…} has that string in its header in the
place of the role; rows.csv then has a column `speaker`. See `personascope template --show`."#;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct CaptureArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Prompts, one JSON object per line: {"id", "messages"} or {"id", "text"} or {"id", "tokens"}
    #[arg(long, value_name = "FILE")]
    pub prompts: PathBuf,
    /// Sites: a list of POINT.LAYER, ranges (resid_post.2..5), resid_post.all, all, logits
    #[arg(long, value_name = "SITES", default_value = "resid_post.all")]
    pub sites: String,
    /// Rows: all (every token that somebody said), last_prompt, mean_response, each_turn, positions
    #[arg(long, default_value = "all")]
    pub pick: Pick,
    /// Positions for --pick positions: 0,-1,3..7 (from the end below 0)
    #[arg(long, value_name = "LIST", allow_hyphen_values = true)]
    positions: Option<Positions>,
    /// Only turns of this role
    #[arg(long)]
    role: Option<String>,
    /// Only turns of this speaker
    #[arg(long)]
    speaker: Option<String>,
    /// Also BOS, what the template writes around turns and ends of turns
    #[arg(long)]
    template_tokens: bool,
    /// What is kept: the rows, their moments by group, or both
    #[arg(long, value_enum, default_value = "rows")]
    pub keep: Keep,
    /// The numbers in which rows are kept
    #[arg(long, value_name = "TYPE", value_enum, default_value = "f32")]
    pub rows_dtype: RowsDtype,
    #[command(flatten)]
    pub moments: MomentArgs,
    /// Folder for the results; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Say what it would give, how large it is and how long it takes, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do one of N shares of the work, counted from 0; `capture-merge` joins them
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Share>,
    /// Tokens a unit of work may hold
    #[arg(long, value_name = "N", default_value_t = MAX_BATCH_TOKENS as u64, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_batch_tokens: u64,
    /// Bytes a file may hold before rows go to the next one
    #[arg(long, value_name = "B", default_value_t = 1 << 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub shard_bytes: u64,
}

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    Rows,
    Moments,
    Both,
}

/// The numbers in which rows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RowsDtype {
    F32,
    F16,
    Bf16,
}

/// By what moments are taken, and which.
#[derive(Args, Clone)]
pub struct MomentArgs {
    /// Moments: columns that make the groups: role, turn, speaker, adapter, any column of the prompts [default: one group]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub by: Vec<String>,
    /// Moments: also of the rows alone that pass, such as 'score>=3'
    #[arg(long, value_name = "COLUMN>=X")]
    pub filter: Option<Filter>,
    /// Moments: fewest rows that must pass for the filtered group to be given
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub min_count: u64,
    /// Moments: a column of weights
    #[arg(long, value_name = "COLUMN")]
    pub weight: Option<String>,
    /// Moments: the covariance too: none, full, sketch:ROWS, or auto (full to a width of 1024, else sketch:64)
    #[arg(long, value_name = "KIND", default_value = "none")]
    pub covariance: Covariance,
    /// Moments: projections with quantiles on these directions: safetensors, tensors [d] or [k, d] named SITE or NAME/SITE
    #[arg(long, value_name = "FILE")]
    pub project: Option<PathBuf>,
}

/// What is kept of covariances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covariance {
    None,
    Auto,
    Full,
    Sketch(usize),
}

impl std::str::FromStr for Covariance {
    type Err = String;
    fn from_str(text: &str) -> Result<Covariance, String> {
        match text {
            "none" => Ok(Covariance::None),
            "auto" => Ok(Covariance::Auto),
            "full" => Ok(Covariance::Full),
            _ => {
                let rows = text.strip_prefix("sketch:").and_then(|n| n.parse().ok()).filter(|n| *n > 0);
                rows.map(Covariance::Sketch).ok_or_else(|| format!("`{text}`: one of none, auto, full, sketch:64"))
            }
        }
    }
}

impl MomentArgs {
    /// As `run.json` holds it.
    pub fn describe(&self, moments: &Moments) -> Value {
        json!({
            "by": self.by,
            "groups": moments.grouping.groups.len(),
            "filter": self.filter,
            "min_count": self.min_count,
            "weight": self.weight,
            "covariance": format!("{:?}", moments.shape.scatter()).to_lowercase(),
            "directions": moments.directions,
        })
    }

    /// Whether anything was asked that moments alone answer.
    pub fn is_asked(&self) -> bool {
        !self.by.is_empty()
            || self.filter.is_some()
            || self.weight.is_some()
            || self.project.is_some()
            || self.covariance != Covariance::None
    }
}

impl CaptureArgs {
    /// Which rows are kept.
    pub fn selection(&self) -> Selection {
        Selection {
            pick: self.pick,
            positions: self.positions.clone().unwrap_or(Positions(vec![])),
            role: self.role.clone(),
            speaker: self.speaker.clone(),
            template_tokens: self.template_tokens,
        }
    }

    /// The numbers in which rows are kept, if they are.
    pub fn stored(&self) -> Option<Stored> {
        (self.keep != Keep::Moments).then_some(match self.rows_dtype {
            RowsDtype::F32 => Stored::F32,
            RowsDtype::F16 => Stored::F16,
            RowsDtype::Bf16 => Stored::Bf16,
        })
    }
}
