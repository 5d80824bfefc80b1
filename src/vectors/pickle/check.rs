//! What must hold before anything walks the graph: no object within itself, none too deep.

use super::node::{Id, Node};
use super::refuse;
use crate::error::Result;

/// Deeper nesting is none of vectors: theirs is five deep.
const DEEPEST: usize = 64;

/// Looks at all that the root reaches, each object once.
///
/// # Errors
/// An object that holds itself, directly or through others; nesting deeper than [`DEEPEST`].
pub(super) fn check(place: &str, nodes: &[Node<'_>], root: Id) -> Result<()> {
    // Height of what was seen through; on the way down it is `None` and the object is in `open`.
    let mut height: Vec<Option<u8>> = vec![None; nodes.len()];
    let mut open = vec![false; nodes.len()];
    let mut stack: Vec<(Id, usize)> = vec![(root, 0)];
    while let Some((id, next)) = stack.pop() {
        let at = id as usize;
        if let Some(child) = child(&nodes[at], next) {
            open[at] = true;
            stack.push((id, next + 1));
            if open[child as usize] && height[child as usize].is_none() {
                return Err(refuse(place, "an object in it holds itself"));
            }
            if height[child as usize].is_none() {
                stack.push((child, 0));
            }
            if stack.len() > DEEPEST + 1 {
                return Err(deep(place));
            }
            continue;
        }
        // What is below has been seen through by now.
        let below = (0..).map_while(|i| child(&nodes[at], i)).filter_map(|c| height[c as usize]).max();
        let own = below.map_or(0, |h| usize::from(h) + 1);
        if own > DEEPEST {
            return Err(deep(place));
        }
        height[at] = Some(own as u8);
    }
    Ok(())
}

fn deep(place: &str) -> crate::error::Error {
    refuse(place, format!("its objects are nested more than {DEEPEST} deep"))
}

/// The child of a number.
fn child(node: &Node<'_>, i: usize) -> Option<Id> {
    match node {
        Node::List(items) | Node::Tuple(items) => items.get(i).copied(),
        Node::Dict(pairs) => pairs.get(i / 2).map(|(k, v)| if i.is_multiple_of(2) { *k } else { *v }),
        Node::Object(_, state) => state.filter(|_| i == 0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_itself_or_is_too_deep_is_refused_and_shared_objects_are_not() {
        let says = |nodes: &[Node], root| check("f", nodes, root).map_err(|e| e.to_string());
        assert!(says(&[Node::List(vec![0])], 0).unwrap_err().contains("holds itself"));
        assert!(says(&[Node::List(vec![1]), Node::Dict(vec![(2, 0)]), Node::None], 0).unwrap_err().contains("itself"));
        // Each list holds the one before it twice: 2^63 paths, 64 objects.
        let mut shared = vec![Node::None];
        shared.extend((0..63).map(|i| Node::Tuple(vec![i, i])));
        assert!(says(&shared, 63).is_ok());
        shared.extend((63..65).map(|i| Node::Tuple(vec![i, i])));
        assert!(says(&shared, 65).unwrap_err().contains("64 deep"));
        let chain: Vec<Node> = (0..100_000).map(|i| Node::List(vec![(i + 1) % 100_000])).collect();
        assert!(says(&chain, 0).unwrap_err().contains("64 deep"));
        // A deep part that was seen through on a short way is as deep on a long one.
        let mut late: Vec<Node> = (0..60).map(|i| Node::Tuple(if i == 0 { vec![] } else { vec![i - 1] })).collect();
        late.push(Node::Tuple(vec![59]));
        (61..70).for_each(|i| late.push(Node::Tuple(vec![59, i - 1])));
        assert!(says(&late, 69).is_err());
    }
}
