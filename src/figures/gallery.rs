//! The figures that experiments draw, on made-up rows, held to what a paper asks of every figure.
//!
//! With `FIGURES_OUT` set to a folder, the tests leave SVG, PNG and PDF there to be looked at.

use super::canvas::Text;
use super::geom::quads_overlap;
use super::*;
use crate::rng::stream;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

const TRAITS: [&str; 9] =
    ["brief", "cautious", "cheerful", "exclaiming", "formal", "helpful", "honest", "impolite", "sycophantic"];
const SITES: [&str; 5] = ["resid_pre.0", "resid_post.0", "resid_post.1", "resid_post.2", "resid_post.3"];

fn normal(r: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| r.random::<f64>()).sum::<f64>() - 6.0
}

fn around(points: &[(f64, f64)], half: f64) -> Vec<(f64, f64)> {
    points.iter().map(|p| (p.1 - half, p.1 + half)).collect()
}

fn trait_curves(i: usize, r: &mut ChaCha8Rng) -> Vec<Series> {
    let rise = |top: f64, r: &mut ChaCha8Rng| -> Vec<(f64, f64)> {
        (0..5).map(|l| (l as f64, 0.5 + (top - 0.5) * (1.0 - (-(l as f64)).exp()) + 0.01 * normal(r))).collect()
    };
    let probe = rise(0.8 + 0.02 * i as f64, r);
    let words: Vec<(f64, f64)> = (0..5).map(|l| (l as f64, 0.55 + 0.02 * i as f64)).collect();
    let null: Vec<(f64, f64)> = (0..5).map(|l| (l as f64, 0.5 + 0.01 * normal(r))).collect();
    vec![
        Series::new("logistic probe", probe.clone()).band(around(&probe, 0.05)),
        Series::new("wording baseline", words).style(Style::Dashed),
        Series::new("shuffled labels", null.clone()).band(around(&null, 0.06)).style(Style::Null),
    ]
}

fn trait_layers() -> Page {
    let mut r = stream(1, "gallery");
    let x = || Axis::new("site").names(SITES);
    let y = || Axis::new("AUROC on held-out personas").range(0.4, 1.02);
    let chance = || vec![Reference::horizontal(0.5, "chance")];
    let panel = |i: usize, r: &mut ChaCha8Rng| {
        (TRAITS[i].to_string(), Curves::new(x(), y(), trait_curves(i, r)).lines(chance()))
    };
    let small: Vec<_> = (0..9).map(|i| panel(i, &mut r)).collect();
    let arm = |name: &str, base: f64, half: f64, r: &mut ChaCha8Rng| {
        let estimate = |i: usize, r: &mut ChaCha8Rng| {
            let value = base + 0.015 * i as f64 + 0.01 * normal(r);
            Some(Estimate { value, interval: Some((value - half, value + half)) })
        };
        Arm::new(name, (0..9).map(|i| estimate(i, r)).collect())
    };
    let forest = Forest {
        x: Axis::new("AUROC at the best site").range(0.4, 1.02),
        categories: TRAITS.map(String::from).to_vec(),
        arms: vec![
            arm("logistic probe", 0.82, 0.04, &mut r),
            arm("wording baseline", 0.58, 0.05, &mut r).role(Role::Baseline),
            arm("shuffled labels", 0.5, 0.06, &mut r).role(Role::Null),
        ],
        lines: vec![Reference::vertical(0.5, "chance")],
    };
    Page::new("trait_layers", "Traits by layer", "AUROC of probes < 1 & > chance.", Width::Page).row(
        4.6,
        vec![
            Panel::new("Probes by site", Plot::Multiples(Multiples::new(3, small))).share(1.9),
            Panel::new("Best site", Plot::Forest(forest)),
        ],
    )
}

fn persona_map() -> Page {
    let mut r = stream(2, "gallery");
    let stems = [
        "librarian",
        "pirate",
        "oracle",
        "nurse",
        "critic",
        "jester",
        "ghost",
        "farmer",
        "lawyer",
        "poet",
        "mentor",
        "spy",
        "monk",
        "trickster",
        "engineer",
        "judge",
    ];
    let ways = ["", "old ", "grumpy ", "young ", "kind ", "royal ", "sleepy "];
    let mut dots: Vec<Dot> = (0..112)
        .map(|i| {
            let helpful = (normal(&mut r) * 0.4).tanh();
            let (x, y) = (3.0 * helpful + 0.8 * normal(&mut r), 1.1 * normal(&mut r));
            let name = format!("{}{}", ways[i / 16], stems[i % 16]);
            Dot { value: Some(helpful), priority: i32::from(i < 16), ..Dot::new(name, x, y) }
        })
        .collect();
    dots.push(Dot { marker: Marker::Star, priority: 9, ..Dot::new("default assistant", 3.4, 0.4) });
    let map = Scatter {
        x: Axis::new("PC1 (31.4 % of variance)"),
        y: Axis::new("PC2 (12.9 % of variance)"),
        dots,
        arrows: vec![Arrow { from: (0.0, 0.0), to: (2.4, 0.35), label: "assistant axis".into() }],
        shades: Some(Shades::new("planted helpfulness", Ramp::Diverging)),
        equal: true,
        ..Scatter::default()
    };
    let spectrum = Bars {
        x: Axis::new("component"),
        y: Axis::new("variance explained (%)"),
        name: "role vectors".into(),
        values: (0..14).map(|i| 31.4 * (-0.55 * f64::from(i)).exp() + 1.0).collect(),
        null: Some(NullLine {
            name: "shuffled".into(),
            values: (0..14).map(|i| 6.0 - 0.2 * f64::from(i)).collect(),
            band: Some((0..14).map(|i| (5.2 - 0.2 * f64::from(i), 6.9 - 0.2 * f64::from(i))).collect()),
        }),
    };
    let cos: Vec<(f64, f64)> =
        [0.1, 0.45, 0.71, 0.83, 0.88].into_iter().enumerate().map(|(i, v)| (i as f64, v)).collect();
    let null: Vec<(f64, f64)> = (0..5).map(|i| (i as f64, 0.06)).collect();
    let axis = Curves::new(
        Axis::new("").names(SITES),
        Axis::new("|cos(assistant axis, PC1)|").range(0.0, 1.0),
        vec![
            Series::new("assistant axis", cos.clone()).band(around(&cos, 0.07)).style(Style::Marked),
            Series::new("random direction", null.clone()).band(around(&null, 0.05)).style(Style::Null),
        ],
    );
    let groups: Vec<Dot> = (0..30)
        .map(|i| Dot {
            group: Some(["0 style traits", "1 style trait", "2 or more"][i % 3].into()),
            ..Dot::new(format!("{} {i}", stems[i % 16]), normal(&mut r), normal(&mut r))
        })
        .collect();
    let by_group = Scatter { x: Axis::new("PC1 (z)"), y: Axis::new("PC2 (z)"), dots: groups, ..Scatter::default() };
    Page::new("persona_map", "Persona space", "The plane of the first two components.", Width::Page)
        .row(3.6, vec![Panel::new("112 role vectors at resid_post.2", Plot::Map(map))])
        .row(
            2.3,
            vec![
                Panel::new("Spectrum", Plot::Bars(spectrum)),
                Panel::new("Axis and PC1", Plot::Curves(axis)),
                Panel::new("Style", Plot::Map(by_group)),
            ],
        )
}

fn drift() -> Page {
    let mut r = stream(3, "gallery");
    let turns = |f: &dyn Fn(f64) -> f64, r: &mut ChaCha8Rng| -> Vec<(f64, f64)> {
        (1..=12).map(|t| (f64::from(t), f(f64::from(t)) + 0.04 * normal(r))).collect()
    };
    let persona = turns(&|t| -1.2 + 0.01 * t, &mut r);
    let fallen = turns(&|t| 0.9 + 0.02 * t, &mut r);
    let projection = Curves::new(
        Axis::new("turn").whole(),
        Axis::new("projection on the assistant axis (z)"),
        vec![
            Series::new("in persona", persona.clone()).band(around(&persona, 0.2)),
            Series::new("fallen back", fallen.clone()).band(around(&fallen, 0.3)),
        ],
    )
    .lines(vec![Reference::horizontal(0.0, "threshold")])
    .names_at(Names::Direct);
    let estimate = |v: f64, h: f64| Some(Estimate { value: v, interval: Some((v - h, v + h)) });
    let auroc = Forest {
        x: Axis::new("AUROC").range(0.4, 1.02),
        categories: vec!["resid_post.1".into(), "resid_post.2".into(), "resid_post.3".into()],
        arms: vec![
            Arm::new("projection", vec![estimate(0.81, 0.05), estimate(0.93, 0.03), estimate(0.95, 0.02)]),
            Arm::new("token count", vec![estimate(0.61, 0.06); 3]).role(Role::Baseline),
        ],
        lines: vec![Reference::vertical(0.5, "chance")],
    };
    let mut series = Vec::new();
    for (k, hazard) in [0.05, 0.1, 0.2, 0.4].into_iter().enumerate() {
        let planted: Vec<(f64, f64)> = (1..=12).map(|t| (f64::from(t), (1.0f64 - hazard).powi(t - 1))).collect();
        let seen: Vec<(f64, f64)> =
            planted.iter().map(|p| (p.0, (p.1 + 0.02 * normal(&mut r)).clamp(0.0, 1.0))).collect();
        let band = around(&seen, 0.06);
        series.push(Series::new(format!("hazard {hazard}"), seen).band(band).style(Style::Points).color(k));
        series.push(Series::new("planted", planted).style(Style::Dotted).color(k));
    }
    let retention =
        Curves::new(Axis::new("turn").whole(), Axis::new("fraction still in persona").range(0.0, 1.05), series);
    Page::new("drift", "Drift", "Projection by turn.", Width::Page).row(
        2.4,
        vec![
            Panel::new("Projection by turn", Plot::Curves(projection)).share(1.15),
            Panel::new("Telling turns apart", Plot::Forest(auroc)).share(0.95),
            Panel::new("Retention", Plot::Curves(retention)).share(1.1),
        ],
    )
}

fn steering() -> Page {
    let mut r = stream(4, "gallery");
    let doses: Vec<f64> = (-4..=4).map(|d| f64::from(d) * 0.5).collect();
    let curve = |top: f64, slope: f64, r: &mut ChaCha8Rng| -> Vec<(f64, f64)> {
        doses.iter().map(|d| (*d, top / (1.0 + (-slope * d).exp()) + 0.01 * normal(r))).collect()
    };
    let mut series: Vec<Series> = TRAITS[..7]
        .iter()
        .map(|t| Series::new(*t, curve(r.random_range(0.7..1.0), r.random_range(1.5..3.0), &mut r)).style(Style::Thin))
        .collect();
    let mean = curve(0.86, 2.2, &mut r);
    series.push(Series::new("mean", mean.clone()).band(around(&mean, 0.06)).style(Style::Mean));
    let null: Vec<(f64, f64)> = doses.iter().map(|d| (*d, 0.43 + 0.01 * normal(&mut r))).collect();
    series.push(Series::new("random direction", null.clone()).band(around(&null, 0.05)).style(Style::Null));
    let dose = |names| {
        Curves::new(Axis::new("strength (mean residual norms)"), Axis::new("trait marker rate"), series.clone())
            .lines(vec![Reference::horizontal(0.85, "planted 0.85")])
            .names_at(names)
    };
    let flat = |v: f64, fall: f64| -> Vec<(f64, f64)> { doses.iter().map(|d| (*d, v - fall * d * d)).collect() };
    let intact = Curves::new(
        Axis::new("strength (mean residual norms)"),
        Axis::new("rate").range(0.0, 1.05),
        vec![
            Series::new("body intact", flat(0.97, 0.06)).band(around(&flat(0.97, 0.06), 0.04)),
            Series::new("helpful", flat(0.9, 0.1)).band(around(&flat(0.9, 0.1), 0.05)),
        ],
    )
    .lines(vec![Reference::vertical(0.0, "unsteered")])
    .names_at(Names::Direct);
    Page::new("steering", "Steering", "Dose and response.", Width::Page).row(
        2.6,
        vec![
            Panel::new("Response to dose", Plot::Curves(dose(Names::Direct))).share(1.2),
            Panel::new("What it costs", Plot::Curves(intact)),
        ],
    )
}

fn column() -> Page {
    let mut r = stream(5, "gallery");
    let series = trait_curves(6, &mut r);
    let curves =
        Curves::new(Axis::new("site").names(SITES), Axis::new("AUROC on held-out personas").range(0.4, 1.0), series)
            .lines(vec![Reference::horizontal(0.5, "chance")]);
    let heat = Heat {
        x_label: "direction".into(),
        columns: TRAITS.map(String::from).to_vec(),
        rows: TRAITS.map(String::from).to_vec(),
        values: (0..9)
            .map(|i| {
                (0..9).map(|j| (i + j != 5).then(|| if i == j { 1.0 } else { 0.4 * normal(&mut r).tanh() })).collect()
            })
            .collect(),
        shades: Shades::new("cosine", Ramp::Diverging),
        decimals: 1,
        ..Heat::default()
    };
    Page::new("column", "One column", "Curves over a matrix.", Width::Column)
        .row(2.2, vec![Panel::new("Honest: probes by site", Plot::Curves(curves))])
        .row(2.7, vec![Panel::new("Cosines of trait directions", Plot::Heat(heat))])
}

fn attractors() -> Page {
    let mut r = stream(6, "gallery");
    let wells = [(-3.0, 0.5), (3.0, -0.5), (0.5, 4.0)];
    let path = |i: usize, r: &mut ChaCha8Rng| {
        let (w, mut at) = (wells[i % 3], (4.0 * normal(r), 3.0 * normal(r)));
        let points = (0..10)
            .map(|_| {
                let now = at;
                at = (w.0 + 0.6 * (at.0 - w.0) + 0.3 * normal(r), w.1 + 0.6 * (at.1 - w.1) + 0.3 * normal(r));
                now
            })
            .collect();
        Path { points, color: i % 3 }
    };
    let paths = (0..18).map(|i| path(i, &mut r)).collect();
    let flows = (0..49)
        .map(|i| {
            let at = (f64::from(i % 7 - 3) * 2.0, f64::from(i / 7 - 3) * 1.8);
            let near = |w: &(f64, f64)| (w.0 - at.0).hypot(w.1 - at.1);
            let w = wells.into_iter().min_by(|a, b| near(a).total_cmp(&near(b))).unwrap();
            Flow { at, by: (0.4 * (w.0 - at.0), 0.4 * (w.1 - at.1)) }
        })
        .collect();
    let spot =
        |i: usize| Spot { name: format!("{} %", [60, 30, 10][i]), at: wells[i], marker: Marker::Diamond, color: i };
    let field =
        Field { x: Axis::new("z0"), y: Axis::new("z1"), flows, paths, spots: (0..3).map(spot).collect(), stretch: 0.0 };
    let node = |i: usize| Node {
        name: i.to_string(),
        at: wells[i],
        weight: [0.6, 0.3, 0.1][i],
        note: ["0.60", "0.30", "0.10"][i].into(),
    };
    let moves = (0..9)
        .map(|i| {
            let share = if i % 4 == 0 { 0.9 } else { 0.05 };
            Move { from: i / 3, to: i % 3, share, label: format!("{share:.2}") }
        })
        .collect();
    Page::new("attractors", "Attractors", "A field and a chain.", Width::Page).row(
        2.7,
        vec![
            Panel::new("Movement, first two components", Plot::Field(field)).share(1.2),
            Panel::new(
                "Moves between basins per turn",
                Plot::Diagram(Diagram { nodes: (0..3).map(node).collect(), moves }),
            ),
        ],
    )
}

fn all() -> Vec<Page> {
    vec![trait_layers(), persona_map(), drift(), steering(), column(), attractors()]
}

fn clash(texts: &[Text]) -> Option<(&str, &str)> {
    // Lines set solid touch by less than a tenth of an em of empty descender.
    let quad = |t: &Text| {
        let q = t.quad();
        let (cx, cy) = (q.iter().map(|p| p.0).sum::<f64>() / 4.0, q.iter().map(|p| p.1).sum::<f64>() / 4.0);
        q.map(|p| (cx + 0.93 * (p.0 - cx), cy + 0.93 * (p.1 - cy)))
    };
    for (i, a) in texts.iter().enumerate() {
        for b in &texts[..i] {
            if quads_overlap(&quad(a), &quad(b)) {
                return Some((&a.content, &b.content));
            }
        }
    }
    None
}

#[test]
fn no_words_collide_or_leave_the_page() {
    for page in all() {
        let f = page.draw().unwrap();
        assert_eq!(clash(&f.texts), None, "{}", page.name);
        for t in &f.texts {
            let out = t
                .quad()
                .into_iter()
                .find(|p| p.0 < 0.0 || p.1 < 0.0 || p.0 > 72.0 * f.width_in || p.1 > 72.0 * f.height_in);
            assert_eq!(out, None, "{}: `{}`", page.name, t.content);
        }
        assert_eq!(f.missing_glyphs, "", "{}", page.name);
    }
}

#[test]
fn the_same_rows_give_the_same_bytes_and_valid_files() {
    for page in all() {
        let (a, b) = (page.draw().unwrap(), page.clone().draw().unwrap());
        assert_eq!(a.svg, b.svg);
        let (png, pdf) = (a.to_png(200.0).unwrap(), a.to_pdf().unwrap());
        assert!(png == b.to_png(200.0).unwrap() && pdf == b.to_pdf().unwrap(), "{}", page.name);
        resvg::usvg::roxmltree::Document::parse(&a.svg).unwrap();
        assert!(png.starts_with(b"\x89PNG") && pdf.starts_with(b"%PDF"));
        if let Some(folder) = std::env::var_os("FIGURES_OUT").map(std::path::PathBuf::from) {
            std::fs::create_dir_all(&folder).unwrap();
            for (end, bytes) in [("svg", a.svg.as_bytes()), ("png", &png), ("pdf", &pdf)] {
                std::fs::write(folder.join(format!("{}.{end}", page.name)), bytes).unwrap();
            }
        }
    }
}

#[test]
fn ids_belong_to_the_figure_so_that_several_fit_one_page() {
    let ids = |name: &str| {
        let svg = Page { name: name.into(), ..column() }.draw().unwrap().svg;
        let doc = resvg::usvg::roxmltree::Document::parse(&svg).unwrap();
        doc.descendants().filter_map(|n| n.attribute("id").map(String::from)).collect::<Vec<_>>()
    };
    assert_eq!(ids("column"), ["column-title", "column-desc"]);
    assert_eq!(ids("2 <x>"), ["fig-2--x--title", "fig-2--x--desc"]);
}

#[test]
fn the_pdf_is_one_page_of_the_stated_size_without_a_date() {
    let f = steering().draw().unwrap();
    let pdf = f.to_pdf().unwrap();
    let text = String::from_utf8_lossy(&pdf);
    assert!(text.contains("/Count 1") && text.contains("LiberationSans"));
    assert!(!text.contains("CreationDate"));
    let tree = f.tree().unwrap();
    // CSS pixels: 96 to the inch.
    assert!((f64::from(tree.size().width()) - 96.0 * 6.75).abs() < 1e-3 && f.width_in == 6.75);
}

#[test]
fn what_is_not_a_number_is_counted_and_what_is_empty_is_refused() {
    let page = |points: Vec<(f64, f64)>| {
        let curves = Curves::new(Axis::new("turn"), Axis::new("z"), vec![Series::new("a", points)]);
        Page::new("f", "", "", Width::Column).row(2.0, vec![Panel::new("t", Plot::Curves(curves))]).draw()
    };
    assert_eq!(page(vec![(0.0, 1.0), (1.0, f64::NAN), (f64::INFINITY, 2.0), (3.0, 3.0)]).unwrap().skipped, 2);
    let e = page(vec![(0.0, f64::NAN)]).unwrap_err();
    assert!(e.to_string().contains("figure `f`: panel `t`") && e.hint().contains("table"), "{e}");
    assert!(page(vec![]).is_err());
    assert!(Page::new("f", "", "", Width::Column).draw().unwrap_err().to_string().contains("no panels"));
    let flat = Page { rows: vec![(0.35, column().rows[0].1.clone())], ..column() };
    assert!(flat.draw().unwrap_err().hint().contains("more height"));
    assert!(column().draw().unwrap().to_png(f64::NAN).is_err());
}

#[test]
fn a_colour_belongs_to_a_name_in_every_panel_of_a_figure() {
    let svg = trait_layers().draw().unwrap().svg;
    // Sorted: logistic probe, wording baseline; the null has no colour. So two hues, both in both panels.
    let hues = |c: &str| svg.matches(&format!("stroke=\"{c}\"")).count();
    assert!(hues("#0072B2") >= 18 && hues("#D55E00") >= 18);
    assert_eq!(hues("#009E73"), 0);
}
