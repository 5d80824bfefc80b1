//! The page itself: files that are part of the program.

use crate::serve::Problem;
use axum::http::header;
use axum::response::{IntoResponse, Response};

macro_rules! page {
    ($($name:literal),* $(,)?) => {
        /// Every file of the page with its text.
        const FILES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../page/", $name)))),*];
    };
}

page![
    "answers.js",
    "api.js",
    "boot.js",
    "chart.js",
    "chat.js",
    "colour.js",
    "compare.js",
    "conversation.js",
    "dom.js",
    "dose.js",
    "drift.js",
    "edits.js",
    "errors.js",
    "follow.js",
    "icon.svg",
    "index.html",
    "labels.js",
    "lens.js",
    "main.js",
    "map.js",
    "marks.js",
    "prompt.js",
    "reading.js",
    "results.js",
    "saver.js",
    "scatter.js",
    "space.js",
    "state.js",
    "status.js",
    "steer.js",
    "style.css",
    "table.js",
    "tabs.js",
    "theme.js",
    "tip.js",
    "tokens.js",
    "turns.js",
    "who.js",
];

/// A file by its name.
///
/// # Errors
/// 404 for one that is no part of the page; 400 for a name with folders, or with what no name has.
pub fn file(name: &str) -> Result<Response, Problem> {
    if name.contains(['/', '\\']) || name.contains("..") || name.contains(char::is_control) {
        return Err(Problem::bad("a file of the page has no folder", "the page asks for what it needs by itself"));
    }
    let found = FILES.iter().find(|(known, _)| *known == name);
    let (name, text) = found.ok_or_else(|| Problem::missing("no such file of the page", "reload the page"))?;
    Ok(([(header::CONTENT_TYPE, kind(name))], *text).into_response())
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_part_of_the_program() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/serve/page");
        let mut there: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        there.sort();
        let mut known: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        known.sort_unstable();
        assert_eq!(known, there);
        assert!(known.iter().all(|name| kind(name) != "text/plain; charset=utf-8"), "{known:?}");
    }

    #[test]
    fn the_page_has_no_script_of_its_own_text_and_puts_no_text_in_as_markup() {
        let html = |text: &str| {
            let text = text.to_lowercase();
            let inline = ["style=", " onclick", " onload", " onerror", "javascript:", "<style", "http://", "https://"];
            inline.into_iter().filter(|w| text.contains(w)).map(String::from).collect::<Vec<_>>()
        };
        let script = |text: &str| {
            let unsafe_words =
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"];
            unsafe_words.into_iter().filter(|w| text.contains(w)).map(String::from).collect::<Vec<_>>()
        };
        for (name, text) in FILES {
            let found = match name.rsplit_once('.').map(|(_, ending)| ending) {
                Some("html") => html(text),
                Some("js") => script(text),
                _ => vec![],
            };
            assert!(found.is_empty(), "{name}: {found:?}");
        }
        assert_eq!((html("<p style=x>").len(), script("a.innerHTML = b").len()), (1, 1));
    }

    #[test]
    fn a_name_with_a_folder_is_no_name() {
        let status = |name: &str| file(name).map_or_else(|p| p.status, |r| r.status().as_u16());
        assert_eq!((status("index.html"), status("absent.js")), (200, 404));
        assert_eq!((status("../mod.rs"), status("a/b.js"), status("..\\x")), (400, 400, 400));
    }
}
