//! What is taken out of the window, and put into it.

use super::*;
use eframe::egui::OutputCommand;

/// Draws frames until one copies something.
fn copied(window: &mut Harness<'_, Studio>) -> Option<String> {
    (0..4).find_map(|_| {
        window.step();
        let commands = &window.output().platform_output.commands;
        commands.iter().find_map(|command| match command {
            OutputCommand::CopyText(text) => Some(text.clone()),
            _ => None,
        })
    })
}

#[test]
fn an_answer_its_hash_and_a_notice_are_copied_by_a_click() {
    let (_folder, mut window) = tiny_window();
    window.state_mut().state.view.prompt = "hello you".into();
    window.run_steps(2);
    click(&mut window, "Ask");
    settle(&mut window);
    let said = window.state().state.view.transcript[1].clone();
    window.get_by_label("Copy the answer").click();
    assert_eq!(copied(&mut window).as_deref(), Some(said.text.trim()));
    window.get_by_label("Copy the hash").click();
    let hash = said.facts.expect("a whole answer").hash();
    assert_eq!(hash.len(), 16);
    assert_eq!(copied(&mut window), Some(hash));

    drop(window);
    let mut window = open_spec(Path::new("no/such/model.gguf"));
    let notice = window.state().state.view.notices[0].text.clone();
    window.get_by_label("Copy the notice").click();
    assert_eq!(copied(&mut window), Some(notice));
}

#[test]
fn text_that_is_shown_can_be_selected_and_copied() {
    let (_folder, mut window) = tiny_window();
    let words = "what you ask is answered by who stands above, while you tune";
    let label = window.get_by(|node| {
        let text = node.value().or(node.label()).unwrap_or_default();
        node.role() == Role::Label && text.to_lowercase() == words
    });
    let rect = label.rect();
    window.drag_at(rect.left_center() + vec2(1.0, 0.0));
    window.step();
    window.hover_at(rect.right_center());
    window.step();
    window.drop_at(rect.right_center());
    window.step();
    window.event(Event::Copy);
    let copied = copied(&mut window).expect("a selection");
    assert_eq!(copied.to_lowercase(), words);
}

#[test]
fn what_is_pasted_lands_in_the_field() {
    let (_folder, mut window) = tiny_window();
    window
        .get_by_role_and_label(Role::TextInput, "Prompt")
        .click();
    window.run_steps(2);
    window.event(Event::Paste("from elsewhere".into()));
    window.run_steps(2);
    assert_eq!(window.state().state.view.prompt, "from elsewhere");
}
