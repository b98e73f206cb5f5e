//! A board, looked at before it is written, and measuring itself.

use super::*;
use std::ops::ControlFlow;
use whittle::board::Board;
use whittle::link::fake_board::Start;
use whittle::link::{FakeBoard, FlashOptions, FlashPlan, Image, Reset, flash, prebuilt};

#[test]
fn a_board_is_looked_at_before_anything_is_written() {
    let (_folder, mut window) = tiny_window();
    window.state_mut().state.project.board = "esp32-c3".into();
    click(&mut window, "Flash…");
    settle(&mut window);
    window.state_mut().state.view.port = "fake".into();
    window.run_steps(2);
    click(&mut window, "Look at the board first");
    settle(&mut window);
    window.check_accessibility();
    for shown in [
        "Found there: nothing of Whittle's that answers",
        "model.whittle",
        " over the line at 921600 baud: ",
    ] {
        assert!(window.query_by_label_contains(shown).is_some(), "{shown}");
    }
    let view = &window.state().state.view;
    assert!(
        view.flashed.is_none() && view.notices.is_empty(),
        "{:?}",
        view.notices
    );
}

#[test]
fn a_board_measures_itself_and_the_boards_table_rests_on_it() {
    let (folder, mut window) = tiny_window();
    click(&mut window, "Export…");
    click(&mut window, "Browse for Export path");
    settle(&mut window);
    click(&mut window, "Export to path");
    settle(&mut window);
    let packed = std::fs::read(folder.path().join("out.whittle")).unwrap();
    let c3 = Board::find("esp32-c3").unwrap();
    let image = Image::new(c3, prebuilt(c3).unwrap(), &packed).unwrap();
    let board = FakeBoard::start(&[]).unwrap();
    let options = FlashOptions {
        reset: Reset::None,
        ..FlashOptions::default()
    };
    let mut go_on = |_: &FlashPlan| ControlFlow::Continue(());
    flash(board.port(), &image, &options, &mut go_on, &Job::silent()).unwrap();
    board.reset(Start::Program);

    window.state_mut().state.project.board = "esp32-c3".into();
    click(&mut window, "Flash…");
    settle(&mut window);
    window.state_mut().state.view.port = board.port().to_owned();
    // The usual words are none of this model's; these have a longer answer than one token.
    window.state_mut().state.view.board_prompt = "hello".into();
    window.run_steps(2);
    click(&mut window, "Let the board measure itself");
    settle(&mut window);
    let view = &window.state().state.view;
    let report = view
        .board_report
        .as_ref()
        .unwrap_or_else(|| panic!("{:?}", view.notices));
    assert_eq!((report.chip.as_str(), report.model.layers), ("esp32c3", 2));
    assert!(
        window
            .query_by_label_contains("Of a token: embedding ")
            .is_some()
    );
    // A bare port is taken for a chip: the estimates are measured ones now, and say so.
    let state = &window.state().state;
    let estimates = &state.derived.bench(state.view.active).estimates;
    let c3 = estimates.iter().find(|e| e.id == "esp32-c3").unwrap();
    assert_eq!(c3.validation.name(), "measured");
    window.state_mut().state.view.popup = whittle::app::Popup::Closed;
    window.run_steps(2);
    assert!(window.query_by_label("for A, measured").is_some());
}
