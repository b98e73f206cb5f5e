//! A model that is sent over the line, and one that is erased: the firmware of the board stays.

use super::{Console, flash, golden_file, golden_path, image, start_of};
use engine::format::crc32;
use protocol::{Event, FRAME_BYTES, PIECE_BYTES, Received, Receiver, Request, decode, encode};
use std::ops::ControlFlow;
use std::path::Path;
use whittle::board::Board;
use whittle::job::{CancelToken, Job, Progress};
use whittle::link::emulated::{Activity, Line, Machine};
use whittle::link::{
    Device, EMULATED, FlashOptions, Greeting, HELLO_PATIENCE, Part, ProofError, TalkError, deploy,
    erase_model, replace_model,
};
use whittle::packed::PackedModel;

const NO_MODEL: &str = "there is no model, or it was not written to its end";

fn packed(name: &str) -> PackedModel {
    let path = golden_path().with_file_name(format!("{name}.snap.whittle"));
    PackedModel::open(&path, &Job::silent()).unwrap()
}

/// The emulated board of this folder, with this model on it.
fn written(folder: &Path, packed: &PackedModel) -> Device {
    let device = Device::open(EMULATED, Some(folder), 0).unwrap();
    let image = image(packed.bytes());
    let options = FlashOptions::default();
    let mut show = |_: Option<&Greeting>, _: &_| ControlFlow::Continue(());
    let deployed = deploy(
        &device,
        (&image, packed),
        &options,
        &mut show,
        &Job::silent(),
    );
    let deployed = deployed.unwrap().unwrap();
    assert!(deployed.proof.is_some(), "{:?}", deployed.unproven);
    device
}

fn hello(device: &Device) -> Greeting {
    let mut client = device.client().unwrap();
    client.hello(HELLO_PATIENCE, &Job::silent()).unwrap()
}

fn c3() -> &'static Board {
    Board::find("esp32-c3").unwrap()
}

#[test]
fn a_model_sent_over_the_line_takes_the_place_of_the_old_one_and_is_erased() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (packed("llama-4bit"), packed("qwen3-sparse"));
    let job = Job::silent();
    let device = written(folder.path(), &old);
    let proof = replace_model(&device, (c3(), &new), &job).unwrap();
    let model = proof.hello.model.unwrap();
    assert_eq!(
        (model.bytes as usize, model.crc),
        (new.bytes().len(), crc32(new.bytes()))
    );
    drop(device);

    // Another program, another day.
    let device = Device::open(EMULATED, Some(folder.path()), 0).unwrap();
    assert_eq!(hello(&device).model.unwrap().crc, crc32(new.bytes()));
    let after = erase_model(&device, &job).unwrap();
    assert_eq!(after.refusal.as_deref(), Some(NO_MODEL));
    drop(device);
    let device = Device::open(EMULATED, Some(folder.path()), 0).unwrap();
    let now = hello(&device);
    assert_eq!(
        now.title(),
        format!("esp32c3 revision 0.3 with no model: {NO_MODEL}")
    );
    // What is erased is gone: nothing of either model is left.
    let flash = std::fs::read(folder.path().join("esp32-c3.flash")).unwrap();
    let start = start_of(&image(old.bytes()), Part::Model);
    assert_eq!(now.store_bytes as usize, flash.len() - start);
    assert!(flash[start..].iter().all(|byte| *byte == 0xFF));
    // Where there is none one can be sent, and the loader writes what it wrote before.
    replace_model(&device, (c3(), &old), &job).unwrap();
    drop(written(folder.path(), &new));
}

#[test]
fn a_store_that_is_cancelled_leaves_a_board_that_answers() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (packed("llama-4bit"), packed("qwen3-sparse"));
    let device = written(folder.path(), &old);
    for (stage, least, left) in [
        ("Waiting for the board", 0, None),
        (
            "Erasing the board's model",
            0,
            Some("has the model that it had"),
        ),
        (
            "Sending the model",
            0,
            Some("answers, and has no model until one is sent whole"),
        ),
        (
            "Sending the model",
            40_000,
            Some("answers, and has no model until one is sent whole"),
        ),
    ] {
        let cancel = CancelToken::new();
        let stop = |progress: Progress<'_>| {
            if progress.stage == stage && progress.done >= least {
                cancel.cancel();
            }
        };
        let stopped = replace_model(&device, (c3(), &new), &Job::new(&stop, cancel.clone()));
        let told = stopped.unwrap_err().to_string();
        let expected = left.map_or("cancelled".to_owned(), |left| {
            format!("cancelled: the board {left}")
        });
        assert_eq!(told, expected, "{stage} {least}");
        let now = hello(&device);
        assert_eq!(now.model.is_none(), told.contains("no model"), "{now:?}");
        assert_eq!(
            now.refusal.as_deref(),
            now.model.is_none().then_some(NO_MODEL)
        );
    }
    drop(device);
    let device = Device::open(EMULATED, Some(folder.path()), 0).unwrap();
    assert_eq!(hello(&device).refusal.as_deref(), Some(NO_MODEL));
    replace_model(&device, (c3(), &new), &Job::silent()).unwrap();
}

#[test]
fn what_would_not_fit_or_is_for_another_board_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let old = packed("llama-4bit");
    let device = written(folder.path(), &old);
    let other = Board::find("esp32-c6").unwrap();
    let refused = replace_model(&device, (other, &packed("qwen3-sparse")), &Job::silent());
    assert!(
        matches!(refused, Err(ProofError::OtherBoard { .. })),
        "{refused:?}"
    );
    assert_eq!(
        refused.unwrap_err().to_string(),
        "the board is esp32c3, expected esp32c6: nothing was changed"
    );
    let mut client = device.client().unwrap();
    let now = client.hello(HELLO_PATIENCE, &Job::silent()).unwrap();
    let room = now.store_bytes;
    let refused = client.store(&now, &vec![0; room as usize + 1], &Job::silent());
    let Err(TalkError::Refused { why }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        why,
        format!(
            "needs {} bytes for the model, the board has {room}",
            room + 1
        )
    );
    assert_eq!(hello(&device).model.unwrap().crc, crc32(old.bytes()));
}

/// A machine and a host beside it, frame by frame.
struct Wired {
    machine: Machine,
    receiver: Receiver,
}

/// What the tests look at in an answer.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Stored(u32),
    Refused(u32, String),
    Hello(Result<u32, String>),
}

impl Wired {
    fn boot(flash: Vec<u8>) -> Self {
        let console = Console::boot(flash);
        Self {
            machine: console.machine,
            receiver: Receiver::new(),
        }
    }

    fn send(&mut self, request: &Request<'_>) {
        let mut frame = [0; FRAME_BYTES];
        self.machine
            .receive(Line::Uart, encode(request, &mut frame).unwrap());
    }

    /// What it says until it waits or starts again; `look` sees the machine each time its flash has changed.
    fn said(&mut self, look: &mut dyn FnMut(&Machine)) -> Vec<Said> {
        let mut said = Vec::new();
        loop {
            let activity = self.machine.run(2_000);
            if self.machine.take_flash_changes().is_some() {
                look(&self.machine);
            }
            for byte in self.machine.take_sent(Line::Uart) {
                let Some(Received::Frame(frame)) = self.receiver.push(byte) else {
                    continue;
                };
                said.push(match decode(frame).unwrap() {
                    Event::Stored { bytes, .. } => Said::Stored(bytes),
                    Event::Refused { id, why } => Said::Refused(id, why.to_owned()),
                    Event::Hello(hello) => {
                        Said::Hello(hello.model.map(|model| model.crc).map_err(str::to_owned))
                    }
                    other => panic!("{other:?}"),
                });
            }
            if activity != Activity::Busy {
                return said;
            }
        }
    }

    fn asked(&mut self, request: &Request<'_>) -> Vec<Said> {
        self.send(request);
        self.said(&mut |_| {})
    }
}

/// What a board with this flash says of its model after power-on.
fn after_power_loss(flash: &[u8]) -> Vec<Said> {
    Wired::boot(flash.to_vec()).asked(&Request::Hello)
}

/// Each erased sector and each written piece is a moment at which the power may fail.
#[test]
fn a_board_that_loses_its_power_at_any_moment_refuses_its_model_and_answers() {
    let (old, new) = (golden_file(), std::fs::read(golden_path()).unwrap());
    let mut wired = Wired::boot(flash(&image(&old)));
    let mut moments = 0;
    let mut look = |machine: &Machine| {
        moments += 1;
        let refused = Said::Hello(Err(NO_MODEL.to_owned()));
        assert_eq!(
            after_power_loss(machine.flash()),
            [refused],
            "moment {moments}"
        );
    };
    let (id, bytes, crc) = (7, new.len() as u32, crc32(&new));
    wired.send(&Request::Store { id, bytes, crc });
    assert_eq!(wired.said(&mut look), [Said::Stored(0)]);
    let mut offset = 0;
    for piece in new.chunks(PIECE_BYTES) {
        let end = offset + piece.len() as u32;
        if end == bytes {
            break;
        }
        wired.send(&Request::Piece {
            id,
            offset,
            bytes: piece,
        });
        assert_eq!(wired.said(&mut look), [Said::Stored(end)]);
        offset = end;
    }
    assert!(moments > 100, "{moments}");
    // With the last piece comes the moment from which there is a model.
    let last = &new[offset as usize..];
    wired.send(&Request::Piece {
        id,
        offset,
        bytes: last,
    });
    let mut states = Vec::new();
    let stored = wired.said(&mut |machine| states.extend(after_power_loss(machine.flash())));
    assert_eq!(stored, [Said::Stored(bytes)]);
    let refused = Said::Hello(Err(NO_MODEL.to_owned()));
    assert_eq!(states, [refused, Said::Hello(Ok(crc))]);
}

#[test]
fn a_piece_that_a_line_damages_or_loses_is_sent_again() {
    let new = std::fs::read(golden_path()).unwrap();
    let mut wired = Wired::boot(flash(&image(&golden_file())));
    let (id, bytes) = (7, new.len() as u32);
    // A checksum of something else: what is read back is held against it.
    let crc = crc32(&new) ^ 1;
    let stored = wired.asked(&Request::Store { id, bytes, crc });
    assert_eq!(stored, [Said::Stored(0)]);
    assert_eq!(
        wired.asked(&Request::Hello),
        [Said::Hello(Err("a model is being written".to_owned()))]
    );
    let piece = |number: usize| Request::Piece {
        id,
        offset: (number * PIECE_BYTES) as u32,
        bytes: &new[number * PIECE_BYTES..][..PIECE_BYTES],
    };
    let there = |pieces: usize| [Said::Stored((pieces * PIECE_BYTES) as u32)];
    assert_eq!(wired.asked(&piece(0)), there(1));
    let mut frame = [0; FRAME_BYTES];
    let mut damaged = encode(&piece(1), &mut frame).unwrap().to_vec();
    damaged[100] ^= 0x40;
    wired.machine.receive(Line::Uart, &damaged);
    // As if it had not come.
    assert_eq!(wired.said(&mut |_| {}), []);
    assert_eq!(wired.asked(&piece(1)), there(2));
    // Its answer was lost.
    assert_eq!(wired.asked(&piece(1)), there(2));
    let refused = wired.asked(&piece(4));
    assert_eq!(
        refused,
        [Said::Refused(
            id,
            "these bytes are not the next ones".to_owned()
        )]
    );
    let last = new.len() / PIECE_BYTES;
    for number in 2..last {
        assert_eq!(wired.asked(&piece(number)), there(number + 1));
    }
    let rest = Request::Piece {
        id,
        offset: (last * PIECE_BYTES) as u32,
        bytes: &new[last * PIECE_BYTES..],
    };
    let why = "the flash does not read back what was sent".to_owned();
    assert_eq!(wired.asked(&rest), [Said::Refused(id, why)]);
    let refused = Said::Hello(Err(NO_MODEL.to_owned()));
    assert_eq!(after_power_loss(wired.machine.flash()), [refused]);
}
