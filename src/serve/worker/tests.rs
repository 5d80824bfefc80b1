use super::*;
use crate::axes::{Point, Site};
use crate::model::generate::generate;
use crate::model::sample::Sampling;
use crate::model::{Along, Edit, Positions, Rewrite, Source};
use crate::text::{Message, SYSTEM, USER};
use crate::unit::Item;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn toyworld() -> Arc<Model> {
    Arc::new(Model::load(&Source::toyworld()).unwrap())
}

fn start(model: &Model, id: &str, who: &str, question: &str) -> Start {
    let messages = [Message::new(SYSTEM, format!("You are {who}.")), Message::new(USER, question)];
    let tokens = model.text.chat(&messages, true).unwrap().tokens;
    Start { id: id.into(), tokens, seed: 7, adapter: None, edits: vec![] }
}

fn settings(model: &Model, room: usize) -> Settings {
    Settings { max_new_tokens: room, sampling: Sampling::new(1.0, 0.95).unwrap(), stops: model.stops.clone() }
}

fn along(site: Site, seed: usize) -> (Arc<[f32]>, Intervention) {
    let unit: Vec<f32> = (0..96).map(|i| if (i * 7 + seed).is_multiple_of(5) { 0.2 } else { -0.1 }).collect();
    let length = unit.iter().map(|x| x * x).sum::<f32>().sqrt();
    let unit: Vec<f32> = unit.iter().map(|x| x / length).collect();
    let edit = Along::new(site, &unit, Rewrite::Shift(3.0), Positions::LastPromptOn).unwrap();
    (unit.into(), edit.into())
}

/// Sends all news on, until it is told that nobody listens.
struct Sends(mpsc::Sender<News>, Arc<AtomicBool>);

impl Ear for Sends {
    fn hear(&mut self, news: News) {
        let _ = self.0.send(news);
    }
    fn gone(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }
}

fn party(
    model: &Model,
    starts: Vec<Start>,
    edits: Vec<Intervention>,
    reading: Reading,
    room: usize,
) -> (Party, mpsc::Receiver<News>, Arc<AtomicBool>) {
    let (send, receive) = mpsc::channel();
    let gone = Arc::new(AtomicBool::new(false));
    let ear = Box::new(Sends(send, gone.clone()));
    let (settings, reading) = (settings(model, room), Arc::new(reading));
    (Party { starts, edits, settings, reading, judged: false, ear }, receive, gone)
}

/// Tokens, their projections, what edits did.
type Heard = (Vec<u32>, Vec<Vec<f64>>, Vec<Did>);

/// All tokens and projections of the reply tokens of each arm, once all have ended.
fn heard(receive: &mpsc::Receiver<News>, arms: usize) -> Vec<Heard> {
    let mut all = vec![(vec![], vec![], vec![]); arms];
    let mut over = 0;
    while over < arms {
        match receive.recv_timeout(Duration::from_secs(60)).expect("the worker answers") {
            News::Prompt { .. } => {}
            News::Token { arm, token } => all[arm].0.push(token),
            News::Values { arm, at, z } => {
                assert_eq!(at, all[arm].1.len(), "in the order of tokens");
                all[arm].1.push(z);
            }
            News::Ended { arm, did, .. } => {
                all[arm].2 = did;
                over += 1;
            }
            News::Failed(e) => panic!("{e}"),
        }
    }
    all
}

#[test]
fn a_reply_has_the_tokens_that_it_has_alone_whoever_else_is_answered() {
    let model = toyworld();
    let worker = Worker::start(model.clone(), 2);
    let topics = ["tea", "soup", "maps", "boats", "rain", "bread", "music", "stones"];
    let mut waiting = Vec::new();
    for (i, topic) in topics.iter().cycle().take(24).enumerate() {
        let s =
            start(&model, &format!("c{i}/0"), ["Bodek", "Kedek", "Domar"][i % 3], &format!("Tell me about {topic}."));
        let (p, receive, _) = party(&model, vec![s.clone()], vec![], Reading::default(), 16 + i);
        worker.ask(p).unwrap();
        waiting.push((s, receive, 16 + i));
    }
    for (s, receive, room) in waiting {
        let alone = generate(&*model.lm, &[], &[s], &[], &settings(&model, room)).unwrap().0;
        assert_eq!(heard(&receive, 1)[0].0, alone[0]);
    }
}

#[test]
fn arms_share_a_prompt_and_each_has_its_own_edits_and_projections() {
    let model = toyworld();
    let worker = Worker::start(model.clone(), 2);
    let site = Site::new(Point::ResidPost, 2);
    let (unit, edit) = along(site, 0);
    let (other, second) = along(site, 3);
    let s = start(&model, "c/0", "Bodek", "Tell me about tea.");
    let arms: Vec<Start> = [vec![], vec![0], vec![1]].map(|edits| Start { edits, ..s.clone() }).to_vec();
    let lines = vec![(site, unit.clone()), (Site::new(Point::ResidPre, 0), other)];
    let (p, receive, _) =
        party(&model, arms.clone(), vec![edit.clone(), second.clone()], Reading { lines: lines.clone() }, 24);
    worker.ask(p).unwrap();
    let heard = heard(&receive, 3);
    let edits: [&dyn Edit; 2] = [&edit, &second];
    let (alone, receipts) = generate(&*model.lm, &[], &arms, &edits, &settings(&model, 24)).unwrap();
    for (arm, reply) in alone.iter().enumerate() {
        assert_eq!(&heard[arm].0, reply);
        // Every token of the reply, the last one too.
        assert_eq!(heard[arm].1.len(), reply.len());
    }
    // What is told of an edit is what a run by itself tells.
    for (arm, edit) in [(1, 0), (2, 1)] {
        let want: Vec<Did> = Did::of(edit, &receipts[edit]).into_iter().map(|d| Did { item: 0, ..d }).collect();
        let got: Vec<Did> = heard[arm].2.iter().map(|d| Did { item: 0, ..*d }).collect();
        assert_eq!(got, want);
    }
    // Projections are those of a capture of the same tokens under the same edit.
    let plan = crate::unit::Plan {
        model: &model,
        task: Task::Capture { sites: vec![Site::new(Point::ResidPre, 0), site] },
        edits: vec![edit, second],
        items: arms.iter().zip(&alone).map(|(a, reply)| whole(a, reply)).collect(),
        max_batch_tokens: 4096,
    };
    let kept = plan.execute(&(0..3)).unwrap().kept;
    let reading = Reading { lines };
    for (site, rows) in kept {
        let all: Vec<&Vec<f64>> = heard.iter().flat_map(|h| &h.1).collect();
        assert_eq!(rows.len() / 96, all.len());
        for (row, z) in rows.chunks(96).zip(all) {
            reading.of_row(site, row).for_each(|(k, want)| assert!((z[k] - want).abs() < 1e-5, "{} {want}", z[k]));
        }
    }
}

#[test]
fn a_conversation_goes_on_from_what_was_read_with_the_tokens_and_projections_of_a_new_one() {
    let model = toyworld();
    let site = Site::new(Point::ResidPost, 2);
    let [a, b, c] = [0, 3, 4].map(|seed| (site, along(site, seed).0));
    // The same lines; fewer, in another order; one more, for which all is read anew.
    let readings = [vec![a.clone(), b.clone()], vec![b.clone()], vec![b.clone(), a.clone()], vec![c, a]];
    let talk = |worker: &Worker, s: &Start, lines: &[(Site, Arc<[f32]>)]| {
        let (p, receive, _) = party(&model, vec![s.clone()], vec![], Reading { lines: lines.to_vec() }, 12);
        worker.ask(p).unwrap();
        let (mut prompt, mut reply, mut values) = (vec![], vec![], vec![]);
        for news in receive {
            match news {
                News::Prompt { z, .. } => prompt = z,
                News::Token { token, .. } => reply.push(token),
                News::Values { z, .. } => values.push(z),
                News::Ended { .. } => break,
                News::Failed(e) => panic!("{e}"),
            }
        }
        (prompt, reply, values)
    };
    let worker = Worker::start(model.clone(), 2);
    let mut s =
        start(&model, "c/0", "Bodek", "Tell me about tea. And then about soup, rain, bread and the old stones.");
    for (turn, lines) in readings.iter().enumerate() {
        s.id = format!("c/{turn}");
        let anew = talk(&Worker::start(model.clone(), 2), &s, lines);
        assert_eq!(anew.0.len(), s.tokens.len());
        assert_eq!(talk(&worker, &s, lines), anew, "turn {turn}");
        let next = start(&model, "", "Kedek", "And of maps?").tokens;
        s.tokens = [&s.tokens[..], &anew.1, &next].concat();
    }
}

fn whole(start: &Start, reply: &[u32]) -> Item {
    let (from, tokens) = (start.tokens.len(), [&start.tokens[..], reply].concat());
    let ranges = (from..tokens.len()).map(|p| p..p + 1).collect();
    Item { prompt_len: from, tokens, ranges, edits: start.edits.clone(), ..Item::default() }
}

#[test]
fn whoever_goes_away_is_let_go_and_the_others_are_answered() {
    let model = toyworld();
    let worker = Worker::start(model.clone(), 2);
    let mut stops = settings(&model, 400);
    stops.stops.clear();
    let s = start(&model, "long/0", "Bodek", "Tell me about tea.");
    let (mut p, receive, gone) = party(&model, vec![s.clone()], vec![], Reading::default(), 400);
    p.settings = stops;
    worker.ask(p).unwrap();
    assert!(matches!(receive.recv_timeout(Duration::from_secs(60)).unwrap(), News::Token { .. }));
    gone.store(true, Ordering::Relaxed);
    let began = Instant::now();
    while worker.busy().0 > 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "it is still being answered");
        std::thread::sleep(Duration::from_millis(2));
    }
    // The sender is gone before all 400 tokens were drawn.
    assert!(receive.iter().count() < 399);
    let (p, receive, _) = party(&model, vec![s], vec![], Reading::default(), 8);
    worker.ask(p).unwrap();
    assert!(!heard(&receive, 1)[0].0.is_empty());
}

#[test]
fn a_reply_that_was_judged_is_let_go_without_anybody_asking_again() {
    let model = toyworld();
    let worker = Worker::start(model.clone(), 2);
    let (_, edit) = along(Site::new(Point::ResidPost, 2), 0);
    let s = start(&model, "c/0", "Bodek", "Tell me about tea.");
    let arms: Vec<Start> = [vec![], vec![0]].map(|edits| Start { edits, ..s.clone() }).to_vec();
    let (mut p, receive, _) = party(&model, arms, vec![edit], Reading::default(), 12);
    p.judged = true;
    worker.ask(p).unwrap();
    let told = |news| match news {
        News::Ended { nll, .. } => Some(nll.unwrap()),
        _ => None,
    };
    // The stream closes, which it does when the ear is dropped.
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut nll = Vec::new();
    while let Ok(news) = receive.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        nll.extend(told(news));
    }
    assert!(Instant::now() < deadline, "nobody was let go");
    assert!(nll.len() == 2 && nll.iter().all(|n| *n > 0.0 && *n < 20.0), "{nll:?}");
    assert_eq!(worker.busy(), (0, 0));
}

#[test]
fn what_cannot_be_answered_is_told_and_nobody_else_suffers() {
    let model = toyworld();
    let worker = Worker::start(model.clone(), 1);
    let s = start(&model, "c/0", "Bodek", "Tell me about tea.");
    let (p, refused, _) =
        party(&model, vec![Start { tokens: vec![9_999_999], ..s.clone() }], vec![], Reading::default(), 8);
    worker.ask(p).unwrap();
    let (p, answered, _) = party(&model, vec![s], vec![], Reading::default(), 8);
    worker.ask(p).unwrap();
    assert!(matches!(refused.recv_timeout(Duration::from_secs(60)).unwrap(), News::Failed(_)));
    assert!(!heard(&answered, 1)[0].0.is_empty());
}

#[test]
fn others_work_gives_what_it_gives_alone_while_somebody_is_answered() {
    let model = toyworld();
    let worker = Worker::start(model.clone(), 2);
    let s = start(&model, "talk/0", "Bodek", "Tell me about tea.");
    let (p, receive, _) = party(&model, vec![s], vec![], Reading::default(), 60);
    worker.ask(p).unwrap();
    let items: Vec<Item> = (0..20)
        .map(|i| {
            let s = start(&model, &format!("q{i}"), "Kedek", ["Tell me about soup.", "Tell me about maps."][i % 2]);
            let n = s.tokens.len();
            Item { id: s.id, tokens: s.tokens, prompt_len: n, ranges: vec![0..n, n - 1..n], seed: 7, ..Item::default() }
        })
        .collect();
    let alone = crate::serve::asks::Alone(&model);
    let settings = settings(&model, 20);
    assert_eq!(worker.replies(items.clone(), &settings).unwrap(), alone.replies(items.clone(), &settings).unwrap());
    let sites = [Site::new(Point::ResidPost, 1), Site::new(Point::ResidPost, 3)];
    assert_eq!(worker.capture(items.clone(), &sites).unwrap(), alone.capture(items, &sites).unwrap());
    assert!(!heard(&receive, 1)[0].0.is_empty());
    assert!(worker.replies(vec![], &settings).unwrap().is_empty());
    assert!(worker.capture(vec![Item { tokens: vec![1 << 30], ..Item::default() }], &sites).is_err());
}

#[test]
fn a_worker_that_stops_lets_everybody_go_at_once() {
    let model = toyworld();
    let worker = Worker::start(model.clone(), 2);
    let s = start(&model, "c/0", "Bodek", "Tell me about tea.");
    let (mut p, receive, _) = party(&model, vec![s.clone()], vec![], Reading::default(), 400);
    p.settings.stops.clear();
    worker.ask(p).unwrap();
    receive.recv_timeout(Duration::from_secs(60)).unwrap();
    worker.join();
    assert!(receive.iter().count() < 399, "the stream closes");
    let (p, _, _) = party(&model, vec![s], vec![], Reading::default(), 8);
    assert!(worker.ask(p).unwrap_err().to_string().contains("stopping"));
    assert!(worker.replies(vec![], &settings(&model, 8)).is_err());
}
