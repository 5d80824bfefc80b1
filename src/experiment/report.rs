//! One page with everything: figures, the tables behind them, how to make each again. No script, nothing from outside.

use super::findings::{Drawn, Findings};
use crate::table::Table;
use std::fmt::Write as _;

/// The page of several findings, in order, as self-contained HTML.
///
/// `command` is what makes the findings of a stem again, for example `personascope run probes/drift.toml --out DIR`.
pub fn report(title: &str, all: &[Findings], command: &dyn Fn(&str) -> String) -> String {
    let mut out = String::new();
    let name = escaped(title);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{name}</h1>\n"
    );
    if let Some(model) = all.first().map(|f| &f.provenance["model"]) {
        let text = |key: &str| escaped(model[key].as_str().unwrap_or_default());
        let _ = writeln!(out, "<p class=\"quiet\">model {}, SHA-256 <code>{}</code></p>", text("name"), text("hash"));
    }
    if all.len() > 1 {
        out.push_str("<nav aria-label=\"Probes\">\n");
        for f in all {
            let stem = escaped(&f.stem);
            let _ = writeln!(out, "<a href=\"#{stem}\">{}</a>", stem.replace('_', " "));
        }
        out.push_str("</nav>\n");
    }
    for f in all {
        section(&mut out, f, &command(&f.stem));
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn section(out: &mut String, f: &Findings, command: &str) {
    let stem = escaped(&f.stem);
    let _ = writeln!(out, "<section id=\"{stem}\">\n<h2>{}</h2>", stem.replace('_', " "));
    let _ = writeln!(out, "<p class=\"question\">{}</p>\n<ul>", escaped(&f.question));
    for line in &f.summary {
        let _ = writeln!(out, "<li>{}</li>", escaped(line));
    }
    out.push_str("</ul>\n");
    for warning in &f.warnings {
        let _ = writeln!(out, "<p class=\"warning\">Note: {}</p>", escaped(warning));
    }
    let mut shown: Vec<&str> = Vec::new();
    for drawn in &f.figures {
        figure(out, drawn);
        for table in f.tables.iter().filter(|t| drawn.tables.contains(&t.name)) {
            if !shown.contains(&table.name.as_str()) {
                details(out, table);
                shown.push(&table.name);
            }
        }
    }
    for table in f.tables.iter().filter(|t| !shown.contains(&t.name.as_str())) {
        details(out, table);
    }
    let _ = writeln!(out, "<p>Make it again: <code>{}</code></p>\n</section>", escaped(command));
}

fn figure(out: &mut String, drawn: &Drawn) {
    // A stand-alone SVG begins with an XML declaration, which has no place inside HTML.
    let svg = drawn.figure.svg.find("<svg").map_or("", |at| &drawn.figure.svg[at..]);
    let _ = writeln!(
        out,
        "<figure>\n<div class=\"card\" tabindex=\"0\" role=\"region\" aria-label=\"Figure {0}\" style=\"--width:{1:.0}px\">\n{svg}\n\
         </div>\n<figcaption>{2}</figcaption>\n</figure>",
        escaped(&drawn.name),
        drawn.figure.width_in * 96.0 * 1.4,
        escaped(&drawn.caption),
    );
}

/// Rows of a table that are shown on the page; all of them are in the CSV file.
const MOST_ROWS: usize = 200;

fn details(out: &mut String, table: &Table) {
    let (name, n) = (escaped(&table.name), table.rows.len());
    let more = if n > MOST_ROWS { format!(", the first {MOST_ROWS} shown") } else { String::new() };
    let _ = writeln!(
        out,
        "<details>\n<summary>Table {name}.csv ({n} rows{more})</summary>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table {name}\">\n<table>\n<thead><tr>"
    );
    for column in &table.columns {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escaped(column));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in table.rows.iter().take(MOST_ROWS) {
        out.push_str("<tr>");
        for cell in row {
            let kind = if cell.num().is_some() { " class=\"n\"" } else { "" };
            let _ = write!(out, "<td{kind}>{}</td>", escaped(&cell.show()));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</div>\n</details>\n");
}

/// Text with the characters that HTML reserves written out.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1f2328;--quiet:#57606a;--paper:#fafafa;--rule:#d8dce0;--soft:#eef0f2;--link:#0b5cad}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ea;--quiet:#a8b0b8;--paper:#16181b;--rule:#3a4047;--soft:#22262b;--link:#7ab8f5}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
main{max-width:70rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0}
h2{font-size:1.3rem;margin:2.5rem 0 .5rem;padding-top:1rem;border-top:1px solid var(--rule);text-transform:capitalize}
p,li,figcaption{max-width:46rem;overflow-wrap:anywhere}
.quiet,figcaption{color:var(--quiet);font-size:.875rem}
.question{font-style:italic}
.warning{border-left:3px solid #b35900;padding-left:.75rem}
nav{display:flex;flex-wrap:wrap;gap:.5rem 1.25rem;margin:1rem 0;text-transform:capitalize}
a{color:var(--link)}
code{background:var(--soft);padding:.1em .35em;border-radius:4px;overflow-wrap:anywhere;font-size:.875em}
figure{margin:1.25rem 0}
.card{background:#fff;border:1px solid var(--rule);border-radius:8px;padding:.75rem;overflow-x:auto;max-width:calc(var(--width) + 1.5rem)}
.card svg{display:block;width:100%;min-width:40rem;height:auto}
figcaption{margin-top:.6rem}
details{margin:.4rem 0}
summary{cursor:pointer;padding:.3rem 0}
.scroll{overflow:auto;max-height:28rem;border:1px solid var(--rule);border-radius:6px}
table{border-collapse:collapse;font-size:.8rem;white-space:nowrap}
th{position:sticky;top:0;background:var(--soft);text-align:left}
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--rule)}
.n{text-align:right;font-variant-numeric:tabular-nums}
";
