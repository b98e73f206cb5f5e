//! Conversations, and what else could answer.

use super::*;

#[test]
fn the_assistant_answers_and_a_replay_asks_both() {
    let (_folder, mut window) = tiny_window();
    window
        .get_by_role_and_label(Role::TextInput, "Prompt")
        .focus();
    window.step();
    window
        .get_by_role_and_label(Role::TextInput, "Prompt")
        .type_text("hello you");
    window.run_steps(2);
    click(&mut window, "Ask");
    settle(&mut window);
    click(&mut window, "Replay through both");
    settle(&mut window);
    let view = &window.state().state.view;
    let speakers: Vec<Speaker> = view.transcript.iter().map(|u| u.speaker).collect();
    let [a, b] = Candidate::ALL.map(|candidate| Speaker::Model(Answerer::Candidate(candidate)));
    assert_eq!(speakers, [Speaker::Person, a, Speaker::Person, a, b]);
    assert_eq!(view.transcript[2].text, "hello you");
    let hash = |index: usize| view.transcript[index].facts.as_ref().unwrap().logits_hash;
    assert_eq!(hash(1), hash(3), "both begin with an empty memory");
    assert_ne!(hash(3), hash(4), "another recipe has other logits");
    assert!(view.notices.is_empty(), "{:?}", view.notices);
}

#[test]
fn other_models_are_one_click_away_with_their_sizes() {
    let (_folder, window) = tiny_window();
    for (model, size) in [
        ("SmolLM2 135M", "98.36 MB"),
        ("Qwen2.5 Coder 1.5B", "1.12 GB"),
    ] {
        let button = window.get_by(|node| {
            node.role() == Role::Button && node.label().is_some_and(|label| label.contains(model))
        });
        let label = button.accesskit_node().label().expect("a label");
        // What is here already has nothing to fetch.
        let is_here = label.starts_with("Open ");
        let is_fetched = label.starts_with("Fetch ") && label.ends_with(size);
        assert!(is_here || is_fetched, "{label}");
    }
    window.get_by_label("Open hearth, smart-home assistant, 2.2 M, F16");
}

#[test]
fn sampling_is_set_for_both_saved_and_undone() {
    let (_folder, mut window) = tiny_window();
    let greedy = window.state().state.project.sampling;
    click(&mut window, "Sampling");
    window.check_accessibility();
    let temperature = window.get_by_role_and_label(Role::SpinButton, "Temperature");
    let start = temperature.rect().center();
    window.drag_at(start);
    window.step();
    for x in [20.0, 60.0, 100.0] {
        window.hover_at(start + vec2(x, 0.0));
        window.step();
    }
    window.drop_at(start + vec2(100.0, 0.0));
    window.run_steps(2);
    let set = window.state().state.project.sampling;
    assert!(set.temperature > 0.5, "{set:?}");
    assert_eq!(set.sampling().check(), Ok(()));
    window.key_press(Key::Escape);
    window.run_steps(2);
    let seed = window.query_by_role_and_label(Role::SpinButton, "Seed");
    assert!(seed.is_none(), "the menu is closed");

    // B is A here: the same recipe, the same sampling, the same words.
    let project = &mut window.state_mut().state.project;
    project.b = project.a.clone();
    window.state_mut().state.view.prompt = "hello you".into();
    settle(&mut window);
    click(&mut window, "Ask");
    settle(&mut window);
    click(&mut window, "Replay through both");
    settle(&mut window);
    let view = &window.state().state.view;
    let hash = |index: usize| view.transcript[index].facts.as_ref().unwrap().logits_hash;
    let sampled = hash(3);
    assert_eq!(sampled, hash(4));
    assert_eq!(view.transcript[3].text, view.transcript[4].text);

    // One step for the recipe of B, one for the drag.
    for _ in 0..2 {
        window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
        window.run_steps(2);
    }
    assert_eq!(window.state().state.project.sampling, greedy);
    click(&mut window, "Replay through both");
    settle(&mut window);
    let last = window.state().state.view.transcript.iter().rev();
    let facts = last.filter_map(|u| u.facts.as_ref());
    assert!(facts.take(2).all(|f| f.logits_hash != sampled));
}

#[test]
fn an_intent_line_stands_above_the_reply() {
    let (_folder, mut window) = tiny_window();
    let a = Speaker::Model(Answerer::Candidate(Candidate::A));
    let utterance = |text: &str| Utterance::new(a, text);
    window.state_mut().state.view.transcript = vec![
        utterance("HassTurnOn@area kitchen\nThe kitchen light is on."),
        utterance("Yes"),
    ];
    window.run_steps(2);
    for label in ["HassTurnOn@area kitchen", "The kitchen light is on.", "Yes"] {
        assert!(window.query_by_label(label).is_some(), "no {label}");
    }
}
