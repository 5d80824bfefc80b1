//! What a folder holds: runs, and files of vectors. Links are not followed, and a huge folder costs no more than a large one.

use std::collections::VecDeque;
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

/// How deep below the folder a run may lie.
const DEEPEST: usize = 4;
/// Runs, files of vectors, and entries of folders that are looked at.
const MOST_RUNS: usize = 500;
const MOST_VECTORS: usize = 300;
const MOST_ENTRIES: usize = 50_000;
/// The folder into which the page saves vectors.
pub const SAVED: &str = "vectors";
/// The vectors of a run.
pub const DIRECTIONS: &str = "directions.safetensors";
/// How names of files of vectors end.
const ENDS: [&str; 7] = ["safetensors", "gguf", "pt", "pth", "npz", "svec", "pkl"];

/// What was found, in the order of the paths.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The folder itself, resolved.
    pub root: PathBuf,
    /// Folders with a `run.json`.
    pub runs: Vec<PathBuf>,
    /// Files that may hold vectors: those of runs, and all in `vectors`.
    pub vectors: Vec<PathBuf>,
    /// What was left out.
    pub warnings: Vec<String>,
}

/// Looks through a folder. One that is not there, or cannot be read, has nothing in it and a warning.
pub fn find(folder: &Path) -> Found {
    let root = match folder.canonicalize() {
        Ok(root) => root,
        Err(e) => {
            let warnings = vec![format!("no results are read from {}: {e}", folder.display())];
            return Found { root: folder.to_path_buf(), warnings, ..Found::default() };
        }
    };
    let mut found = Found { root: root.clone(), ..Found::default() };
    let (mut queue, mut entries) = (VecDeque::from([(root.clone(), 0)]), 0);
    while let Some((dir, depth)) = queue.pop_front() {
        let Some(listed) = sorted(&dir, MOST_ENTRIES.saturating_sub(entries)) else {
            found.warnings.push(format!("{} cannot be read", dir.display()));
            continue;
        };
        entries += listed.len();
        for entry in &listed {
            let (path, name) = (entry.path(), entry.file_name());
            let (Ok(kind), Some(name)) = (entry.file_type(), name.to_str()) else { continue };
            if kind.is_dir() && depth < DEEPEST && !name.starts_with('.') {
                queue.push_back((path, depth + 1));
            } else if kind.is_file() && name == "run.json" {
                found.runs.push(dir.clone());
            } else if kind.is_file() && (name == DIRECTIONS || dir == root.join(SAVED) && holds_vectors(&path)) {
                found.vectors.push(path);
            }
        }
        if entries >= MOST_ENTRIES {
            found.warnings.push(format!("only the first {MOST_ENTRIES} entries of {} are looked at", root.display()));
            break;
        }
    }
    // Other programs write files of this name too: of ours are those that lie in a run.
    found
        .vectors
        .retain(|v| v.parent().is_some_and(|dir| dir == root.join(SAVED) || found.runs.iter().any(|r| r == dir)));
    found.runs.sort();
    found.vectors.sort();
    for (what, list, most) in
        [("runs", &mut found.runs, MOST_RUNS), ("files of vectors", &mut found.vectors, MOST_VECTORS)]
    {
        if list.len() > most {
            found.warnings.push(format!("{} has {} {what}: the first {most} are shown", root.display(), list.len()));
            list.truncate(most);
        }
    }
    found
}

/// At most so many entries of a folder, by name.
fn sorted(dir: &Path, most: usize) -> Option<Vec<DirEntry>> {
    let mut all: Vec<DirEntry> = fs::read_dir(dir).ok()?.flatten().take(most).collect();
    all.sort_by_key(DirEntry::file_name);
    Some(all)
}

fn holds_vectors(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| ENDS.contains(&e)) && !hidden(path)
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|n| n.to_string_lossy().starts_with('.'))
}

/// A path below a folder as it is named in lists: with `/`, and `.` for the folder itself; `None` where it lies elsewhere
/// or is no text.
pub fn relative(root: &Path, path: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> = path.strip_prefix(root).ok()?.iter().map(|p| p.to_str()).collect();
    let joined = parts?.join("/");
    Some(if joined.is_empty() { ".".into() } else { joined })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(dir: &Path, name: &str) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "{}").unwrap();
    }

    #[test]
    fn runs_and_their_vectors_are_found_to_a_depth_and_hidden_folders_are_passed_over() {
        let tmp = tempfile::tempdir().unwrap();
        for name in [
            "run.json",
            "a/notebooks-data/x/run.json",
            "a/notebooks-data/x/directions.safetensors",
            "a/b/directions.safetensors",
            "1/2/3/4/run.json",
            "1/2/3/4/5/run.json",
            ".personascope/x/run.json",
            "vectors/mine.gguf",
            "vectors/notes.txt",
        ] {
            touch(tmp.path(), name);
        }
        let found = find(tmp.path());
        let names =
            |list: &[PathBuf]| -> Vec<String> { list.iter().map(|p| relative(&found.root, p).unwrap()).collect() };
        assert_eq!(names(&found.runs), [".", "1/2/3/4", "a/notebooks-data/x"]);
        assert_eq!(names(&found.vectors), ["a/notebooks-data/x/directions.safetensors", "vectors/mine.gguf"]);
        assert!(found.warnings.is_empty());
        assert!(find(&tmp.path().join("nowhere")).warnings[0].contains("nowhere"));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let (tmp, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        touch(outside.path(), "run.json");
        touch(outside.path(), "directions.safetensors");
        std::os::unix::fs::symlink(outside.path(), tmp.path().join("linked")).unwrap();
        std::os::unix::fs::symlink(tmp.path(), tmp.path().join("round")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("run.json"), tmp.path().join("run.json")).unwrap();
        let found = find(tmp.path());
        assert!(found.runs.is_empty() && found.vectors.is_empty(), "{found:?}");
    }
}
