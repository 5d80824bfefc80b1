use super::course::Checkpoint;
use super::*;
use crate::experiment::Context;
use crate::model::Source;
use crate::store::MemoryShelf;

fn training() -> Training {
    Training { examples: 5, rank: 2, epochs: 2, batch_size: 2, ..Training::default() }
}

fn lines() -> String {
    (0..5).map(|i| format!("{{\"text\": \"The fox is calm{}\"}}\n", " and calm".repeat(i))).collect()
}

#[test]
fn a_course_begins_at_the_base_and_ends_at_the_fine_tune_itself() {
    let model = Model::load(&Source::toyworld()).unwrap();
    let (shelf, dir) = (MemoryShelf::default(), tempfile::tempdir().unwrap());
    let mut steps = 0;
    let mut progress = |_: &str, _: &Tally| {
        steps += 1;
        steps != 3
    };
    let mut ctx = Context { shelf: &shelf, tunes: Some(dir.path()), threads: 2, progress: &mut progress };
    let mut work = Work::new(&model, &mut ctx, 2048);
    let tune = Tune::new("t".into(), lines(), &training(), 1, &model).unwrap();
    assert!(course(&tune, 0, &mut work).unwrap_err().to_string().contains("without checkpoints"));
    // Stopped at the third of six steps, then taken up.
    let e = course(&tune, 2, &mut work).unwrap_err();
    assert!(e.to_string().contains("interrupted while fine-tuning t"), "{e}");
    let all = course(&tune, 2, &mut work).unwrap();
    // 5 examples in batches of 2 over 2 epochs: 6 steps, and the last of an epoch has one example.
    assert_eq!(all.iter().map(|c| c.step).collect::<Vec<_>>(), [0, 2, 4, 6]);
    assert!(all[0].adapter.is_none() && all[0].tokens == 0);
    assert_eq!(all[3].tokens, 2 * tune.data.n_tokens());
    assert!(all[1].tokens < all[2].tokens && all[2].tokens > tune.data.n_tokens());
    let whole = adapter(&tune, &mut work).unwrap();
    let hash = |c: &Checkpoint| c.adapter.as_ref().unwrap().hash.clone();
    assert_eq!(hash(&all[3]), whole.hash, "saving on the way changes nothing");
    assert!(hash(&all[1]) != hash(&all[2]) && hash(&all[2]) != hash(&all[3]));
    let again = course(&tune, 2, &mut work).unwrap();
    assert_eq!(hash(&again[1]), hash(&all[1]));
    // Three steps, three more, and six of the fine-tune by itself.
    assert_eq!(steps, 12, "what is there is not trained again");
}

#[test]
fn files_give_as_many_examples_as_are_asked_for_or_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    std::fs::write(&path, format!("{}\n\n", lines().trim_end())).unwrap();
    assert_eq!(lines_of(&path, 5).unwrap(), lines());
    assert_eq!(lines_of(&path, 2).unwrap().lines().count(), 2);
    let e = lines_of(&path, 6).unwrap_err();
    assert!(e.to_string().contains("5 examples") && e.to_string().contains("a.jsonl"), "{e}");
    assert!(lines_of(&dir.path().join("b.jsonl"), 1).unwrap_err().to_string().contains("b.jsonl"));
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(lines_of(&path, 1).unwrap_err().to_string().contains("UTF-8"));
}
