//! What is captured in these tests.

use crate::disk::Faulty;
use personascope::axes::{Pick, Site};
use personascope::capture::{Filter, Grouping, Names, Selection};
use personascope::error::Result;
use personascope::model::Model;
use personascope::moments::{Scatter, Shape};
use personascope::record::{Found, Known, Moments, Recording, Report, RowKeys};
use personascope::store::manifest::Stored;
use personascope::text::Message;
use personascope::unit::{Item, Plan, Share, Tally, Task};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Some conversations: rows of every turn in several files, and moments by persona.
pub fn recording<'m>(model: &'m Model, share: Share) -> Recording<'m> {
    let names = Names::default();
    let selection = Selection::from(Pick::EachTurn);
    let (mut items, mut known) = (Vec::new(), Vec::new());
    for i in 0..60 {
        let said = |k: usize| ["tea", "a walk in the garden", "the old river and the bridge"][(i + k) % 3];
        let mut messages = Vec::new();
        for k in 0..1 + i % 3 {
            messages.push(Message::new("user", format!("Tell me about {}.", said(k))));
            messages.push(Message::new("assistant", format!("I like {}.", said(k + 1))));
        }
        let encoded = model.text.chat(&messages, false).unwrap();
        let kept = selection.rows(&i.to_string(), &encoded, &names).unwrap();
        items.push(Item {
            id: i.to_string(),
            prompt_len: encoded.last_prompt() + 1,
            ranges: kept.iter().map(|k| k.range()).collect(),
            tokens: encoded.tokens,
            ..Item::default()
        });
        known.push(Known { kept, adapter: String::new(), cells: vec![format!("p{}", i % 4), (i % 5).to_string()] });
    }
    let further = vec!["persona".to_string(), "score".into()];
    let keys = RowKeys::new(known, &names, further, false);
    let sites: Vec<Site> = (0..model.lm.dims().n_layers).map(Site::post).collect();
    let filter: Filter = "score>=2".parse().unwrap();
    let by = ["persona".to_string()];
    let grouping =
        Grouping::new(keys.rows(), &by, Some(&filter), None, &keys.columns(), |row, c| keys.cell(&items, row, c));
    let widths = vec![model.lm.dims().d_model; sites.len()];
    let moments = Moments {
        shape: Arc::new(Shape::new(widths, Scatter::None, vec![]).unwrap()),
        grouping: grouping.unwrap(),
        directions: vec![],
        min_count: 1,
    };
    let plan = Plan { model, task: Task::Capture { sites }, edits: vec![], items, max_batch_tokens: 120 };
    // About 5 files.
    let shard_bytes = 80_000;
    Recording { plan, keys, rows: Some(Stored::F32), moments: Some(moments), shard_bytes, share, threads: 2 }
}

/// Runs it; stops after so many units if that is asked.
pub fn run(recording: &Recording<'_>, disk: &Faulty, out: &Path, patience: Option<usize>) -> Result<(Report, Found)> {
    let described = json!({ "plan_hash": recording.plan_hash()?, "share": share(recording) });
    let mut found = Found::default();
    let (mut begun, mut left) = (
        |f: &Found| {
            found = f.clone();
            Ok(())
        },
        patience,
    );
    let mut progress = |_: &Tally| match &mut left {
        Some(0) => false,
        Some(n) => {
            *n -= 1;
            true
        }
        None => true,
    };
    let report = recording.run(Arc::new(disk.clone()), out, described, &mut begun, &mut progress)?;
    Ok((report, found))
}

fn share(recording: &Recording<'_>) -> serde_json::Value {
    if recording.share == Share::ALL { json!(null) } else { json!([recording.share.index, recording.share.of]) }
}

/// All files but those that may differ between runs.
pub fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap());
    let files = entries.filter(|e| e.file_type().unwrap().is_file() && e.file_name() != "run.json");
    files.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
}
