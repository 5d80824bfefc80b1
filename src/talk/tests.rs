use super::*;
use crate::model::generate::Settings;
use crate::model::sample::Sampling;
use crate::model::{Opening, Source};
use crate::text::SYSTEM;
use crate::unit::{self, Plan, Task};

const ROOM: usize = 24;

/// The embedded model, drawing greedily, and the prompts that it was given.
struct Greedy {
    model: Model,
    heard: Vec<Item>,
}

impl Speak for Greedy {
    fn model(&self) -> &Model {
        &self.model
    }
    fn room(&self) -> usize {
        ROOM
    }
    fn replies(&mut self, _: &str, items: Vec<Item>) -> Result<Vec<Vec<u32>>> {
        self.heard.extend(items.iter().cloned());
        let sampling = Sampling::new(0.0, 1.0)?;
        let task = Task::Generate(Settings { max_new_tokens: ROOM, sampling, stops: self.model.stops.clone() });
        let plan = Plan { model: &self.model, task, edits: vec![], items, max_batch_tokens: 2048 };
        let mut all = Vec::new();
        unit::run(&plan, 1, None, &mut |_: &unit::Tally| true, |_, outcome| {
            all.extend(outcome.replies);
            Ok(())
        })?;
        Ok(all)
    }
}

fn greedy() -> Greedy {
    let model = Model::open(&Source::toyworld(), Opening::default()).unwrap().0;
    Greedy { model, heard: Vec::new() }
}

fn asked(id: &str, questions: &[&str]) -> Talk {
    let says = User::Says(questions.iter().map(|q| q.to_string()).collect());
    Talk::new(id, vec![Message::new(SYSTEM, "You are Bodek.")], says, 0)
}

#[test]
fn a_conversation_goes_on_with_its_own_replies_until_the_user_is_silent() {
    let mut speaker = greedy();
    let mut talks = [asked("a", &["Tell me about tea.", "Tell me about soup."]), asked("b", &["Tell me about maps."])];
    lead(&mut talks, 3, &mut speaker, None).unwrap();
    assert_eq!((talks[0].turns.len(), talks[1].turns.len()), (2, 1));
    assert_eq!((talks[0].ended, talks[1].ended), (Some(Ended::NoQuestion), Some(Ended::NoQuestion)));
    // System, question, reply, question, reply.
    assert_eq!(talks[0].messages.len(), 5);
    assert_eq!(talks[0].messages[2].content, talks[0].turns[0].reply);
    assert!(!talks[0].turns[0].reply.is_empty());
    let second = speaker.heard.iter().find(|i| i.id == "a/1").unwrap();
    let words = speaker.model.text.decode(&second.tokens).unwrap();
    assert!(words.contains(&talks[0].turns[0].reply) && second.tokens.len() == talks[0].turns[1].context, "{words}");
}

#[test]
fn a_conversation_ends_before_it_would_leave_the_positions() {
    let mut speaker = greedy();
    let n_ctx = speaker.model.lm.dims().n_ctx;
    let mut talks = [asked("a", &["Tell me about the weather and the garden and the boat."; 64])];
    lead(&mut talks, 64, &mut speaker, None).unwrap();
    assert_eq!(talks[0].ended, Some(Ended::NoRoom));
    assert!(speaker.heard.iter().all(|i| i.tokens.len() + ROOM <= n_ctx));
    // The question that found no room is not among the messages.
    assert_eq!(talks[0].messages.len(), 1 + 2 * talks[0].turns.len());
}

#[test]
fn a_model_plays_the_user_from_the_mirrored_conversation() {
    let mut speaker = greedy();
    let user = User::plays("Hello.", "Tell me about tea.");
    let mut talks = [Talk::new("self", vec![], user, 0)];
    lead(&mut talks, 2, &mut speaker, None).unwrap();
    let [talk] = &talks;
    assert_eq!((talk.turns.len(), talk.turns[0].question.as_str()), (2, "Tell me about tea."));
    let line = speaker.heard.iter().find(|i| i.id == "self/user/1").unwrap();
    let words = speaker.model.text.decode(&line.tokens).unwrap();
    // What the model said is what the user hears, after its own opener.
    let at = |part: &str| words.find(part).unwrap();
    assert!(at("Hello.") < at("Tell me about tea.") && at("Tell me about tea.") < at(&talk.turns[0].reply), "{words}");
    let User::Plays(player) = &talk.user else { panic!() };
    assert_eq!(talk.turns[1].question, player.lines[1]);
}

#[test]
fn a_question_is_forked_off_without_a_trace() {
    let mut speaker = greedy();
    let mut talks = [asked("a", &["Tell me about tea.", "Tell me about soup."])];
    lead(&mut talks, 2, &mut speaker, None).unwrap();
    let before = talks[0].clone();
    let fork = talks[0].fork(&speaker.model, 1, "Who are you?", ROOM).unwrap().unwrap();
    let words = speaker.model.text.decode(&fork.tokens).unwrap();
    assert!(words.contains("Who are you?") && words.contains(&before.turns[0].reply), "{words}");
    assert!(!words.contains("soup") && fork.id == "a/1?");
    assert_eq!(talks[0], before);
}

#[test]
fn what_is_read_back_is_what_was_said() {
    let mut speaker = greedy();
    let mut talks = [asked("a", &["Tell me about tea.", "Tell me about soup."])];
    lead(&mut talks, 2, &mut speaker, None).unwrap();
    let model = &speaker.model;
    let parts = [Part::Question, Part::Before, Part::Reply, Part::Tokens];
    let (items, places) = read(&talks, model, &parts).unwrap();
    assert_eq!(items[0].ranges.len(), places.len());
    let text = |r: &std::ops::Range<usize>| model.text.decode(&items[0].tokens[r.clone()]).unwrap();
    for (range, place) in items[0].ranges.iter().zip(&places) {
        let turn = &talks[0].turns[place.turn];
        match place.part {
            Part::Question => assert_eq!(text(range), turn.question),
            Part::Reply => assert_eq!(text(range), turn.reply),
            Part::Before => assert_eq!(range.end, turn.context),
            Part::Tokens => assert_eq!(range.start, turn.context + place.offset),
        }
    }
    // Two turns of three ranges each, and a range per token of the replies.
    let tokens = places.iter().filter(|p| p.part == Part::Tokens).count();
    assert_eq!(places.len(), 6 + tokens);
}

#[test]
fn a_conversation_that_outgrew_the_positions_is_read_as_far_as_they_go() {
    let model = greedy().model;
    let n_ctx = model.lm.dims().n_ctx;
    let said = |i: usize| (format!("Tell me about soup {i}."), "Soup is warm, and so is bread. ".repeat(12));
    let talks = [Talk::held("long", vec![], (0..8).map(said))];
    let (items, places) = read(&talks, &model, &[Part::Question, Part::Reply]).unwrap();
    assert_eq!((items[0].tokens.len(), items[0].ranges.len()), (n_ctx, places.len()));
    assert!(items[0].ranges.iter().all(|r| r.end <= n_ctx) && (2..16).contains(&places.len()), "{}", places.len());
}
