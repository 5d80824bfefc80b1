//! Sites in words, also where the file does not say how many blocks the model has.

use crate::axes::{Point, Site};

/// The site in words, blocks counted from 0. Where `n_layers` is not known, what depends on it is said with an `unless`.
pub fn place(site: Site, n_layers: Option<usize>) -> String {
    let words = |n: usize| site.in_words(n).replace(" (counted from 0)", "");
    match (site, n_layers) {
        (_, Some(n)) => words(n),
        (Site::Block { layer, point: Point::ResidPost }, None) => {
            let (l, k) = (layer.0, layer.0 + 1);
            format!("residual after block {l} (HF hidden_states[{k}], unless it is the last block)")
        }
        // Of one block more than its own, so that nothing is said of a last one; and then of no number.
        (_, None) => {
            let n = site.layer().map_or(0, |l| l + 1);
            words(n).replace(&format!(" of {n}"), "")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_said_with_and_without_the_number_of_blocks() {
        let post = Site::post(19);
        assert_eq!(place(post, Some(28)), "residual after block 19 of 28 (HF hidden_states[20])");
        assert_eq!(place(post, None), "residual after block 19 (HF hidden_states[20], unless it is the last block)");
        let pre = Site::new(Point::ResidPre, 2);
        assert_eq!(place(pre, None), "residual read by block 2 (HF hidden_states[2])");
        assert_eq!(place(Site::new(Point::MlpOut, 0), None), "what the MLP adds in block 0");
        assert!(place(Site::post(27), Some(28)).contains("before the final norm"));
    }
}
