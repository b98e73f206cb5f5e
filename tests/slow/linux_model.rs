//! The model of a board that runs Linux: sent, left in part, erased, damaged.

use crate::linux::{COMMAND, Heard, Host, Running, START, built, hearth};
use crate::required::required;
use protocol::Request;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use whittle::board::Board;
use whittle::job::{CancelToken, Job, Progress};
use whittle::link::{Device, Greeting, TalkError, erase_model, replace_model};

const NO_MODEL: &str = "there is no model, or it was not written to its end";

#[test]
fn a_model_comes_over_the_line_and_takes_the_place_of_the_old_one() {
    let Some(program) = required(built()) else {
        return;
    };
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/packed");
    let old = fs::read(golden.join("llama-4bit.snap.whittle")).unwrap();
    // A port that is free now and will be again in a moment.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let line = ["--listen", address.as_str()];
    let mut running = Running::start(&program, &old, &line);
    let packed = hearth();
    let device = Device::open(&format!("tcp:{address}"), None, 0).unwrap();
    let board = Board::find("raspberry-pi-zero-2w").unwrap();
    let proof = std::thread::scope(|scope| {
        let sent = scope.spawn(|| replace_model(&device, (board, &packed), &Job::silent()));
        running.start_when_ended(&program, &line);
        sent.join().unwrap()
    });
    let proof = proof.unwrap();
    assert_eq!(proof.hello.model.unwrap().name, "hearth");

    // A model that is sent in part leaves the one that is there: the program starts again with it.
    let mut client = device.client().unwrap();
    let hello = client.hello(START, &Job::silent()).unwrap();
    let cancel = CancelToken::new();
    let stop = |progress: Progress<'_>| {
        if progress.stage == "Sending the model" && progress.done > 100_000 {
            cancel.cancel();
        }
    };
    let stopped = client.store(&hello, &old.repeat(20), &Job::new(&stop, cancel.clone()));
    assert!(
        matches!(stopped, Err(TalkError::LeftOff { .. })),
        "{stopped:?}"
    );
    drop(client);
    running.start_when_ended(&program, &line);
    assert_eq!(when_back(&device).model.unwrap().name, "hearth");

    // One that is erased is a file without a byte.
    let erased = std::thread::scope(|scope| {
        let erased = scope.spawn(|| erase_model(&device, &Job::silent()));
        running.start_when_ended(&program, &line);
        erased.join().unwrap()
    });
    assert_eq!(erased.unwrap().refusal.as_deref(), Some(NO_MODEL));
    assert_eq!(fs::metadata(running.model_path()).unwrap().len(), 0);
}

/// Its hello, as soon as it listens again.
fn when_back(device: &Device) -> Greeting {
    let start = Instant::now();
    loop {
        let hello = device
            .client()
            .and_then(|mut client| client.hello(START, &Job::silent()));
        match hello {
            Err(_) if start.elapsed() < START => std::thread::sleep(Duration::from_millis(50)),
            hello => return hello.expect("its hello"),
        }
    }
}

#[test]
fn a_damaged_file_is_refused_and_the_board_stays_reachable() {
    let Some(program) = required(built()) else {
        return;
    };
    let packed = hearth();
    let mut damaged = packed.bytes().to_vec();
    damaged[packed.view().entry(3).offset + 17] ^= 4;
    for (bytes, sentence) in [
        (damaged, "tensor 3 is damaged"),
        (b"GGUF".to_vec(), "expected a packed model"),
        (Vec::new(), NO_MODEL),
    ] {
        let running = Running::start(&program, &bytes, &["--listen", "127.0.0.1:0"]);
        let told = format!("whittle: refused: {sentence}");
        assert!(
            running.said.iter().any(|line| line.starts_with(&told)),
            "{:?}",
            running.said
        );
        let mut host = Host::connect(&running);
        host.send(&Request::Hello);
        match host.next() {
            Heard::NoModel(why) => assert!(why.starts_with(sentence), "{why}"),
            other => panic!("{other:?}"),
        }
        host.ask(1, COMMAND, 4);
        match host.next() {
            Heard::Refused(why) => assert!(why.starts_with(sentence), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}
