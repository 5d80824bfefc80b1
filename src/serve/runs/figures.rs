//! The figures of a run: beside its tables, or in the folder `figures` beside `notebooks-data`.

use super::record::{files, is_file, stem_of};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Figures of a run.
const MOST: usize = 200;
/// Bytes of a caption.
const LONGEST_CAPTION: u64 = 64 << 10;

/// A figure and where it lies.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    pub name: String,
    pub caption: String,
    pub path: PathBuf,
}

/// The figures of the run in `dir`, by name. Of a run in `X/notebooks-data/` they are those of `X/figures/` that bear its stem
/// and not the longer one of another run beside it; `all` are the folders of all runs.
pub fn figures(root: &Path, dir: &Path, stem: &str, all: &[PathBuf]) -> Vec<Figure> {
    let mut paths = files(dir, "svg", MOST);
    let data = dir.parent().filter(|p| p.file_name() == Some(OsStr::new("notebooks-data")) && p.starts_with(root));
    if let Some(data) = data {
        let shared = data.with_file_name("figures");
        let beside: Vec<String> = all
            .iter()
            .filter(|d| d.parent() == Some(data))
            .filter_map(|d| Some(d.file_name()?.to_str()?.into()))
            .collect();
        // A folder that is a link could lead anywhere.
        let real = fs::symlink_metadata(&shared).is_ok_and(|m| m.is_dir());
        let of_run = |p: &PathBuf| owner(&stem_of(p), beside.iter().map(String::as_str)) == Some(stem);
        paths.extend(files(&shared, "svg", 50 * MOST).into_iter().filter(|p| real && of_run(p)).take(MOST));
    }
    let mut found: Vec<Figure> =
        paths.into_iter().map(|path| Figure { name: stem_of(&path), caption: caption(&path), path }).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.dedup_by(|a, b| a.name == b.name);
    found
}

/// The stem that a figure belongs to: its own name, or the longest that `_` follows in it.
fn owner<'a>(figure: &str, stems: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let bears = |stem: &&str| figure.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
    stems.filter(bears).max_by_key(|s| s.len())
}

fn caption(figure: &Path) -> String {
    let path = figure.with_extension("md");
    let mut text = Vec::new();
    if is_file(&path)
        && let Ok(file) = fs::File::open(&path)
    {
        let _ = file.take(LONGEST_CAPTION).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn a_figure_belongs_to_the_longest_stem_that_it_bears() {
        let stems = ["knowing", "knowing_again", "drift"];
        let of = |figure| owner(figure, stems.into_iter());
        assert_eq!(of("knowing_plane"), Some("knowing"));
        assert_eq!(of("knowing_again"), Some("knowing_again"));
        assert_eq!(of("knowing_again_plane"), Some("knowing_again"));
        assert_eq!(of("knowing_againx"), Some("knowing"));
        assert_eq!((of("drifting"), of("map")), (None, None));
    }
}
