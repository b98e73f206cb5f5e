//! Sliders, presets, undo.

use super::*;
use engine::arena::CachePrecision;

#[test]
fn a_bits_slider_changes_recipe_bytes_and_the_running_tensor_and_one_undo_takes_it_back() {
    let (_folder, mut window) = tiny_window();
    let tensor = "blk.0.attn_q.weight";
    let before = (window.state().state.project.clone(), total(&window));
    assert_eq!(running(&window, tensor), "dense4");
    assert!(window.query_all_by_label(&shown(before.1)).next().is_some());

    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    assert_eq!(setting(&window, tensor).precision, Precision::Source);
    let after = total(&window);
    assert!(after > before.1, "{after} is not over {}", before.1);
    assert!(window.query_all_by_label(&shown(after)).next().is_some());

    settle(&mut window);
    assert_eq!(running(&window, tensor), "f16");
    assert_eq!(running(&window, "blk.1.attn_q.weight"), "dense4");
    let bench = window.state().state.derived.bench(Candidate::A);
    assert!(bench.is_current());

    window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    settle(&mut window);
    assert_eq!(window.state().state.project, before.0);
    assert_eq!(running(&window, tensor), "dense4");
    assert!(!window.state().state.view.can_undo, "one drag is one step");
    window.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    settle(&mut window);
    assert_eq!(running(&window, tensor), "f16");
}

#[test]
fn a_group_slider_sets_every_matrix_of_the_group_with_one_rule() {
    let (_folder, mut window) = tiny_window();
    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    drag_to_end(&mut window, "Sparsity of Attention, all layers");
    settle(&mut window);
    for layer in 0..2 {
        for (name, bits) in [("attn_k", 4.0), ("attn_output", 4.0)] {
            let found = setting(&window, &format!("blk.{layer}.{name}.weight"));
            assert_eq!((found.precision.bits(), found.sparsity), (Some(bits), 0.95));
        }
    }
    // The exception of before stays one.
    let exception = setting(&window, "blk.0.attn_q.weight");
    assert_eq!(
        (exception.precision, exception.sparsity),
        (Precision::Source, 0.95)
    );
    drag_to_end(&mut window, "Bits of Attention, all layers");
    settle(&mut window);
    let rules = &window.state().state.project.a.rules;
    let last = rules.last().unwrap();
    assert_eq!((last.bits, last.sparsity), (Precision::Source, 0.95));
    let is_attention = |r: &&whittle::recipe::Rule| {
        let text = toml::to_string(r).unwrap();
        text.contains("attn_") || text.contains("attention")
    };
    assert_eq!(rules.iter().filter(is_attention).count(), 1, "{rules:?}");
}

#[test]
fn a_preset_replaces_the_recipe_and_x_switches_the_candidate() {
    let (_folder, mut window) = tiny_window();
    click(&mut window, "Recipe of A");
    click(&mut window, "small-3bit");
    settle(&mut window);
    let preset = Recipe::open("small-3bit").unwrap();
    assert_eq!(window.state().state.project.a, preset);
    let bench = window.state().state.derived.bench(Candidate::A);
    assert!(bench.is_current());
    assert!(
        window
            .state()
            .state
            .derived
            .bench(Candidate::B)
            .live
            .is_none()
    );

    window.key_press(Key::X);
    settle(&mut window);
    assert_eq!(window.state().state.view.active, Candidate::B);
    assert!(
        window
            .state()
            .state
            .derived
            .bench(Candidate::B)
            .is_current()
    );
    let answerer = window.state().state.answerer();
    assert_eq!(answerer, Answerer::Candidate(Candidate::B));
    click(&mut window, "Candidate A");
    assert_eq!(window.state().state.view.active, Candidate::A);
}

#[test]
fn coarser_keys_and_values_take_less_ram_and_speak_otherwise() {
    let (_folder, mut window) = tiny_window();
    let kv_bytes = |window: &Harness<'_, Studio>| {
        let bench = window.state().state.derived.bench(Candidate::A);
        bench.estimates[0].kv_bytes
    };
    window.state_mut().state.project.cache = CachePrecision::Sixteen;
    window.run_steps(2);
    let fine = kv_bytes(&window);
    let hash = |window: &mut Harness<'_, Studio>| {
        window.state_mut().state.view.prompt = "hello you".into();
        click(window, "Ask");
        settle(window);
        let last = window.state().state.view.transcript.last().unwrap();
        last.facts.as_ref().unwrap().logits_hash
    };
    click(&mut window, "New conversation");
    let before = hash(&mut window);
    let choose_four = |window: &mut Harness<'_, Studio>| {
        click(window, "KV bits");
        click(window, "KV 4 bits");
        settle(window);
        assert!(kv_bytes(window) * 2 < fine);
    };
    choose_four(&mut window);
    window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    window.run_steps(2);
    assert_eq!(kv_bytes(&window), fine);
    choose_four(&mut window);
    click(&mut window, "New conversation");
    assert_ne!(hash(&mut window), before);
}

#[test]
fn a_rule_that_matches_no_tensor_is_told_beside_the_recipe() {
    let (_folder, mut window) = tiny_window();
    let none = |window: &Harness<'_, Studio>, text: &str| window.query_by_label(text).is_none();
    assert!(none(&window, "1 rule matches nothing"));
    let recipe = &mut window.state_mut().state.project.a;
    recipe.set("blk.99.*=bits:2").unwrap();
    settle(&mut window);
    assert!(!none(&window, "1 rule matches nothing"));
    let warning = &window.state().state.derived.bench(Candidate::A).warnings[0];
    assert!(warning.to_string().contains("blk.99.*"), "{warning}");
    // The tiny model's head is its embedding.
    let recipe = &mut window.state_mut().state.project.a;
    recipe.set("output=bits:8").unwrap();
    settle(&mut window);
    assert!(!none(&window, "2 rules match nothing"));
    window.check_accessibility();
}

#[test]
fn what_boards_would_take_is_shown_as_unvalidated() {
    let (_folder, mut window) = tiny_window();
    assert!(window.query_by_label("for A, unvalidated").is_some());
    window.state_mut().state.project.board = "ek-ra8m1".into();
    window.run_steps(2);
    let shown = |window: &Harness<'_, Studio>, end: &str| {
        window
            .query_all_by(|node| {
                let text = node.value().or(node.label());
                node.role() == Role::Label && text.is_some_and(|text| text.ends_with(end))
            })
            .count()
    };
    // First token, reply and speed; its power is unknown.
    assert_eq!(shown(&window, "s, unvalidated"), 3);
    window.state_mut().state.view.popup = whittle::app::Popup::Compare;
    window.run_steps(2);
    let boards = window.query_all_by_label_contains("), unvalidated").count();
    assert!(boards > 2, "{boards}");
}

#[test]
fn weights_that_cannot_be_stored_become_a_notice_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = TinyModel::default();
    let name = "blk.0.attn_q.weight";
    let (_, rows, cols) = tiny.tensors().into_iter().find(|t| t.0 == name).unwrap();
    let mut values = vec![0.01f32; (rows * cols) as usize];
    values[5 * cols as usize + 3] = f32::NAN;
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut file = tiny.writer();
    let file = file.tensor(name, &[cols, rows], tiny_model::F32, bytes);
    std::fs::write(folder.path().join("tiny.gguf"), file.bytes()).unwrap();
    let window = window_on(folder.path());
    let notices = &window.state().state.view.notices;
    let expected = format!("expected finite weights in {name}, found NaN in row 5, column 3");
    assert!(
        notices.iter().any(|n| n.text.contains(&expected)),
        "{notices:?}"
    );
}
