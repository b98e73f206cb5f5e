//! All that can go wrong on the way to a board: none of it hangs, panics, or is reported as success wrongly.

use super::{assert_holds, image, noise, options, written};
use std::time::{Duration, Instant};
use whittle::job::Job;
use whittle::link::fake_board::{Fault, Mishap, commands};
use whittle::link::{FakeBoard, FlashOptions, Image, Loader};

/// A board that answers nothing is given up by espflash after seven greetings of three seconds each, three times.
const LONGEST: Duration = Duration::from_secs(120);

/// What came of a board that a fault has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// It is written, in any number of sessions.
    Written,
    /// It is not, and the sentence has these words.
    Fails(&'static str),
}

use Expected::{Fails, Written};

/// An address in the model, wherever the firmware ends: in its first pages.
const WORN: usize = 0x2_0000 + 17;

/// Each fault, by which loader it is met, and what comes of it.
// Long: a table.
fn scenarios() -> Vec<(&'static str, Vec<Fault>, Loader, Expected)> {
    use Mishap::*;
    use commands::*;
    let at = Fault::at;
    let (rom, stub) = (Loader::Rom, Loader::Stub);
    let three = |command, mishap: Mishap| (1..=40).map(|nth| at(command, nth, mishap)).collect();
    vec![
        (
            "a greeting is lost",
            vec![at(SYNC, 1, DropReply)],
            stub,
            Written,
        ),
        (
            "noise before the greeting",
            vec![at(SYNC, 1, Garbage)],
            stub,
            Written,
        ),
        (
            "a greeting comes twice",
            vec![at(SYNC, 1, Twice)],
            stub,
            Written,
        ),
        ("half a greeting", vec![at(SYNC, 1, Half)], stub, Written),
        (
            "the chip's name is lost",
            vec![at(GET_SECURITY_INFO, 1, DropReply)],
            stub,
            Written,
        ),
        (
            "half of the chip's name",
            vec![at(GET_SECURITY_INFO, 1, Half)],
            stub,
            Written,
        ),
        (
            "a register is lost",
            vec![at(READ_REG, 2, DropReply)],
            stub,
            Written,
        ),
        (
            "the stub's first block is lost",
            vec![at(MEM_DATA, 1, DropReply)],
            stub,
            Written,
        ),
        (
            "the stub does not start",
            vec![at(MEM_END, 1, DropReply)],
            stub,
            Written,
        ),
        (
            "the stub is refused once",
            vec![at(MEM_BEGIN, 1, Error(6))],
            stub,
            Written,
        ),
        (
            "a new rate is not confirmed",
            vec![at(CHANGE_BAUDRATE, 1, DropReply)],
            stub,
            Written,
        ),
        (
            "a sum is lost while comparing",
            vec![at(SPI_FLASH_MD5, 2, DropReply)],
            stub,
            Written,
        ),
        (
            "a sum is late",
            vec![at(SPI_FLASH_MD5, 2, Late(300))],
            stub,
            Written,
        ),
        (
            "erasing is refused once",
            vec![at(FLASH_BEGIN, 2, Error(8))],
            rom,
            Written,
        ),
        (
            "a compressed write is refused once",
            vec![at(FLASH_DEFL_BEGIN, 1, Error(5))],
            stub,
            Written,
        ),
        (
            "a block is refused once",
            vec![at(FLASH_DATA, 9, Error(7))],
            rom,
            Written,
        ),
        (
            "a block's reply is lost",
            vec![at(FLASH_DATA, 9, DropReply)],
            rom,
            Written,
        ),
        (
            "a block's reply is broken",
            vec![at(FLASH_DATA, 9, Garbage)],
            rom,
            Written,
        ),
        (
            "a block's reply comes twice",
            vec![at(FLASH_DATA, 9, Twice)],
            rom,
            Written,
        ),
        (
            "a runt before a block's reply",
            vec![at(FLASH_DATA, 9, Runt)],
            rom,
            Written,
        ),
        (
            "a bit of a block's reply flips",
            vec![at(FLASH_DATA, 9, FlippedBit)],
            rom,
            Written,
        ),
        (
            "the supply breaks down in a block",
            vec![at(FLASH_DATA, 9, Brownout)],
            rom,
            Written,
        ),
        (
            "the supply breaks down while greeting",
            vec![at(READ_REG, 1, Brownout)],
            stub,
            Written,
        ),
        (
            "the end is not confirmed",
            vec![at(FLASH_DEFL_END, 1, DropReply)],
            stub,
            Written,
        ),
        (
            "two blocks in two sessions",
            vec![at(FLASH_DATA, 5, Half), at(FLASH_DATA, 40, Runt)],
            rom,
            Written,
        ),
        (
            "the cable is pulled while greeting",
            vec![at(SYNC, 1, Unplug)],
            stub,
            Fails("went away"),
        ),
        (
            "the cable is pulled in a block",
            vec![at(FLASH_DATA, 9, Unplug)],
            rom,
            Fails("went away"),
        ),
        (
            "the cable is pulled at the end",
            vec![at(FLASH_DEFL_END, 1, Unplug)],
            stub,
            Fails("went away"),
        ),
        (
            "a worn cell",
            vec![Fault::WornCell { address: WORN }],
            rom,
            Fails("the flash may be worn"),
        ),
        (
            "every erasure is refused",
            three(FLASH_BEGIN, Error(8)),
            rom,
            Fails("failed 3 times"),
        ),
        (
            "every sum is refused",
            three(SPI_FLASH_MD5, Error(6)),
            stub,
            Fails("failed 3 times"),
        ),
        (
            "a silent port",
            vec![Fault::Silent],
            stub,
            Fails("Hold BOOT"),
        ),
        (
            "a port that babbles",
            vec![Fault::Babble],
            stub,
            Fails("Hold BOOT"),
        ),
    ]
}

#[test]
fn no_fault_hangs_or_passes_for_success() {
    let scenarios = scenarios();
    assert!(scenarios.len() >= 25);
    let image = image(&noise(31, 60_000));
    // They mostly wait for replies that never come: side by side.
    std::thread::scope(|scope| {
        for (name, faults, loader, expected) in scenarios {
            let image = &image;
            scope.spawn(move || meet(name, &faults, loader, expected, image));
        }
    });
}

fn meet(name: &str, faults: &[Fault], loader: Loader, expected: Expected, image: &Image) {
    let board = FakeBoard::start(faults).unwrap();
    let options = FlashOptions {
        // One session tells a port that never answers as well as three do.
        attempts: match faults[0] {
            Fault::Silent | Fault::Babble => 1,
            Fault::At { .. } | Fault::WornCell { .. } | Fault::Paced => 3,
        },
        ..options(loader)
    };
    let start = Instant::now();
    let result = written(&board, image, &options, &Job::silent());
    let took = start.elapsed();
    assert!(took < LONGEST, "{name} took {took:?}");
    match (result, expected) {
        (Ok(done), Written) => {
            assert_holds(&board, image);
            assert_eq!(done.verified_bytes, image.bytes(), "{name}");
        }
        (Err(error), Fails(words)) => {
            let said = error.to_string();
            assert!(said.contains(words), "{name}: {said}");
            let names_port = said.contains(board.port()) || words.contains("worn");
            assert!(names_port, "{name}: {said}");
        }
        (result, expected) => panic!("{name}: expected {expected:?}, found {result:?}"),
    }
}
