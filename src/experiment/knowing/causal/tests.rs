use super::*;

#[test]
fn places_are_spread_over_all() {
    assert_eq!(spread(30, 3), [0, 10, 20]);
    assert_eq!((spread(2, 8), spread(0, 3), spread(5, 5)), (vec![0, 1], vec![], vec![0, 1, 2, 3, 4]));
}

#[test]
fn settings_of_edits_out_of_range_are_refused_by_name() {
    let fine = Causal { doses: vec![0.1, 0.2], ..Causal::default() };
    assert!(check(&fine, &["chat"]).is_ok() && check(&Causal::default(), &[]).is_ok());
    let patch = |a: &str, b: &str| Causal { patch: Some((a.into(), b.into())), ..Causal::default() };
    assert!(check(&patch("chat", "base"), &["chat"]).is_ok());
    for (c, says) in [
        (Causal { doses: vec![0.2, 0.1], ..Causal::default() }, "causal.doses"),
        (Causal { doses: vec![0.0], ..Causal::default() }, "causal.doses"),
        (Causal { doses: vec![f64::NAN], ..Causal::default() }, "causal.doses"),
        (Causal { level: 1.5, ..Causal::default() }, "causal.level"),
        (Causal { prompts: 0, ..fine.clone() }, "causal.prompts"),
        (Causal { samples: 0, ..fine.clone() }, "causal.samples"),
        (patch("chat", "novel"), "`novel`"),
        (patch("chat", "chat"), "causal.patch"),
    ] {
        let e = check(&c, &["chat"]).unwrap_err();
        assert!(e.to_string().contains(says) && !e.hint().is_empty(), "{says}: {e}");
    }
}
