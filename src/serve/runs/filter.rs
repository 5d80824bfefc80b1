//! Words that rows of a table are filtered by.

/// What a row has to be: all of these.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter(Vec<Word>);

#[derive(Clone, Debug, PartialEq)]
enum Word {
    /// Some cell holds the text, in whatever case.
    Anywhere(String),
    /// The cell of a column compares so.
    Column(usize, Compare, String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Compare {
    Equal,
    Unequal,
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// Longer signs first: `<=` begins with `<`.
const SIGNS: [(&str, Compare); 6] = [
    ("!=", Compare::Unequal),
    ("<=", Compare::AtMost),
    (">=", Compare::AtLeast),
    ("=", Compare::Equal),
    ("<", Compare::Below),
    (">", Compare::Above),
];

impl Filter {
    /// Words apart by spaces; quotes keep a word together, as in `role="the assistant"`. A word `column=value` (or `!=`,
    /// `<`, `<=`, `>`, `>=`) is about that column, any other about all cells.
    pub fn parse(text: &str, columns: &[String]) -> Filter {
        Filter(words(text).into_iter().map(|word| Word::parse(word, columns)).collect())
    }

    /// Whether a row is wanted.
    pub fn passes(&self, row: &[String]) -> bool {
        self.0.iter().all(|word| match word {
            Word::Anywhere(text) => row.iter().any(|cell| cell.to_lowercase().contains(text.as_str())),
            Word::Column(c, compare, value) => row.get(*c).is_some_and(|cell| compare.holds(cell, value)),
        })
    }
}

impl Word {
    fn parse(word: String, columns: &[String]) -> Word {
        // The first sign in the word; of two at one place the longer.
        let first = SIGNS.iter().filter_map(|(sign, compare)| Some((word.find(sign)?, *sign, *compare)));
        if let Some((at, sign, compare)) = first.min_by_key(|(at, sign, _)| (*at, usize::MAX - sign.len()))
            && let Some(c) = columns.iter().position(|c| c.eq_ignore_ascii_case(&word[..at]))
        {
            return Word::Column(c, compare, word[at + sign.len()..].to_string());
        }
        Word::Anywhere(word.to_lowercase())
    }
}

impl Compare {
    fn holds(self, cell: &str, value: &str) -> bool {
        let numbers = number(cell).zip(number(value));
        let equal = numbers.map_or_else(|| cell.to_lowercase() == value.to_lowercase(), |(a, b)| a == b);
        match self {
            Compare::Equal => equal,
            Compare::Unequal => !equal,
            Compare::Below => numbers.is_some_and(|(a, b)| a < b),
            Compare::AtMost => numbers.is_some_and(|(a, b)| a <= b),
            Compare::Above => numbers.is_some_and(|(a, b)| a > b),
            Compare::AtLeast => numbers.is_some_and(|(a, b)| a >= b),
        }
    }
}

/// A cell as a finite number.
pub fn number(cell: &str) -> Option<f64> {
    cell.trim().parse::<f64>().ok().filter(|v| v.is_finite())
}

fn words(text: &str) -> Vec<String> {
    let (mut all, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => all.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    all.push(word);
    all.retain(|w| !w.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_about_a_column_or_about_all_cells() {
        let columns = ["site", "role", "value"].map(String::from);
        let row = ["resid_post.2", "the Assistant", "0.5"].map(String::from);
        let passes = |text: &str| Filter::parse(text, &columns).passes(&row);
        for yes in [
            "",
            "  ",
            "ASSIST",
            "site=resid_post.2 value>0.4",
            "role=\"the assistant\"",
            "value=0.50",
            "value<=0.5 value>=.5",
            "value!=0.6 post",
            "role!=x",
        ] {
            assert!(passes(yes), "{yes}");
        }
        for no in [
            "site=resid_post",
            "value<0.5",
            "role>1",
            "value>nan",
            "post nobody",
            "colour=red",
            "value=",
            "value!=5e-1",
        ] {
            assert!(!passes(no), "{no}");
        }
    }
}
