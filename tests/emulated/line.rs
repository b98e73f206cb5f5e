//! A line on which something is wrong: nobody, another program, a board that computes otherwise, loses a part of its answer,
//! starts again or never ends, a person who types meanwhile.

use super::{SOON, client, go_on, golden_file, golden_path, question, running};
use super::{flash, image};
use engine::format::crc32;
use protocol::{Event, FRAME_BYTES, Received, Receiver, Request, decode, encode};
use serialport::{SerialPort as _, TTYPort};
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use whittle::job::{CancelToken, Job};
use whittle::link::fake_board::Start;
use whittle::link::{Client, HELLO_PATIENCE, Reset, TalkError, prove};
use whittle::packed::PackedModel;

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
