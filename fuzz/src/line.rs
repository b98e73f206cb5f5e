//! The line between a host and a board: whatever comes over it, the next frame is understood.

use protocol::{
    Ask, Done, Event, FRAME_BYTES, FrameError, Measured, Received, Receiver, Request, SELF_TEST,
    Stop, Work, decode, encode,
};
use serde::{Deserialize, Serialize};

/// Checks that any bytes, read as a host and as a board do, are refused or mean what they mean when they are sent on, and
/// that a frame that comes after them is found.
pub fn check(bytes: &[u8]) {
    let hello = framed(&Request::Hello);
    let mut receiver = Receiver::new();
    let mut last = None;
    // Two: the first may end what was begun.
    for byte in bytes.iter().chain(&hello).chain(&hello) {
        match receiver.push(*byte) {
            Some(Received::Frame(found)) => {
                let found = found.to_vec();
                same_when_sent_on::<Request<'_>>(&found);
                same_when_sent_on::<Event<'_>>(&found);
                last = Some(decode::<Request<'_>>(&found) == Ok(Request::Hello));
            }
            Some(Received::Line(line)) => {
                assert!(line.len() <= FRAME_BYTES, "a line of {} bytes", line.len());
                assert!(!line.trim().is_empty(), "an empty line");
            }
            None => {}
        }
    }
    assert_eq!(last, Some(true), "the frame after the noise was lost");
}

/// A message that is understood is the same message once it has been sent on.
fn same_when_sent_on<'a, M: Deserialize<'a> + Serialize>(found: &'a [u8]) {
    let message: M = match decode(found) {
        Ok(message) => message,
        Err(FrameError::Noise | FrameError::Version(_) | FrameError::Message) => return,
        Err(other) => panic!("{other} in a frame that came"),
    };
    let sent = framed(&message);
    let mut receiver = Receiver::new();
    let mut came = Vec::new();
    for byte in &sent {
        if let Some(Received::Frame(found)) = receiver.push(*byte) {
            came.push(found.to_vec());
        }
    }
    assert_eq!(came.len(), 1, "one frame was sent");
    // Numbers may come spelled longer than they need be; what is sent on is spelled shortest, and stays as it is.
    assert!(came[0].len() <= found.len(), "it has grown");
}

fn framed(message: &impl Serialize) -> Vec<u8> {
    let mut frame = [0; FRAME_BYTES];
    let sent = encode(message, &mut frame);
    sent.expect("what came in a frame fits one").to_vec()
}

/// One of each message, and text between them.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let (id, line) = (7, "HassTurnOn@area kitchen");
    let requests = [
        Request::Hello,
        Request::Ask(Ask { id, ..SELF_TEST }),
        Request::Cancel,
        Request::Reboot,
        Request::SelfTest { id },
        Request::Measure(SELF_TEST),
        Request::Store {
            id,
            bytes: 1_609_792,
            crc: 0xDEAD_BEEF,
        },
        Request::Piece {
            id,
            offset: 512,
            bytes: &[0; 512],
        },
    ];
    let events = [
        Event::Prompt {
            id,
            tokens: 6,
            ticks: 1 << 40,
        },
        Event::Token {
            id,
            token: 19_556,
            bytes: b" Hell\xC3",
            ticks: 1,
        },
        Event::Intent { id, line },
        Event::Done(Done {
            id,
            stop: Stop::Context,
            hash: u64::MAX,
            decoded: 12,
            ticks: 0,
        }),
        Event::Refused { id, why: "no" },
        Event::Cost {
            id,
            layer: Some(3),
            work: Work::Attention,
            ticks: 99,
        },
        Event::Memory {
            id,
            name: "model",
            bytes: 1 << 18,
            ticks: 1,
        },
        Event::Measured(Measured {
            id,
            position: 18,
            tokens: 12,
            memory_bytes: 192_816,
            stack_bytes: 0,
            stack_used_bytes: 0,
        }),
        Event::Stored { id, bytes: 512 },
    ];
    let requests = requests.iter().map(framed);
    let mut all: Vec<Vec<u8>> = requests.chain(events.iter().map(framed)).collect();
    all.push(b"turn it ob\x08n\r\n\0whittle: ready\n".to_vec());
    let whole = all.concat();
    all.push(whole);
    let named = all.into_iter().enumerate();
    named
        .map(|(index, bytes)| (format!("message-{index:02}"), bytes))
        .collect()
}
