//! A host and the board: written, started, asked, cancelled, and all that can be silent, damaged or in the way.

use super::{desktop, flash, golden, golden_file, hearth, image, start_of};
use engine::format::{Packed, crc32};
use engine::sampler::Sampling;
use protocol::{Event, FRAME_BYTES, Received, Receiver, Request, decode, encode};
use serialport::{SerialPort as _, TTYPort};
use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use whittle::job::{CancelToken, Job};
use whittle::link::fake_board::Start;
use whittle::link::{
    BoardQuestion, Client, Device, EMULATED, FAKE, FakeBoard, FlashOptions, FlashPlan, Greeting,
    HELLO_PATIENCE, Part, ProofError, Reset, TalkError, deploy, measure, prove,
};
use whittle::measured::Clock;
use whittle::packed::PackedModel;

/// Ample on a machine that does other work too.
const SOON: Duration = Duration::from_secs(3);

fn running(flash: Vec<u8>) -> FakeBoard {
    FakeBoard::holding(flash).unwrap()
}

fn client(board: &FakeBoard) -> Client {
    Client::open(board.port(), Reset::None).unwrap()
}

fn question(prompt: &str) -> BoardQuestion<'_> {
    BoardQuestion {
        prompt,
        max_tokens: 0,
        context: 0,
        sampling: Sampling::GREEDY,
    }
}

fn go_on(_: &str) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The whole road: compress, flash, boot what was flashed, hello, chat, the desktop's hash; then a second time.
#[test]
fn a_board_that_was_written_says_hello_and_answers_with_the_desktops_bits() {
    let folder = tempfile::tempdir().unwrap();
    let packed = hearth();
    let image = image(packed.bytes());
    let (options, job) = (FlashOptions::default(), Job::silent());
    let mut found = Vec::new();
    let mut show = |before: Option<&Greeting>, plan: &FlashPlan| {
        found.push((
            before.map(|greeting| greeting.board.clone()),
            plan.write_bytes,
        ));
        ControlFlow::Continue(())
    };
    let device = Device::open(EMULATED, Some(folder.path()), 0).unwrap();
    let deployed = deploy(&device, (&image, &packed), &options, &mut show, &job)
        .unwrap()
        .unwrap();
    let proof = deployed
        .proof
        .unwrap_or_else(|| panic!("{:?}", deployed.unproven));
    assert_eq!(proof.hello.board, "esp32c3");
    assert_eq!(proof.hello.chip_revision.as_deref(), Some("0.3"));
    let model = proof.hello.model.as_ref().unwrap();
    assert_eq!(
        (model.name.as_str(), model.bytes as usize),
        ("hearth", packed.bytes().len())
    );
    drop(device);

    // Another program, another day: the flash is still there, and nothing is written twice.
    let device = Device::open(EMULATED, Some(folder.path()), 0).unwrap();
    let mut client = Client::open(device.port(), device.reset()).unwrap();
    let hello = client.hello(HELLO_PATIENCE, &job).unwrap();
    for prompt in ["Turn ON the kitchen light!", "what time is it"] {
        let mut shown = String::new();
        let mut show = |text: &str| {
            shown += text;
            ControlFlow::Continue(())
        };
        let answer = client
            .ask(&hello, &question(prompt), &job, &mut show)
            .unwrap();
        let expected = desktop(&packed, prompt);
        assert_eq!(answer.logits_hash, expected.logits_hash, "{prompt}");
        assert_eq!(
            (&answer.tokens, &answer.text),
            (&expected.tokens, &expected.text)
        );
        assert_eq!((shown, answer.stop), (expected.text, "stop_token"));
    }
    let again = deploy(&device, (&image, &packed), &options, &mut show, &job)
        .unwrap()
        .unwrap();
    assert_eq!((again.flashed.written_bytes, again.unproven), (0, None));
    assert_eq!(again.before.unwrap().model.unwrap().name, "hearth");
    // It measures itself, and says that it is no chip.
    let mut client = device.client().unwrap();
    let report = measure(&mut client, &packed, "turn on the light", &job).unwrap();
    assert_eq!(report.clock, Clock::Emulated);
    assert!(
        report
            .title()
            .starts_with("counted on an emulated esp32c3 revision 0.3 at 160 MHz")
    );
    // What runs there is asked before it is rewritten: nothing at first.
    assert_eq!(found, [(None, image.bytes()), (Some("esp32c3".into()), 0)]);
    // The one without a memory is new.
    let fake = Device::open(FAKE, Some(folder.path()), 4 << 20).unwrap();
    let mut client = Client::open(fake.port(), fake.reset()).unwrap();
    assert!(client.hello(SOON, &job).is_err());
}

#[test]
fn an_intent_is_an_event_of_its_own_and_a_seed_draws_the_desktops_tokens() {
    let packed = hearth();
    let board = running(flash(&image(packed.bytes())));
    let mut client = client(&board);
    let job = Job::silent();
    let hello = client.hello(HELLO_PATIENCE, &job).unwrap();
    let sampling = Sampling {
        temperature: 1.5,
        top_k: 40,
        repetition_penalty: 1.3,
        seed: 11,
        ..Sampling::GREEDY
    };
    for sampling in [Sampling::GREEDY, sampling] {
        let prompt = "turn off the bedroom lamp";
        let asked = BoardQuestion {
            sampling,
            max_tokens: 12,
            ..question(prompt)
        };
        let answer = client.ask(&hello, &asked, &job, &mut go_on).unwrap();
        let expected = super::desktop_drawing(&packed, prompt, sampling, 12);
        assert_eq!(answer.tokens, expected.tokens);
        assert_eq!(answer.logits_hash, expected.logits_hash);
        let line = whittle::packed::intent::AnswerParts::of(&expected.text).line;
        assert_eq!(answer.intent.as_deref(), line, "{}", expected.text);
    }
}

#[test]
fn every_golden_model_gives_its_golden_answer_over_the_protocol() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let table = golden::read(&folder.join("packed/answers.snap"));
    let job = Job::silent();
    for (name, file) in golden::files(&folder.join("packed")) {
        let board = running(flash(&image(&file)));
        let mut client = client(&board);
        let hello = client.hello(HELLO_PATIENCE, &job).unwrap();
        let asked = BoardQuestion {
            max_tokens: golden::MAX_TOKENS as u32,
            context: golden::CONTEXT as u32,
            ..question(golden::PROMPT)
        };
        let answer = client.ask(&hello, &asked, &job, &mut go_on).unwrap();
        let kv_bits = usize::from(hello.model.unwrap().kv_bits);
        let expected = table
            .iter()
            .find(|row| row.name == name && row.cache.bits() == kv_bits)
            .unwrap();
        assert_eq!(
            (answer.tokens, answer.logits_hash),
            (expected.tokens.clone(), expected.hash),
            "{name}"
        );
    }
}

#[test]
fn an_answer_is_cancelled_within_a_token_and_the_next_one_comes() {
    let packed = hearth();
    let board = running(flash(&image(packed.bytes())));
    let mut client = client(&board);
    let silent = Job::silent();
    let hello = client.hello(HELLO_PATIENCE, &silent).unwrap();
    // By the person who reads along: after the second token.
    let mut tokens = 0;
    let mut two = |_: &str| {
        tokens += 1;
        if tokens < 2 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    let cut = client
        .ask(
            &hello,
            &question("turn on the kitchen light"),
            &silent,
            &mut two,
        )
        .unwrap();
    assert_eq!(cut.stop, "cancelled");
    assert!((2..=4).contains(&cut.tokens.len()), "{cut:?}");
    // By Ctrl-C, while the prompt is computed.
    let token = CancelToken::default();
    token.cancel();
    let draw = |_: whittle::job::Progress<'_>| {};
    let cancelled = Job::new(&draw, token);
    let asked = client.ask(
        &hello,
        &question("turn on the kitchen light"),
        &cancelled,
        &mut go_on,
    );
    assert!(matches!(asked, Err(TalkError::Cancelled(_))), "{asked:?}");
    let answer = client
        .ask(
            &hello,
            &question("turn on the kitchen light"),
            &silent,
            &mut go_on,
        )
        .unwrap();
    assert_eq!(
        answer.logits_hash,
        desktop(&packed, "turn on the kitchen light").logits_hash
    );
}

/// What a spoken conversation asks: the answer comes piece by piece, and ends where somebody speaks over it or has enough.
#[cfg(feature = "voice")]
#[test]
fn a_board_answers_a_spoken_conversation_and_is_interrupted() {
    use whittle::board::Board;
    use whittle::link::BoardAssistant;
    use whittle::voice::Assistant as _;
    let (packed, job, heard) = (hearth(), Job::silent(), "Turn on the kitchen light.");
    let board = running(flash(&image(packed.bytes())));
    let mut assistant = BoardAssistant::new(client(&board), Sampling::GREEDY, &job);
    let mut said = String::new();
    let mut listen = |text: &str| {
        said += text;
        ControlFlow::Continue(())
    };
    assistant.reply(heard, &mut listen).unwrap();
    let turn = assistant.last.lock().unwrap().take().unwrap();
    assert_eq!(said, turn.answer.text);
    assert!(said.starts_with("HassTurnOn@area kitchen"), "{said}");
    let question = BoardQuestion::spoken(heard, Sampling::GREEDY);
    let known = (&packed, Board::presets());
    let turn = turn.beside(known, &question, &job).unwrap();
    assert_eq!((turn.same_here, turn.differs), (Some(true), None));
    assert_eq!(turn.estimated.unwrap().board, "esp32-c3");

    // Somebody speaks over it after the second token.
    let mut tokens = 0;
    let mut two = |_: &str| {
        tokens += 1;
        if tokens < 2 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    assistant.reply(heard, &mut two).unwrap();
    let cut = assistant.last.lock().unwrap().take().unwrap().answer;
    assert_eq!(cut.stop, "cancelled");
    assert!((2..=4).contains(&cut.tokens.len()), "{cut:?}");
    drop(assistant);

    // Ctrl-C at the first token: nothing is kept of the answer, and the board is free for the next.
    let (token, draw) = (CancelToken::default(), |_: whittle::job::Progress<'_>| {});
    let cancelled = Job::new(&draw, token.clone());
    let mut assistant = BoardAssistant::new(client(&board), Sampling::GREEDY, &cancelled);
    let mut tokens = 0;
    let mut first = |_: &str| {
        tokens += 1;
        token.cancel();
        ControlFlow::Continue(())
    };
    assistant.reply(heard, &mut first).unwrap();
    assert!(assistant.last.lock().unwrap().is_none());
    drop(assistant);
    assert!((1..=3).contains(&tokens), "{tokens}");
    let mut assistant = BoardAssistant::new(client(&board), Sampling::GREEDY, &job);
    assistant.reply(heard, &mut go_on).unwrap();
    let again = assistant.last.lock().unwrap().take().unwrap().answer;
    assert_eq!(again.logits_hash, turn.answer.logits_hash);
}

#[test]
fn a_board_without_a_whole_model_stays_reachable_and_says_why() {
    let packed = PackedModel::open(&golden_path(), &Job::silent()).unwrap();
    let image = image(packed.bytes());
    let model = start_of(&image, Part::Model);
    let last = Packed::parse(packed.bytes())
        .unwrap()
        .entries()
        .last()
        .unwrap()
        .offset;
    let damaged = |damage: &dyn Fn(&mut [u8])| {
        let mut flash = flash(&image);
        damage(&mut flash);
        flash
    };
    let check = |flash: Vec<u8>, why: &str| {
        let board = running(flash);
        let mut client = client(&board);
        let hello = client.hello(HELLO_PATIENCE, &Job::silent()).unwrap();
        let refusal = hello.refusal.clone().unwrap();
        assert!(refusal.contains(why) && hello.model.is_none(), "{refusal}");
        for _ in 0..2 {
            let asked = client.ask(&hello, &question("x"), &Job::silent(), &mut go_on);
            let told = asked.unwrap_err().to_string();
            assert_eq!(told, format!("the board refused: {refusal}"));
        }
        let proof = prove(&mut client, &packed, &Job::silent()).unwrap_err();
        assert!(matches!(proof, ProofError::NoModel(_)), "{proof}");
        let panics = client.lines().iter().any(|line| line.contains("panic"));
        assert!(!panics, "{:?}", client.lines());
    };
    check(damaged(&|flash| flash[model + last] ^= 1), "is damaged");
    check(damaged(&|flash| flash[model + 8000..].fill(0xFF)), "");
    check(damaged(&|flash| flash[model..].fill(0xFF)), "");
}

fn golden_path() -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/packed");
    folder.join("llama-4bit.snap.whittle")
}

#[test]
fn a_board_with_another_model_is_no_success() {
    let job = Job::silent();
    let board = running(flash(&image(&golden_file())));
    let other = PackedModel::open(&golden_path(), &job).unwrap();
    let proof = prove(&mut client(&board), &other, &job).unwrap_err();
    assert!(matches!(proof, ProofError::OtherModel { .. }), "{proof}");
}

/// A board that has the right model and computes one bit otherwise: the chip cannot be made to, so a thread plays it.
#[test]
fn a_board_that_computes_something_else_is_no_success() {
    let job = Job::silent();
    let packed = PackedModel::open(&golden_path(), &job).unwrap();
    let (mut board_side, host_side) = TTYPort::pair().unwrap();
    let model = protocol::Model {
        name: "golden",
        bytes: packed.bytes().len() as u32,
        crc: crc32(packed.bytes()),
        kv_bits: 16,
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
        board_side.set_timeout(Duration::from_secs(5)).unwrap();
        while board_side.read(&mut byte).is_ok() {
            let Some(Received::Frame(frame)) = receiver.push(byte[0]) else {
                continue;
            };
            match decode(frame).unwrap() {
                Request::Hello => tell(&mut board_side, &hello),
                Request::SelfTest { id } => {
                    let done = protocol::Done {
                        id,
                        stop: protocol::Stop::Length,
                        hash: 0x0BAD,
                        decoded: 1,
                        ticks: 1,
                    };
                    // Of the answer before this one: not meant.
                    tell(&mut board_side, &token(done.id.wrapping_sub(1), b"x"));
                    tell(&mut board_side, &token(done.id, b"x"));
                    tell(&mut board_side, &token(done.id, b"y"));
                    tell(&mut board_side, &Event::Done(done));
                    return board_side;
                }
                Request::Ask(_)
                | Request::Measure(_)
                | Request::Store { .. }
                | Request::Piece { .. }
                | Request::Cancel
                | Request::Reboot => {}
            }
        }
        board_side
    });
    let mut client = Client::open(&host_side.name().unwrap(), Reset::None).unwrap();
    let proof = prove(&mut client, &packed, &job).unwrap_err().to_string();
    let expected =
        "the board computes something else: its logits have hash 0000000000000bad, here ";
    assert!(proof.starts_with(expected), "{proof}");
    drop(board.join().unwrap());
}

#[test]
fn what_is_no_board_is_told_from_one_that_is_silent() {
    let job = Job::silent();
    let said = |error: TalkError| error.to_string();
    // Nobody.
    let (_board_side, host_side) = TTYPort::pair().unwrap();
    let mut silent = Client::open(&host_side.name().unwrap(), Reset::None).unwrap();
    let start = Instant::now();
    let told = said(silent.hello(Duration::from_millis(300), &job).unwrap_err());
    assert!(
        told.contains("said nothing within") && start.elapsed() < SOON,
        "{told}"
    );
    // An erased flash, and a loader that waits.
    let board = running(vec![0xFF; 4 << 20]);
    let told = said(client(&board).hello(SOON, &job).unwrap_err());
    assert!(
        told.contains("its last line: invalid header: 0xffffffff"),
        "{told}"
    );
    board.reset(Start::Loader);
    assert!(client(&board).hello(SOON, &job).is_err());
    // Another program.
    let (mut board_side, host_side) = TTYPort::pair().unwrap();
    let port = host_side.name().unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let babble = std::thread::spawn(move || {
        let mut line = b"temperature 21 \x1b[0m\r\n".as_slice();
        while !over.load(Ordering::Relaxed) && board_side.write_all(line).is_ok() {
            line = b"temperature 22 \xff\r\n";
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let mut other = Client::open(&port, Reset::None).unwrap();
    let told = said(other.hello(Duration::from_millis(300), &job).unwrap_err());
    assert!(
        told.contains("not as Whittle's firmware does; its last line: temperature"),
        "{told}"
    );
    is_over.store(true, Ordering::Relaxed);
    babble.join().unwrap();
    // A file that is no port, a port that is not there, and one that goes away.
    let told = said(Client::open("/dev/null", Reset::Board).unwrap_err());
    assert!(
        told.contains("this is no serial port: whittle ports"),
        "{told}"
    );
    let told = said(Client::open("/dev/ttyNowhere9", Reset::Board).unwrap_err());
    assert!(
        told.contains("there is no such port: whittle ports"),
        "{told}"
    );
    let (board_side, host_side) = TTYPort::pair().unwrap();
    let mut gone = Client::open(&host_side.name().unwrap(), Reset::None).unwrap();
    drop((board_side, host_side));
    let told = said(gone.hello(SOON, &job).unwrap_err());
    assert!(told.contains("went away"), "{told}");
}

#[test]
fn a_wait_for_a_board_ends_with_ctrl_c() {
    let (_board_side, host_side) = TTYPort::pair().unwrap();
    let mut silent = Client::open(&host_side.name().unwrap(), Reset::None).unwrap();
    let token = CancelToken::default();
    let rounds = AtomicUsize::new(0);
    let later = token.clone();
    let draw = |_: whittle::job::Progress<'_>| {
        if rounds.fetch_add(1, Ordering::Relaxed) == 2 {
            later.cancel();
        }
    };
    let start = Instant::now();
    let hello = silent.hello(Duration::from_secs(60), &Job::new(&draw, token));
    assert!(matches!(hello, Err(TalkError::Cancelled(_))), "{hello:?}");
    assert!(start.elapsed() < SOON);
}

/// A person at any terminal: lines in, lines out, and a host that comes in between finds the board.
#[test]
fn a_person_and_a_host_share_the_line() {
    let board = running(flash(&image(&golden_file())));
    let mut terminal =
        TTYPort::open(&serialport::new(board.port(), 115_200).timeout(Duration::from_millis(50)))
            .unwrap();
    terminal.set_exclusive(false).unwrap();
    terminal.write_all(b"\x00hello\x08o board\r\n").unwrap();
    let (mut said, start) = (Vec::new(), Instant::now());
    let mut byte = [0; 256];
    while !String::from_utf8_lossy(&said).contains("whittle: done: ") {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{}",
            String::from_utf8_lossy(&said)
        );
        if let Ok(count) = terminal.read(&mut byte) {
            said.extend(&byte[..count]);
        }
    }
    assert!(String::from_utf8_lossy(&said).contains("whittle: logits "));
    drop(terminal);
    let mut client = client(&board);
    assert!(client.hello(HELLO_PATIENCE, &Job::silent()).is_ok());
}

/// A board that a thread plays: it says hello, and answers a question with what `answer` sends.
fn played(
    answer: impl Fn(u32, &mut TTYPort) + Send + 'static,
) -> (TTYPort, std::thread::JoinHandle<TTYPort>) {
    let (mut board_side, host_side) = TTYPort::pair().unwrap();
    let board = std::thread::spawn(move || {
        let (mut receiver, mut byte) = (Receiver::new(), [0]);
        board_side.set_timeout(Duration::from_secs(5)).unwrap();
        while board_side.read(&mut byte).is_ok() {
            let Some(Received::Frame(frame)) = receiver.push(byte[0]) else {
                continue;
            };
            let request: Request<'_> = decode(frame).unwrap();
            match request {
                Request::Hello => tell(&mut board_side, &Event::Hello(played_hello())),
                Request::Ask(ask) => {
                    answer(ask.id, &mut board_side);
                    return board_side;
                }
                Request::SelfTest { .. }
                | Request::Measure(_)
                | Request::Store { .. }
                | Request::Piece { .. }
                | Request::Cancel
                | Request::Reboot => {}
            }
        }
        board_side
    });
    (host_side, board)
}

fn played_hello() -> protocol::Hello<'static> {
    protocol::Hello {
        firmware: "esp32c3\x1b[2J",
        chip_revision: 3,
        ticks_per_second: 1_000_000,
        stamp: engine::stamp::Stamp::of_this_engine(0).into(),
        memory_bytes: 1 << 18,
        prompt_bytes: 512,
        model: Err("no model"),
        clock_hz: 160_000_000,
        store_bytes: 0,
        chip: "esp32c3",
    }
}

fn tell(port: &mut TTYPort, event: &Event<'_>) {
    let mut frame = [0; FRAME_BYTES];
    // Nobody reads any more where the test has seen enough.
    let _read = port.write_all(encode(event, &mut frame).unwrap());
}

/// What comes of a question to such a board.
fn asked(
    answer: impl Fn(u32, &mut TTYPort) + Send + 'static,
) -> Result<whittle::link::BoardAnswer, TalkError> {
    let (host_side, board) = played(answer);
    let mut client = Client::open(&host_side.name().unwrap(), Reset::None).unwrap();
    let job = Job::silent();
    let hello = client.hello(SOON, &job).unwrap();
    assert_eq!(hello.board, "esp32c3\u{fffd}[2J");
    let said = client.ask(&hello, &question("turn on the light"), &job, &mut go_on);
    drop(client);
    drop(host_side);
    drop(board.join());
    said
}

fn token(id: u32, bytes: &[u8]) -> Event<'_> {
    Event::Token {
        id,
        token: 7,
        bytes,
        ticks: 1,
    }
}

fn done(id: u32, decoded: u32) -> Event<'static> {
    Event::Done(protocol::Done {
        id,
        stop: protocol::Stop::StopToken,
        hash: 1,
        decoded,
        ticks: 1,
    })
}

#[test]
fn an_answer_with_a_hole_in_it_is_none() {
    let whole = asked(|id, port| {
        tell(port, &token(id, b"The \x1b]0;x\x07"));
        tell(port, &token(id, b"lights"));
        tell(port, &done(id, 2));
    });
    assert_eq!(whole.unwrap().text, "The \u{fffd}]0;x\u{fffd}lights");
    let lost = asked(|id, port| {
        tell(port, &token(id, b"The "));
        tell(port, &done(id, 2));
    });
    let said = lost.unwrap_err().to_string();
    assert!(said.contains("1 of 2 tokens came"), "{said}");
}

#[test]
fn a_board_that_starts_again_or_never_ends_is_not_waited_for() {
    let start = Instant::now();
    let restarted = asked(|id, port| {
        tell(port, &token(id, b"The "));
        // The hello of an earlier question, late: no restart. Then the lines of a start.
        tell(port, &Event::Hello(played_hello()));
        tell(port, &token(id, b"lights"));
        port.write_all(b"ESP-ROM:esp32c3\r\nwhittle: firmware: packed format 2\r\n")
            .unwrap();
    });
    let said = restarted.unwrap_err().to_string();
    assert!(said.contains("started again in the middle"), "{said}");
    let endless = asked(|id, port| {
        for _ in 0..300 {
            tell(port, &token(id, b"x"));
        }
    });
    let said = endless.unwrap_err().to_string();
    assert!(said.contains("more than the 256 tokens"), "{said}");
    assert!(start.elapsed() < 2 * SOON, "{:?}", start.elapsed());
}

#[test]
fn a_prompt_that_the_board_has_no_room_for_is_not_sent() {
    let (host_side, board) = played(|_, _| ());
    let mut client = Client::open(&host_side.name().unwrap(), Reset::None).unwrap();
    let job = Job::silent();
    let hello = client.hello(SOON, &job).unwrap();
    let long = "x".repeat(2000);
    let refused = client.ask(&hello, &question(&long), &job, &mut go_on);
    let said = refused.unwrap_err().to_string();
    assert_eq!(said, "the prompt has 2000 bytes, the board takes 512");
    drop(client);
    drop(host_side);
    drop(board.join());
}
