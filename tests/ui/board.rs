//! A board, looked at before it is written, answering in the assistant, and measuring itself.

use super::*;
use protocol::{Event, FRAME_BYTES, Received, Receiver, Request, decode, encode};
use serialport::{SerialPort as _, TTYPort};
use std::io::{Read as _, Write as _};
use std::thread::JoinHandle;
use whittle::board::Board;
use whittle::link::{FakeBoard, Image, Port, prebuilt};

/// An ESP32-C3 that runs this packed file.
fn running(packed: &[u8]) -> FakeBoard {
    let c3 = Board::find("esp32-c3").expect("a preset");
    let image = Image::new(c3, prebuilt(c3).expect("its firmware"), packed).expect("an image");
    let mut flash = vec![0xFF; usize::try_from(image.flash_bytes).expect("4 MB")];
    for segment in &image.segments {
        let at = segment.address as usize;
        flash[at..at + segment.bytes.len()].copy_from_slice(&segment.bytes);
    }
    FakeBoard::holding(flash).expect("a board")
}

/// A window on a model with room for a whole answer.
fn roomy_window() -> (TempDir, Harness<'static, Studio>) {
    let model = TinyModel {
        context: 512,
        ..TinyModel::default()
    };
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tiny.gguf"), model.gguf()).expect("a file");
    let window = window_on(folder.path());
    (folder, window)
}

/// The packed file of candidate A.
fn packed(folder: &TempDir, window: &mut Harness<'_, Studio>) -> Vec<u8> {
    click(window, "Export…");
    click(window, "Browse for Export path");
    settle(window);
    click(window, "Export to path");
    settle(window);
    std::fs::read(folder.path().join("out.whittle")).expect("a packed file")
}

/// Chooses the board on this port in the menu of who answers.
fn let_board_answer(window: &mut Harness<'_, Studio>, port: &str) {
    click(window, "Who answers");
    settle(window);
    // A pseudo-terminal is on no list of ports.
    window.state_mut().state.view.ports = vec![Port {
        name: port.to_owned(),
        product: None,
        usb_id: None,
        serial_number: None,
    }];
    window.run_steps(2);
    click(window, &format!("Board on {port}"));
}

fn say(window: &mut Harness<'_, Studio>, text: &str) {
    window.state_mut().state.view.prompt = text.into();
    window.run_steps(2);
    click(window, "Ask");
}

fn shown(window: &Harness<'_, Studio>, text: &str) -> bool {
    window.query_all_by_label_contains(text).next().is_some()
}

#[test]
fn the_board_answers_in_the_assistant_with_the_bits_of_the_candidate_that_it_runs() {
    let (folder, mut window) = roomy_window();
    let board = running(&packed(&folder, &mut window));
    let_board_answer(&mut window, board.port());
    say(&mut window, "hello");
    settle(&mut window);
    window.check_accessibility();
    let transcript = &window.state().state.view.transcript;
    let (person, of_board) = (Speaker::Person, Speaker::Model(Answerer::Board));
    let speakers = |of: &[Utterance]| of.iter().map(|u| u.speaker).collect::<Vec<_>>();
    assert_eq!(speakers(transcript), [person, of_board]);
    let facts = transcript[1].board.as_ref().unwrap_or_else(|| {
        let notices = &window.state().state.view.notices;
        panic!("{notices:?}")
    });
    assert_eq!(facts.runs, Some(Candidate::A));
    assert_eq!(
        (facts.turn.same_here, &facts.turn.differs),
        (Some(true), &None)
    );
    assert_eq!(transcript[1].text, facts.turn.answer.text);
    let hash = facts.turn.answer.logits_hash.0;
    for text in [
        format!("logits {hash:016x} as A computes here"),
        " (estimated ".to_owned(),
        "by its clock · estimate of esp32-c3: ".to_owned(),
    ] {
        assert!(shown(&window, &text), "{text}");
    }

    // B has the recipe of A now, and A another. The same question to all: B computes what the board does.
    let project = &mut window.state_mut().state.project;
    std::mem::swap(&mut project.a, &mut project.b);
    settle(&mut window);
    click(&mut window, "Replay through all");
    settle(&mut window);
    let transcript = &window.state().state.view.transcript;
    let [a, b] = Candidate::ALL.map(|candidate| Speaker::Model(Answerer::Candidate(candidate)));
    assert_eq!(speakers(&transcript[2..]), [person, a, b, of_board]);
    let of_candidate = |index: usize| transcript[index].facts.as_ref().unwrap().logits_hash;
    assert_ne!(of_candidate(3), hash);
    assert_eq!(of_candidate(4), hash);
    assert!(shown(
        &window,
        &format!("logits {hash:016x} as B computes here")
    ));

    // A candidate answers again once it is chosen.
    click(&mut window, "Candidate A");
    assert!(window.query_by_label("Replay through both").is_some());
    assert!(window.state().state.view.notices.len() == 1, "the export's");
}

#[test]
fn a_board_with_another_model_answers_and_that_is_said() {
    let (_folder, mut window) = tiny_window();
    let golden = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/packed/llama-4bit.snap.whittle"
    );
    let board = running(&std::fs::read(golden).unwrap());
    let_board_answer(&mut window, board.port());
    say(&mut window, "hello");
    settle(&mut window);
    let answer = window.state().state.view.transcript[1].clone();
    let facts = answer.board.expect("an answer");
    assert_eq!((facts.runs, facts.turn.same_here), (None, None));
    assert!(!facts.turn.answer.tokens.is_empty());
    assert!(shown(&window, " · its model is not A nor B: "));
}

#[test]
fn without_a_board_one_sentence_is_said_and_the_window_goes_on() {
    let (_folder, mut window) = tiny_window();
    let_board_answer(&mut window, "/dev/ttyNowhere9");
    say(&mut window, "hello");
    settle(&mut window);
    let view = &window.state().state.view;
    let [notice] = view.notices.as_slice() else {
        panic!("{:?}", view.notices);
    };
    assert!(
        notice.text.contains("there is no such port"),
        "{}",
        notice.text
    );
    // The question stands, and no empty answer below it.
    assert_eq!(view.transcript.len(), 1);
    click(&mut window, "Replay through all");
    settle(&mut window);
    assert_eq!(window.state().state.view.transcript.len(), 4);

    // A board that says nothing is waited for, until somebody stops it.
    let (_board_side, host_side) = TTYPort::pair().unwrap();
    let_board_answer(&mut window, &host_side.name().unwrap());
    say(&mut window, "hello");
    wait(&mut window, |window| shown(window, "Waiting for the board"));
    click(&mut window, "Stop");
    settle(&mut window);
    assert_eq!(window.state().state.view.transcript.len(), 5);
}

/// Draws frames until this is so.
fn wait(window: &mut Harness<'_, Studio>, is_so: impl Fn(&Harness<'_, Studio>) -> bool) {
    let start = Instant::now();
    while !is_so(window) {
        window.step();
        assert!(start.elapsed() < LIMIT, "{:?}", window.state().state.jobs);
        std::thread::yield_now();
    }
}

/// A board that a thread plays: it answers word after word until it is told to stop, and then says how many they were.
fn endless() -> (TTYPort, JoinHandle<(TTYPort, u32)>) {
    let (mut board_side, host_side) = TTYPort::pair().expect("a pseudo-terminal");
    board_side
        .set_timeout(Duration::from_millis(20))
        .expect("a timeout");
    let model = protocol::Model {
        name: "played",
        bytes: 1000,
        crc: 1,
        kv_bits: 8,
        context: 64,
    };
    let hello = Event::Hello(protocol::Hello {
        firmware: "esp32c3",
        chip_revision: 3,
        ticks_per_second: 1_000_000,
        stamp: engine::stamp::Stamp::of_this_engine(0).into(),
        memory_bytes: 1 << 18,
        prompt_bytes: 512,
        model: Ok(model),
        clock_hz: 160_000_000,
        store_bytes: 0,
        chip: "esp32c3",
    });
    let board = std::thread::spawn(move || {
        let (mut receiver, mut byte) = (Receiver::new(), [0]);
        let (start, mut asked, mut said) = (Instant::now(), None, 0);
        loop {
            assert!(start.elapsed() < LIMIT, "nobody stops it");
            if board_side.read(&mut byte).is_err() {
                // Nothing came for a moment.
                if let Some(id) = asked {
                    said += 1;
                    let token = Event::Token {
                        id,
                        token: 7,
                        bytes: b"word ",
                        ticks: 1,
                    };
                    tell(&mut board_side, &token);
                }
                continue;
            }
            let Some(Received::Frame(frame)) = receiver.push(byte[0]) else {
                continue;
            };
            match decode(frame).expect("a request") {
                Request::Hello => tell(&mut board_side, &hello),
                Request::Ask(ask) => asked = Some(ask.id),
                Request::Cancel => {
                    let done = protocol::Done {
                        id: asked.expect("a question"),
                        stop: protocol::Stop::Cancelled,
                        hash: 1,
                        decoded: said - 1,
                        ticks: 1,
                    };
                    tell(&mut board_side, &Event::Done(done));
                    return (board_side, said);
                }
                Request::SelfTest { .. }
                | Request::Measure(_)
                | Request::Store { .. }
                | Request::Piece { .. }
                | Request::Reboot => {}
            }
        }
    });
    (host_side, board)
}

fn tell(port: &mut TTYPort, event: &Event<'_>) {
    let mut frame = [0; FRAME_BYTES];
    let frame = encode(event, &mut frame).expect("room for it");
    port.write_all(frame).expect("a host");
}

#[test]
fn stop_ends_the_boards_answer_and_nothing_else_takes_its_port_before() {
    let (_folder, mut window) = tiny_window();
    let (host_side, board) = endless();
    let_board_answer(&mut window, &host_side.name().unwrap());
    say(&mut window, "hello");
    wait(&mut window, |window| shown(window, "word word word"));
    let jobs = &window.state().state.jobs;
    for kind in [JobKind::Flash, JobKind::MeasureBoard, JobKind::BoardAnswer] {
        assert!(!jobs.may_start(kind), "{kind:?}");
    }
    // What is asked meanwhile waits, and is forgotten with the rest.
    click(&mut window, "Replay through all");
    assert!(shown(&window, "A answers next…"));
    click(&mut window, "Stop");
    settle(&mut window);
    let (_board_side, said) = board.join().unwrap();
    let view = &window.state().state.view;
    assert!(view.notices.is_empty(), "{:?}", view.notices);
    let answer = &view.transcript[1];
    assert_eq!(answer.speaker, Speaker::Model(Answerer::Board));
    let words = answer.text.split_whitespace().count();
    assert!((3..=said as usize).contains(&words), "{words} of {said}");
    assert_eq!(answer.board, None);
}

#[test]
fn the_board_whose_chip_answers_is_selected_unless_one_was_chosen() {
    let (_folder, mut window) = tiny_window();
    let look = |window: &mut Harness<'_, Studio>| {
        click(window, "Flash…");
        settle(window);
        window.state_mut().state.view.port = "fake".into();
        window.run_steps(2);
        click(window, "Look at the board first");
        settle(window);
        window.state_mut().state.view.popup = whittle::app::Popup::Closed;
        window.run_steps(2);
    };
    window.state_mut().state.project.board = "esp32-c6".into();
    look(&mut window);
    let state = &window.state().state;
    assert_eq!(state.project.board, "esp32-c3");
    let said = &state.view.notices.last().unwrap().text;
    let expected = "The chip that answers is an esp32c3: ESP32-C3-DevKitM-1 (4 MB) is selected";
    assert_eq!(said, expected);

    // By hand it is another.
    click(&mut window, "Flash…");
    settle(&mut window);
    click(&mut window, "Board to flash");
    click(&mut window, "ESP32-C6-DevKitC-1 (8 MB)");
    window.state_mut().state.view.popup = whittle::app::Popup::Closed;
    look(&mut window);
    let state = &window.state().state;
    assert_eq!(state.project.board, "esp32-c6");
    let said = &state.view.notices.last().unwrap().text;
    assert!(said.contains("is for esp32c6, the board on "), "{said}");
}

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
    let board = running(&packed(&folder, &mut window));
    // The usual words are none of this model's; these have a longer answer than one token.
    say(&mut window, "hello");
    settle(&mut window);
    click(&mut window, "Flash…");
    settle(&mut window);
    window.state_mut().state.view.port = board.port().to_owned();
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

#[test]
fn the_model_of_a_board_is_erased_and_another_is_sent() {
    let (folder, mut window) = roomy_window();
    let board = running(&packed(&folder, &mut window));
    window.state_mut().state.project.board = "esp32-c3".into();
    click(&mut window, "Flash…");
    settle(&mut window);
    window.state_mut().state.view.port = board.port().to_owned();
    window.run_steps(2);
    click(&mut window, "Erase its model…");
    click(&mut window, "Erase");
    settle(&mut window);
    assert!(shown(
        &window,
        "Erased: esp32c3 revision 0.3 with no model: there is no model"
    ));
    click(&mut window, "Send the model alone");
    settle(&mut window);
    assert!(shown(
        &window,
        "to the esp32c3; it answers as here, logits "
    ));
    // What it runs is candidate A again.
    click(&mut window, "Let the board answer");
    say(&mut window, "hello");
    settle(&mut window);
    assert!(shown(&window, "as A computes here"));
    // Another kind of board is not touched.
    window.state_mut().state.project.board = "esp32-c6".into();
    click(&mut window, "Flash…");
    settle(&mut window);
    click(&mut window, "Send the model alone");
    settle(&mut window);
    assert!(shown(
        &window,
        "the board is esp32c3, expected esp32c6: nothing was changed"
    ));
}

#[test]
fn a_board_on_a_socket_is_typed_once_and_then_stands_among_those_that_answer() {
    let (_folder, mut window) = tiny_window();
    click(&mut window, "Flash…");
    settle(&mut window);
    let field = window.get_by_role_and_label(Role::TextInput, "Port");
    field.focus();
    window.run_steps(2);
    window.key_press_modifiers(Modifiers::COMMAND, Key::A);
    window
        .get_by_role_and_label(Role::TextInput, "Port")
        .type_text("tcp:127.0.0.1:9");
    window.run_steps(2);
    click(&mut window, "Let the board answer");
    click(&mut window, "Who answers");
    settle(&mut window);
    assert!(window.query_by_label("Board on tcp:127.0.0.1:9").is_some());
    say(&mut window, "hello");
    settle(&mut window);
    assert!(shown(&window, "cannot open tcp:127.0.0.1:9: "));
}
