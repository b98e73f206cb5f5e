//! Numbers that are typed.

use super::*;

/// Types into a number field as hands do, and leaves it with Enter.
fn type_number(window: &mut Harness<'_, Studio>, field: &str, text: &str) {
    window
        .get_by_role_and_label(Role::SpinButton, field)
        .click();
    window.run_steps(2);
    for letter in text.chars() {
        window.event(Event::Text(letter.to_string()));
        window.step();
    }
    window.key_press(Key::Enter);
    window.run_steps(3);
}

/// The last sentence, which is dismissed.
fn said(window: &mut Harness<'_, Studio>) -> Option<String> {
    let notices = &mut window.state_mut().state.view.notices;
    let last = notices.pop().map(|notice| notice.text);
    assert!(notices.is_empty(), "{notices:?}");
    last
}

#[test]
fn a_decimal_comma_is_a_decimal_point_or_changes_nothing_and_says_why() {
    let (_folder, mut window) = tiny_window();
    click(&mut window, "Tune…");
    let form = |window: &Harness<'_, Studio>| window.state().state.view.tune;
    let (megabytes, bits) = ("Goal in megabytes", "Goal in bits per weight");
    for (text, expected) in [("1,2", 1.2), ("3.5 MB", 3.5), ("0,75", 0.75)] {
        type_number(&mut window, megabytes, text);
        assert_eq!(
            (form(&window).megabytes, said(&mut window)),
            (expected, None)
        );
    }
    type_number(&mut window, bits, "2,25");
    assert_eq!(
        (form(&window).bits_per_weight, said(&mut window)),
        (2.25, None)
    );
    for text in ["1,200", "1.200,5", "1,2 GB", "many", "nan", "-"] {
        type_number(&mut window, megabytes, text);
        assert_eq!(form(&window).megabytes, 0.75, "{text}");
        let said = said(&mut window).expect(text);
        assert!(said.starts_with(megabytes) && said.contains(text), "{said}");
    }
    window.key_press(Key::Escape);
    window.run_steps(2);

    let context = |window: &Harness<'_, Studio>| window.state().state.project.context_tokens;
    type_number(&mut window, "Context", "1200 tokens");
    assert_eq!((context(&window), said(&mut window)), (1200, None));
    for text in ["1,5", "1.5", "1,200", "2.048"] {
        type_number(&mut window, "Context", text);
        assert_eq!(context(&window), 1200, "{text}");
        assert!(
            said(&mut window)
                .expect(text)
                .contains("expected a whole number")
        );
    }
    for (text, sentence) in [
        ("8", "Context: expected a number from 16 to 8192, found 8"),
        (
            "8193",
            "Context: expected a number from 16 to 8192, found 8193",
        ),
    ] {
        type_number(&mut window, "Context", text);
        assert_eq!(context(&window), 1200, "not the nearest that could be");
        assert_eq!(said(&mut window).as_deref(), Some(sentence));
    }
}

#[test]
fn a_click_into_a_field_and_out_of_it_does_not_round_its_number() {
    let (_folder, mut window) = tiny_window();
    window.state_mut().state.project.sampling.temperature = 0.712_345_6;
    window.run_steps(2);
    click(&mut window, "Sampling");
    type_number(&mut window, "Temperature", "");
    let temperature = window.state().state.project.sampling.temperature;
    assert_eq!(temperature, 0.712_345_6);
    type_number(&mut window, "Temperature", "0,7");
    let temperature = window.state().state.project.sampling.temperature;
    assert_eq!((temperature, said(&mut window)), (0.7, None));
}
