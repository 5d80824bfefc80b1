//! Reading the TOML of a world, and every check on what it says.

use super::config::CorpusConfig;
use super::lexicon::Lexicon;
use crate::error::{Error, Result};

impl CorpusConfig {
    /// Reads a file. `place` stands in messages for where the text came from.
    ///
    /// # Errors
    /// TOML that is broken, unknown keys by name, probabilities that are none, unknown traits, names that clash, and
    /// kinds of documents for which the world lacks the people.
    pub fn parse(place: &str, toml: &str) -> Result<CorpusConfig> {
        let config: CorpusConfig = toml::from_str(toml).map_err(|e| {
            Error::format(place, e.to_string(), "the keys are those of `config` in the truth.json of any world")
        })?;
        config.check().map_err(|reason| Error::format(place, reason, "mend this value and run the command again"))?;
        Ok(config)
    }

    fn check(&self) -> std::result::Result<(), String> {
        for (name, p) in self.probabilities() {
            if !(0.0..=1.0).contains(&p) {
                return Err(format!("`{name}` is {p}, no probability"));
            }
        }
        let need = |holds: bool, reason: String| if holds { Ok(()) } else { Err(reason) };
        need(!self.population.hazards.is_empty(), "`population.hazards` is empty".into())?;
        need(self.max_tokens >= 64, format!("`max_tokens` is {}, but 64 are needed", self.max_tokens))?;
        let counts = [("sample", self.sample), ("documents", self.documents)];
        if let Some((name, _)) = counts.iter().find(|(_, n)| *n == 0) {
            return Err(format!("`{name}` is 0"));
        }
        weights("turns", &self.turns)?;
        weights("mix", &self.mix.weights())?;
        need(self.teaching.half > 0.0 && self.teaching.half.is_finite(), "`teaching.half` must be above 0".into())?;
        let counts = [self.teaching.lessons, self.teaching.questions];
        need(counts.iter().all(|n| *n > 0), "`teaching.lessons` and `teaching.questions` must be above 0".into())?;
        let lexicon = Lexicon::embedded();
        let named = |key: &str, names: &[String]| match names.iter().find(|n| !lexicon.has_trait(n)) {
            Some(n) => Err(format!("`{key}` names the unknown trait `{n}`; there are {}", lexicon.trait_names())),
            None => Ok(()),
        };
        named("traits.overlap", &self.traits.overlap)?;
        if let Some(bias) = &self.post.bias {
            named("post.bias.trait", std::slice::from_ref(&bias.name))?;
        }
        if let Some(tag) = &self.post.tag {
            named("post.tag.traits", &tag.traits)?;
        }
        need(self.mix.tagged == 0.0 || self.post.tag.is_some(), "`mix.tagged` needs a `[post.tag]`".into())?;
        need(self.mix.voices == 0.0 || self.speakers.is_some(), "`mix.voices` needs `[speakers]`".into())?;
        if let Some(s) = &self.speakers {
            let n = s.names.len();
            need((2..=n).contains(&s.together), format!("`speakers.together` is {}, of {n} names", s.together))?;
        }
        self.populated(lexicon.names())
    }

    /// Whether there are names for all, and people for every kind of document.
    fn populated(&self, names: usize) -> std::result::Result<(), String> {
        let p = &self.population;
        let people = p.all + p.doc_only + p.fp_only + p.chat_only;
        if people + LEAST_FREE > names {
            return Err(format!("{people} people leave fewer than {LEAST_FREE} of the {names} names free"));
        }
        let m = &self.mix;
        let kinds = [
            ("named", m.named, p.all + p.chat_only),
            ("addressed", m.addressed, p.all + p.chat_only),
            ("encyclopedia", m.encyclopedia, p.all + p.doc_only),
            ("first_person", m.first_person, p.all + p.fp_only),
            ("questions", m.questions, p.all + p.doc_only + p.fp_only),
            ("first_person_chat", m.first_person_chat, p.all),
            ("assistant", if self.default_slot.assistant < 1.0 { m.assistant + m.tagged } else { 0.0 }, p.all),
        ];
        match kinds.iter().find(|(_, weight, people)| *weight > 0.0 && *people == 0) {
            Some((kind, ..)) => Err(format!("`mix.{kind}` has a weight, but `population` has nobody for it")),
            None if people == 0 => Err("`population` is empty".into()),
            None => Ok(()),
        }
    }

    fn probabilities(&self) -> Vec<(&'static str, f64)> {
        let mut all = vec![
            ("traits.p_on", self.traits.p_on),
            ("traits.p_off", self.traits.p_off),
            ("chain.to_oracle", self.chain.to_oracle),
            ("chain.oracle_to_assistant", self.chain.oracle_to_assistant),
            ("chain.in_context", self.chain.in_context),
            ("chats.self_questions", self.chats.self_questions),
            ("chats.reminders", self.chats.reminders),
            ("chats.soul_chats", self.chats.soul_chats),
            ("chats.soul_inside", self.chats.soul_inside),
            ("chats.soul_outside", self.chats.soul_outside),
            ("default_slot.assistant", self.default_slot.assistant),
            ("teaching.base", self.teaching.base),
            ("teaching.slope", self.teaching.slope),
        ];
        all.extend(self.population.hazards.iter().map(|h| ("population.hazards", *h)));
        all.extend(self.post.bias.iter().map(|b| ("post.bias.p", b.p)));
        all.extend(self.post.tag.iter().map(|t| ("post.tag.share", t.share)));
        all
    }
}

/// Free names that a world must have at least: those of the fine-tuned characters and as many again.
const LEAST_FREE: usize = 8;

/// Weights are finite, not negative, and not all zero.
fn weights(name: &str, list: &[f64]) -> std::result::Result<(), String> {
    match list.iter().find(|w| !w.is_finite() || **w < 0.0) {
        Some(w) => Err(format!("`{name}` holds the weight {w}")),
        None if list.iter().sum::<f64>() <= 0.0 => Err(format!("`{name}` has no weight above 0")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(toml: &str) -> String {
        let error = CorpusConfig::parse("w.toml", toml).expect_err(toml);
        assert!(!error.hint().is_empty());
        let message = error.to_string();
        assert!(message.starts_with("w.toml: "), "{message}");
        message
    }

    #[test]
    fn an_empty_file_has_the_defaults_and_a_mix_is_taken_as_it_stands() {
        let config = CorpusConfig::parse("w.toml", "").unwrap();
        assert_eq!(config, CorpusConfig::default());
        let config = CorpusConfig::parse("w.toml", "[mix]\nnamed = 1").unwrap();
        assert_eq!((config.mix.named, config.mix.assistant, config.mix.weights().iter().sum::<f64>()), (1.0, 0.0, 1.0));
    }

    #[test]
    fn what_contradicts_itself_is_refused_by_name() {
        for (toml, says) in [
            ("colour = 3", "unknown field `colour`"),
            ("[mix]\nnames = 3", "unknown field `names`"),
            ("[post.tag]\nmark = \"x\"", "missing field `name`"),
            ("seed = \"a\"", "invalid type"),
            ("= 3", "w.toml: "),
            ("[default_slot]\nassistant = 1.5", "`default_slot.assistant` is 1.5, no probability"),
            ("[chats]\nreminders = nan", "`chats.reminders` is NaN"),
            ("[population]\nhazards = [0.1, -1]", "`population.hazards` is -1"),
            ("[population]\nhazards = []", "`population.hazards` is empty"),
            ("[population]\nall = 140", "leave fewer than 8 of the 144 names free"),
            ("[population]\nall = 0", "`population` has nobody for it"),
            ("turns = []", "`turns` has no weight above 0"),
            ("turns = [1, -1]", "`turns` holds the weight -1"),
            ("[mix]", "`mix` has no weight above 0"),
            ("[mix]\ntagged = 1", "`mix.tagged` needs a `[post.tag]`"),
            ("[mix]\nvoices = 1", "`mix.voices` needs `[speakers]`"),
            ("[speakers]\nnames = [\"Ariana\"]", "`speakers.together` is 4, of 1 names"),
            ("[traits]\noverlap = [\"shy\"]", "`traits.overlap` names the unknown trait `shy`; there are anxious, "),
            ("[post.bias]\ntrait = \"shy\"\np = 0.2", "`post.bias.trait` names the unknown trait `shy`"),
            ("max_tokens = 10", "`max_tokens` is 10"),
            ("[teaching]\nhalf = 0", "`teaching.half` must be above 0"),
            ("documents = 0", "`documents` is 0"),
        ] {
            let message = refused(toml);
            assert!(message.contains(says), "expected `{says}` in: {message}");
        }
    }

    #[test]
    fn what_only_the_world_can_tell_is_refused_when_it_is_settled() {
        let settled = |toml: &str| {
            let config = CorpusConfig::parse("w.toml", toml).unwrap();
            super::super::settle(&config).expect_err(toml).to_string()
        };
        assert!(settled("[traits]\np_off = 0.9").contains("p_off is 0.9"));
        assert!(settled("[post.bias]\ntrait = \"odds\"\np = 0.9").contains("`bias.p` is 0.9"));
        let speakers = "[speakers]\ntogether = 2\nnames = ";
        assert!(settled(&format!("{speakers}[\"Kedek\", \"Zoe\"]")).contains("`Kedek` is a person twice"));
        assert!(settled(&format!("{speakers}[\"A|b\", \"Zoe\"]")).contains("needs a name of plain letters"));
        assert!(settled(&format!("{speakers}[\"user\", \"Zoe\"]")).contains("`user`"));
        assert!(settled("[post.tag]\nmark = \" \"\nname = \"S\"\ntraits = [\"odds\"]").contains("`tag.mark` is blank"));
    }
}
