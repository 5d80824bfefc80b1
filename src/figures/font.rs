//! The embedded typeface: Liberation Sans (SIL OFL 1.1, metrics of Arial), and how wide its text is.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Liberation Sans Regular.
pub const REGULAR: &[u8] = include_bytes!("../assets/fonts/LiberationSans-Regular.ttf");
/// Liberation Sans Bold.
pub const BOLD: &[u8] = include_bytes!("../assets/fonts/LiberationSans-Bold.ttf");

/// Height above the base line of letters with ascenders, in ems.
pub(crate) const ASCENT: f64 = 0.74;
/// Depth below the base line, in ems.
pub(crate) const DESCENT: f64 = 0.21;
/// From the base line to the middle of a lower-case line of text, in ems.
pub(crate) const MIDDLE: f64 = 0.35;

/// The advance width of a text in points, without kerning (which only makes it a little narrower).
pub fn width(text: &str, size_pt: f64, bold: bool) -> f64 {
    let face = face(bold);
    text.chars().map(|c| f64::from(face.advance(c))).sum::<f64>() * size_pt / f64::from(face.em)
}

/// The characters of a text that the embedded typeface lacks.
pub fn missing(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().filter(|c| !face(false).glyphs.contains_key(c))
}

/// Breaks a text into lines no wider than `max_pt`, at spaces; a single word may stay wider.
pub(crate) fn wrap(text: &str, size_pt: f64, bold: bool, max_pt: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}"), size_pt, bold) <= max_pt => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

struct Face {
    em: u16,
    glyphs: BTreeMap<char, u16>,
    advances: Vec<u16>,
}

impl Face {
    fn advance(&self, c: char) -> u16 {
        // A character the font lacks is drawn as its first glyph, the empty box.
        let glyph = self.glyphs.get(&c).copied().unwrap_or(0) as usize;
        self.advances.get(glyph).or(self.advances.last()).copied().unwrap_or(self.em)
    }
}

fn face(bold: bool) -> &'static Face {
    static FACES: OnceLock<[Face; 2]> = OnceLock::new();
    let faces = FACES.get_or_init(|| [REGULAR, BOLD].map(|d| read(d).expect("the embedded font is a TrueType file")));
    &faces[usize::from(bold)]
}

/// Reads widths and the character map (OpenType 1.9: head, hhea, hmtx, cmap format 4).
fn read(data: &[u8]) -> Option<Face> {
    let head = table(data, b"head")?;
    let metrics = u16_at(table(data, b"hhea")?, 34)? as usize;
    let hmtx = table(data, b"hmtx")?;
    let advances = (0..metrics).map(|i| u16_at(hmtx, 4 * i)).collect::<Option<Vec<_>>>()?;
    let cmap = table(data, b"cmap")?;
    let unicode = (0..u16_at(cmap, 2)? as usize)
        .find(|i| (u16_at(cmap, 4 + 8 * i), u16_at(cmap, 6 + 8 * i)) == (Some(3), Some(1)))?;
    let map = cmap.get(u32_at(cmap, 8 + 8 * unicode)? as usize..)?;
    (u16_at(map, 0)? == 4).then_some(())?;
    let n = u16_at(map, 6)? as usize / 2;
    let mut glyphs = BTreeMap::new();
    for s in 0..n {
        let (end, start) = (u16_at(map, 14 + 2 * s)?, u16_at(map, 16 + 2 * n + 2 * s)?);
        let delta = u16_at(map, 16 + 4 * n + 2 * s)?;
        let slot = 16 + 6 * n + 2 * s;
        let offset = u16_at(map, slot)? as usize;
        for code in start..=end {
            let glyph = match offset {
                0 => code.wrapping_add(delta),
                _ => match u16_at(map, slot + offset + 2 * (code - start) as usize) {
                    Some(g) if g > 0 => g.wrapping_add(delta),
                    _ => 0,
                },
            };
            if let (Some(c), true) = (char::from_u32(code.into()), glyph > 0) {
                glyphs.insert(c, glyph);
            }
        }
    }
    Some(Face { em: u16_at(head, 18)?, glyphs, advances })
}

fn table<'a>(data: &'a [u8], tag: &[u8; 4]) -> Option<&'a [u8]> {
    let record = (0..u16_at(data, 4)? as usize).map(|i| 12 + 16 * i).find(|r| data.get(*r..*r + 4) == Some(tag))?;
    let (start, length) = (u32_at(data, record + 8)? as usize, u32_at(data, record + 12)? as usize);
    data.get(start..start + length)
}

fn u16_at(d: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(d.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(d: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(d.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_arial() {
        // Arial's advances of 2048 units: A 1366, i 455, space 569; bold A 1479.
        let units = |t: &str, bold| (width(t, 2048.0, bold)).round() as i64;
        assert_eq!((units("A", false), units("i", false), units(" ", false), units("A", true)), (1366, 455, 569, 1479));
        assert_eq!(units("Ai", false), 1366 + 455);
    }

    #[test]
    fn signs_that_figures_need_are_there_and_others_are_reported() {
        assert_eq!(missing("−0.5 ± × ° α β σ – — … é →").collect::<String>(), "");
        assert_eq!(missing("a漢b").collect::<String>(), "漢");
    }

    #[test]
    fn text_is_broken_at_spaces_to_fit() {
        let lines = wrap("mean projection on the assistant axis", 8.0, false, 80.0);
        assert!(lines.len() > 1 && lines.iter().all(|l| width(l, 8.0, false) <= 80.0), "{lines:?}");
        assert_eq!(lines.join(" "), "mean projection on the assistant axis");
        assert_eq!(wrap("unbreakable", 8.0, false, 5.0), vec!["unbreakable"]);
    }
}
