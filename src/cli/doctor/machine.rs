//! What the machine says of itself.

use serde::Serialize;

/// A machine.
#[derive(Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    /// The widest vectors that the kernels use here.
    pub vectors: &'static str,
    /// Bytes; 0 where it is unknown.
    pub memory: u64,
    pub memory_available: u64,
    /// What this build can compute on.
    pub devices: Vec<&'static str>,
}

impl Machine {
    /// Asks the processor and the system.
    pub fn look() -> Machine {
        let memory = |key| kilobytes("/proc/meminfo", key).map_or(0, |kb| 1024 * kb);
        let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.into());
        let mut devices = vec!["cpu"];
        if cfg!(feature = "cuda") {
            devices.push("cuda");
        }
        Machine {
            processor,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            vectors: vectors(),
            memory: memory("MemTotal"),
            memory_available: memory("MemAvailable"),
            devices,
        }
    }
}

/// The value of a line `key : value` of a file of the system.
fn field(path: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(k, _)| k.trim() == key).map(|(_, v)| v.trim().to_string())
}

fn kilobytes(path: &str, key: &str) -> Option<u64> {
    field(path, key)?.split_whitespace().next()?.parse().ok()
}

#[cfg(target_arch = "x86_64")]
fn vectors() -> &'static str {
    let wide = cfg!(feature = "avx512") && is_x86_feature_detected!("avx512f");
    match () {
        () if wide => "AVX-512",
        () if is_x86_feature_detected!("avx512f") => "AVX2 (AVX-512 is there, but not in this build)",
        () if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") => "AVX2",
        () => "SSE: products will be slow",
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> &'static str {
    "those of the architecture"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_system_are_read_and_their_absence_is_no_failure() {
        let dir = std::env::temp_dir().join(format!("personascope-machine-{}", std::process::id()));
        std::fs::write(&dir, "MemTotal:       24026708 kB\nmodel name\t: Some: thing\n").unwrap();
        let path = dir.to_str().unwrap();
        assert_eq!(kilobytes(path, "MemTotal"), Some(24_026_708));
        assert_eq!(field(path, "model name").unwrap(), "Some: thing");
        assert_eq!(kilobytes(path, "MemAvailable"), None);
        std::fs::remove_file(&dir).unwrap();
        assert_eq!(field(path, "MemTotal"), None);
    }
}
