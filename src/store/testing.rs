//! A small store for tests.

use super::layout::head;
use super::manifest::{Manifest, ROWS, RowFile, Stored, Sum, Width};
use super::opened::Store;
use crate::axes::{Point, Site};
use std::path::Path;

/// The sites of [`small`], with their widths.
pub fn sites() -> Vec<Width> {
    vec![
        Width { site: Site::new(Point::ResidPre, 0), width: 3 },
        Width { site: Site::post(0), width: 3 },
        Width { site: Site::Logits, width: 2 },
    ]
}

/// Value `column` of `row` at the site with this index in [`sites`]: exact in 16 bits.
pub fn value(site: usize, row: usize, column: usize) -> f32 {
    (40 * site + 5 * row + column) as f32 / 4.0
}

/// Writes seven rows in files of 3, 3 and 1, and opens the store.
pub fn small(dir: &Path, dtype: Stored) -> Store {
    let layout = sites();
    let (mut files, mut first_row) = (Vec::new(), 0);
    for (i, rows) in [3, 3, 1].into_iter().enumerate() {
        let mut bytes = head(&layout, dtype, rows).0;
        for (s, Width { width, .. }) in layout.iter().enumerate() {
            let values: Vec<f32> =
                (first_row..first_row + rows).flat_map(|r| (0..*width).map(move |c| value(s, r, c))).collect();
            dtype.encode_all(&values, &mut bytes);
        }
        let name = format!("activations-{i:05}.safetensors");
        std::fs::write(dir.join(&name), bytes).unwrap();
        files.push(RowFile { first_row, rows, sum: Sum::of(dir, &name).unwrap() });
        first_row += rows;
    }
    let mut csv = "row,id,pos,said,persona,score\n".to_string();
    for r in 0..7 {
        let persona = ["Ada", "\"B, \"\"C\"\"\"", "Émile"][r % 3];
        let pos = if r == 4 { String::new() } else { (r * 2).to_string() };
        csv += &format!("{r},{},{pos},\"two\nlines {r}\",{persona},{}.5\n", r / 2, r);
    }
    std::fs::write(dir.join(ROWS), csv).unwrap();
    std::fs::write(dir.join("run.json"), "{\"command\":\"capture\",\"pick\":\"last_prompt\"}").unwrap();
    let manifest = Manifest {
        format: Manifest::FORMAT,
        plan_hash: "0".repeat(64),
        rows: 7,
        dtype,
        sites: sites(),
        files,
        tables: vec![Sum::of(dir, ROWS).unwrap()],
        part: None,
    };
    manifest.write(dir).unwrap();
    Store::open(dir).unwrap()
}
