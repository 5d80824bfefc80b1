//! Where every message lies in a rendered conversation, told by the template itself.
//!
//! Private-use characters are set at the two edges of one content; where they land in the rendering is where the
//! content lies, provided that the rendering is otherwise unchanged. A template that inspects contents may answer
//! to marks with another text; then each edge is looked for alone, and last by rendering a single mark instead of
//! the content. What none of this finds is refused.

use super::ASSISTANT;
use super::encoded::{Message, Span, TokenPlace};
use super::template::Open;
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::ops::Range;

/// A rendered conversation and its parts, in bytes.
pub(super) struct Layout {
    pub(super) text: String,
    /// Per message: its content, or `None` if the template drops it.
    pub(super) contents: Vec<Option<Range<usize>>>,
    /// Everything printed from a content, later copies included, with the index of the message.
    pub(super) printed: Vec<(usize, Range<usize>)>,
    /// A cover of the text without gaps or overlaps, in order.
    parts: Vec<(Range<usize>, TokenPlace)>,
}

impl Layout {
    /// The place of a token: the first content that it overlaps, else the part in which it starts.
    pub(super) fn place(&self, bytes: &Range<usize>) -> TokenPlace {
        let first = self.parts.partition_point(|(part, _)| part.end <= bytes.start);
        let mut overlapped = self.parts[first..].iter().take_while(|(part, _)| part.start < bytes.end);
        let content = overlapped.find(|(part, place)| place.span == Span::Content && !part.is_empty());
        let starts_in = self.parts.get(first).or(self.parts.last());
        content.or(starts_in).map_or(TokenPlace { turn: None, span: Span::Header }, |(_, place)| *place)
    }

    /// The bytes of a turn's header; the generation header is that of the turn behind the last one.
    pub(super) fn header(&self, turn: usize) -> Option<Range<usize>> {
        let of = TokenPlace { turn: Some(turn), span: Span::Header };
        self.parts.iter().find(|(_, place)| *place == of).map(|(bytes, _)| bytes.clone())
    }

    /// A layout of parts that are known, which must follow one another. A part that is content is also printed.
    pub(super) fn of_parts(parts: Vec<(String, TokenPlace)>, n: usize) -> Layout {
        let mut layout = Layout { text: String::new(), contents: vec![None; n], printed: vec![], parts: vec![] };
        for (text, place) in parts {
            let bytes = layout.text.len()..layout.text.len() + text.len();
            layout.text += &text;
            if let (Some(turn), Span::Content) = (place.turn, place.span) {
                layout.contents[turn] = Some(bytes.clone());
                layout.printed.push((turn, bytes.clone()));
            }
            layout.parts.push((bytes, place));
        }
        layout
    }

    /// Writes other text over parts of headers; `edits` are in order, apart and not empty. Gives where each text is then.
    pub(super) fn write_over(&mut self, edits: &[(Range<usize>, &str)]) -> Vec<Range<usize>> {
        let moved = |at: usize| {
            let before = edits.iter().take_while(|(bytes, _)| bytes.end <= at);
            before.fold(at, |at, (bytes, text)| at + text.len() - bytes.len())
        };
        let range = |bytes: &Range<usize>| moved(bytes.start)..moved(bytes.end);
        self.contents.iter_mut().flatten().for_each(|c| *c = range(c));
        self.printed.iter_mut().for_each(|(_, c)| *c = range(c));
        self.parts.iter_mut().for_each(|(p, _)| *p = range(p));
        let places = edits.iter().map(|(bytes, text)| moved(bytes.start)..moved(bytes.start) + text.len()).collect();
        for (bytes, text) in edits.iter().rev() {
            self.text.replace_range(bytes.clone(), text);
        }
        places
    }
}

/// Tells where added tokens stand in a text, in order.
pub(super) type AddedTokens<'a> = &'a dyn Fn(&str) -> Vec<Range<usize>>;

/// Finds the parts of `text`, which is the rendering of the conversation.
///
/// # Errors
/// Contents that cannot be located.
pub(super) fn find(
    open: &Open,
    messages: &[Message],
    generation: bool,
    text: String,
    tokens: AddedTokens,
) -> Result<Layout> {
    let marks = Marks::choose(open.of.source(), &text, messages)?;
    let finder = Finder { open, messages, generation, plain: &text, marks, tokens };
    let mut contents = Vec::with_capacity(messages.len());
    let mut printed = Vec::new();
    let mut at_once = finder.all_at_once();
    for (i, message) in messages.iter().enumerate() {
        let known = at_once.as_mut().map(|all| std::mem::take(&mut all[i]));
        let copies = known.or_else(|| finder.copies(i)).ok_or_else(|| {
            Error::refused(
                format!(
                    "message {i} (`{}`) cannot be located in the rendering: the chat template changes its text \
                     depending on what the content says",
                    message.role
                ),
                "give the prompt as \"text\" or \"tokens\", or use a chat template that prints contents unchanged",
            )
        })?;
        contents.push(copies.first().cloned());
        printed.extend(copies.into_iter().map(|copy| (i, copy)));
    }
    // By position, not by message: some templates print the system message inside a later turn.
    let mut order: Vec<(usize, Range<usize>)> =
        contents.iter().enumerate().filter_map(|(i, c)| Some((i, c.clone()?))).collect();
    order.sort_by_key(|(i, c)| (c.start, c.end, *i));
    if let Some(pair) = order.windows(2).find(|pair| pair[0].1.end > pair[1].1.start) {
        return Err(Error::refused(
            format!("messages {} and {} overlap in the rendering of the chat template", pair[0].0, pair[1].0),
            "give the prompt as \"text\" or \"tokens\"",
        ));
    }
    let parts = finder.parts(&order);
    Ok(Layout { text, contents, printed, parts })
}

struct Finder<'a> {
    open: &'a Open<'a>,
    messages: &'a [Message],
    generation: bool,
    plain: &'a str,
    marks: Marks,
    tokens: AddedTokens<'a>,
}

/// The first of the marks that tell messages apart when all are marked in one rendering: two a message.
const APART: u32 = 0xf0000;

impl Finder<'_> {
    /// The places of all contents from one rendering, if every message is printed and nothing else changes; else each
    /// has to be looked for by itself.
    fn all_at_once(&self) -> Option<Vec<Vec<Range<usize>>>> {
        let n = self.messages.len();
        let ours = |c: char| (APART..APART + 2 * n as u32).contains(&(c as u32));
        let said = |m: &Message| m.content.contains(ours) || m.role.contains(ours);
        if n > 0x7000 || self.plain.contains(ours) || self.messages.iter().any(said) {
            return None;
        }
        let mark = |k: usize| char::from_u32(APART + k as u32);
        let mut marked = self.messages.to_vec();
        for (i, message) in marked.iter_mut().enumerate() {
            message.content = [&*mark(2 * i)?.to_string(), &message.content, &mark(2 * i + 1)?.to_string()].concat();
        }
        let text = self.open.render(&marked, self.generation).ok()?;
        let mut seen: Vec<Seen> = (0..n).map(|_| Seen::default()).collect();
        let mut stripped = String::with_capacity(self.plain.len());
        for c in text.chars() {
            if ours(c) {
                let k = (c as u32 - APART) as usize;
                let seen = &mut seen[k / 2];
                if k.is_multiple_of(2) { seen.opens.push(stripped.len()) } else { seen.closes.push(stripped.len()) }
            } else {
                stripped.push(c);
            }
        }
        let all: Vec<Vec<Range<usize>>> = seen.iter().map(Seen::pairs).collect::<Option<_>>()?;
        (stripped == self.plain && all.iter().all(|copies| !copies.is_empty())).then_some(all)
    }

    /// All places where content `i` is printed; none if it is dropped; `None` if that cannot be told.
    fn copies(&self, i: usize) -> Option<Vec<Range<usize>>> {
        let content = &self.messages[i].content;
        let Marks { open, close } = self.marks;
        let mut dropped = false;
        for edges in edges(content) {
            let Some(seen) = self.marked(i, &edges.with(content, Some(open), Some(close))) else { continue };
            if let Some(copies) = seen.pairs() {
                dropped |= copies.is_empty();
                if !copies.is_empty() {
                    return Some(copies);
                }
            }
        }
        // The mark alone in place of the content: what stands around it must stand around the content.
        let (before, after) = match self.alone(self.messages, i, self.generation) {
            Some(around) if around.is_empty() && dropped => return Some(Vec::new()),
            Some(around) if around.len() == 2 => (
                self.plain.starts_with(&around[0]).then_some(around[0].len()),
                self.plain.ends_with(&around[1]).then(|| self.plain.len() - around[1].len()),
            ),
            _ => (None, None),
        };
        let one = |places: Vec<usize>| (places.len() == 1).then(|| places[0]);
        let end = edges(content)
            .find_map(|e| self.marked(i, &e.with(content, None, Some(close))).and_then(|seen| one(seen.closes)))
            .or(after);
        let start = edges(content)
            .find_map(|e| self.marked(i, &e.with(content, Some(open), None)).and_then(|seen| one(seen.opens)))
            // A template that takes a content apart may print it whole all the same.
            .or_else(|| end.and_then(|end| whole_before(&self.plain[..end], content)))
            .or(before)
            .or_else(|| self.after_generation_header(i));
        match (start, end) {
            (Some(start), Some(end)) if start <= end => Some(std::iter::once(start..end).collect()),
            // Nothing was said, so there is nothing to find.
            _ if content.trim().is_empty() => Some(Vec::new()),
            _ => None,
        }
    }

    /// Renders with another content for message `i`; the marks' places if the rendering is otherwise unchanged.
    fn marked(&self, i: usize, content: &str) -> Option<Seen> {
        let text = self.with_content(self.messages, i, content, self.generation)?;
        let mut seen = Seen::default();
        let mut stripped = String::with_capacity(self.plain.len());
        for c in text.chars() {
            match c {
                c if c == self.marks.open => seen.opens.push(stripped.len()),
                c if c == self.marks.close => seen.closes.push(stripped.len()),
                c => stripped.push(c),
            }
        }
        (stripped == self.plain).then_some(seen)
    }

    /// The pieces around a mark that stands for content `i`: two if it is printed once. Empty if the rendering
    /// neither shows the mark nor changes.
    fn alone(&self, messages: &[Message], i: usize, generation: bool) -> Option<Vec<String>> {
        let text = self.with_content(messages, i, &self.marks.open.to_string(), generation)?;
        if text == self.plain {
            return Some(Vec::new());
        }
        Some(text.split(self.marks.open).map(str::to_string).collect())
    }

    fn with_content(&self, messages: &[Message], i: usize, content: &str, generation: bool) -> Option<String> {
        let mut changed = messages.to_vec();
        changed[i].content = content.into();
        self.open.render(&changed, generation).ok()
    }

    /// Where a reply would begin after the messages before `i`, for templates that print reasoning apart.
    fn after_generation_header(&self, i: usize) -> Option<usize> {
        if self.messages[i].role != ASSISTANT {
            return None;
        }
        let header = self.open.render(&self.messages[..i], true).ok()?;
        self.plain.starts_with(&header).then_some(header.len())
    }

    /// Cuts the text at the contents, and what lies between two of them into the end of one and the next one's header.
    fn parts(&self, order: &[(usize, Range<usize>)]) -> Vec<(Range<usize>, TokenPlace)> {
        let place = |turn: Option<usize>, span| TokenPlace { turn, span };
        let mut parts = Vec::with_capacity(3 * order.len() + 2);
        let mut at = 0;
        // What closes a turn depends on its role and on what stands there: rendered once for each.
        let mut ends: HashMap<(&str, &str), usize> = HashMap::new();
        for (k, (i, content)) in order.iter().enumerate() {
            parts.push((at..content.start, place(Some(*i), Span::Header)));
            parts.push((content.clone(), place(Some(*i), Span::Content)));
            let end = match order.get(k + 1) {
                Some((_, next)) => {
                    let gap = &self.plain[content.end..next.start];
                    let own = ends.entry((&self.messages[*i].role, gap)).or_insert_with(|| self.own_end(*i, gap));
                    content.end + *own
                }
                None => content.end + self.last_end(content.end),
            };
            parts.push((content.end..end, place(Some(*i), Span::End)));
            at = end;
        }
        if order.is_empty() {
            at = self.last_end(0);
            parts.push((0..at, place(None, Span::Header)));
        }
        if at < self.plain.len() {
            parts.push((at..self.plain.len(), place(Some(self.messages.len()), Span::Header)));
        }
        parts
    }

    /// How much of the gap after content `i` also closes it where it is the last one.
    fn own_end(&self, i: usize, gap: &str) -> usize {
        let around = self.alone(&self.messages[..=i], i, false).unwrap_or_default();
        around.last().filter(|_| around.len() == 2).map_or(0, |tail| self.shared(gap, tail))
    }

    /// How much of the text behind `at` is there without a generation header, too: all of it where none was asked for.
    fn last_end(&self, at: usize) -> usize {
        let rest = &self.plain[at..];
        if !self.generation {
            return rest.len();
        }
        let without = self.open.render(self.messages, false).unwrap_or_default();
        without.strip_prefix(&self.plain[..at]).map_or(0, |tail| self.shared(rest, tail))
    }

    /// How much of `gap` is the end of a turn that ends with `tail` where it is the last one. A template may close a
    /// conversation with more than a turn: then the tokens that both have, and the whitespace behind them.
    fn shared(&self, gap: &str, tail: &str) -> usize {
        if gap.starts_with(tail) {
            return tail.len();
        }
        let same: usize = gap.chars().zip(tail.chars()).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum();
        let whole = (self.tokens)(gap).into_iter().take_while(|t| t.end <= same).last();
        whole.map_or(0, |t| {
            let behind = &gap[t.end..same];
            t.end + behind.len() - behind.trim_start().len()
        })
    }
}

/// Where marks were seen, in bytes of the text without them.
#[derive(Default)]
struct Seen {
    opens: Vec<usize>,
    closes: Vec<usize>,
}

impl Seen {
    /// The stretches between the marks, if they come in pairs.
    fn pairs(&self) -> Option<Vec<Range<usize>>> {
        let pairs: Vec<Range<usize>> = self.opens.iter().zip(&self.closes).map(|(a, b)| *a..*b).collect();
        let apart = pairs.windows(2).all(|w| w[0].end <= w[1].start);
        (self.opens.len() == self.closes.len() && apart && pairs.iter().all(|p| p.start <= p.end)).then_some(pairs)
    }
}

/// Two characters that occur nowhere.
#[derive(Clone, Copy)]
struct Marks {
    open: char,
    close: char,
}

impl Marks {
    fn choose(source: &str, text: &str, messages: &[Message]) -> Result<Marks> {
        let used = |c: char| {
            let said = |m: &Message| m.content.contains(c) || m.role.contains(c);
            source.contains(c) || text.contains(c) || messages.iter().any(said)
        };
        let mut free = ('\u{e000}'..='\u{f8ff}').chain('\u{f0000}'..='\u{ffffd}').filter(|c| !used(*c));
        match (free.next(), free.next()) {
            (Some(open), Some(close)) => Ok(Marks { open, close }),
            _ => Err(Error::refused("every private-use character occurs in the conversation", "remove some of them")),
        }
    }
}

/// Where the marks go: before or after the content's outer whitespace, which a template may trim on either side.
struct Edges {
    start: usize,
    end: usize,
}

impl Edges {
    fn with(&self, content: &str, open: Option<char>, close: Option<char>) -> String {
        let (lead, rest) = content.split_at(self.start);
        let (middle, trail) = rest.split_at(self.end - self.start);
        let mark = |m: Option<char>| m.map(String::from).unwrap_or_default();
        [lead, &mark(open), middle, &mark(close), trail].concat()
    }
}

/// Where a content begins that ends where the text ends, if all of it stands there; outer whitespace may be missing.
fn whole_before(text: &str, content: &str) -> Option<usize> {
    let mut ways = edges(content).map(|e| &content[e.start..e.end]).filter(|c| !c.is_empty());
    ways.find(|c| text.ends_with(c)).map(|c| text.len() - c.len())
}

/// The choices of edges, outermost first.
fn edges(content: &str) -> impl Iterator<Item = Edges> {
    let lead = content.len() - content.trim_start().len();
    let trail = content.trim_end().len().max(lead);
    let starts = if lead == 0 { vec![0] } else { vec![0, lead] };
    let ends = if trail == content.len() { vec![trail] } else { vec![content.len(), trail] };
    starts.into_iter().flat_map(move |start| ends.clone().into_iter().map(move |end| Edges { start, end }))
}
