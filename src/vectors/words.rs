//! Sites in words, also where the file does not say how many blocks the model has.

use crate::axes::{Point, Site};

/// The site in words. Where `n_layers` is not known, what depends on it is said with an `unless`.
pub fn place(site: Site, n_layers: Option<usize>) -> String {
    match (site, n_layers) {
        (_, Some(n)) => site.in_words(n),
        (Site::Logits, None) => site.in_words(0),
        (Site::Block { layer, point: Point::ResidPost }, None) => format!(
            "residual after block {} (counted from 0; HF hidden_states[{}], unless it is the last block)",
            layer.0,
            layer.0 + 1
        ),
        (Site::Block { layer, .. }, None) => {
            let one_of = format!(" of {} (counted from 0)", layer.0 + 1);
            site.in_words(layer.0 + 1).replace(&one_of, " (counted from 0)")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_said_with_and_without_the_number_of_blocks() {
        let post = Site::post(19);
        assert_eq!(place(post, Some(28)), "residual after block 19 of 28 (counted from 0) (HF hidden_states[20])");
        assert!(place(post, None).ends_with("(counted from 0; HF hidden_states[20], unless it is the last block)"));
        let pre = Site::new(Point::ResidPre, 2);
        assert_eq!(place(pre, None), "residual read by block 2 (counted from 0) (HF hidden_states[2])");
        assert_eq!(place(Site::new(Point::MlpOut, 0), None), "what the MLP adds in block 0 (counted from 0)");
        assert!(place(Site::post(27), Some(28)).contains("before the final norm"));
    }
}
