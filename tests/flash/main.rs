//! Flashing a board, which is the fake one: an emulated ESP32-C3 behind a pseudo-terminal.
#![expect(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap has done its work"
)]
#![cfg(all(unix, feature = "flash"))]

mod faults;
#[path = "../support/firmware.rs"]
mod firmware;
mod plan;
mod xtensa;

use firmware::{firmware, firmware_at};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use whittle::board::Board;
use whittle::job::{CancelToken, Job, Progress};
use whittle::link::fake_board::{Fault, Fuses, Mishap, commands};
use whittle::link::{
    FakeBoard, FlashError, FlashOptions, FlashPlan, Flashed, Image, ImageError, Loader, Part,
    Reset, flash,
};

const PIECE: usize = 64 * 1024;

/// Bytes that do not compress, the same for the same seed.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}

fn c3() -> &'static Board {
    Board::find("esp32-c3").unwrap()
}

fn image(model: &[u8]) -> Image {
    Image::new(c3(), &firmware(8_000), model).unwrap()
}

fn options(loader: Loader) -> FlashOptions {
    FlashOptions {
        reset: Reset::None,
        loader,
        ..FlashOptions::default()
    }
}

fn write(board: &FakeBoard, image: &Image) -> Result<Flashed, FlashError> {
    written(board, image, &options(Loader::Rom), &Job::silent())
}

/// Written without a look at the plan.
fn written(
    board: &FakeBoard,
    image: &Image,
    options: &FlashOptions,
    job: &Job<'_>,
) -> Result<Flashed, FlashError> {
    let mut go_on = |_: &FlashPlan| ControlFlow::Continue(());
    flash(board.port(), image, options, &mut go_on, job).map(Option::unwrap)
}

fn model_address(image: &Image) -> usize {
    image
        .segments
        .iter()
        .find(|segment| segment.part == Part::Model)
        .unwrap()
        .address as usize
}

#[track_caller]
fn assert_holds(board: &FakeBoard, image: &Image) {
    let flash = board.flash();
    for segment in &image.segments {
        let start = segment.address as usize;
        assert!(
            flash[start..start + segment.bytes.len()] == segment.bytes,
            "{:?} differs",
            segment.part
        );
    }
}

#[test]
fn a_flashed_board_holds_bootloader_table_firmware_and_model() {
    for loader in [Loader::Rom, Loader::Stub] {
        let board = FakeBoard::start(&[]).unwrap();
        let image = image(&noise(1, 200_001));
        let done = written(&board, &image, &options(loader), &Job::silent()).unwrap();
        assert_holds(&board, &image);
        assert_eq!(model_address(&image) % PIECE, 0);
        assert_eq!((done.chip.as_str(), done.flash_bytes), ("esp32c3", 4 << 20));
        assert_eq!(
            (done.written_bytes, done.unchanged_bytes),
            (image.bytes(), 0)
        );
        assert_eq!(done.verified_bytes, image.bytes());
    }
}

#[test]
fn a_worn_cell_is_found_where_it_is() {
    let image = image(&noise(2, 150_000));
    let worn = model_address(&image) + 100_000;
    let board = FakeBoard::start(&[Fault::WornCell { address: worn }]).unwrap();
    let error = write(&board, &image).unwrap_err();
    let FlashError::Verify { address, bytes } = error else {
        panic!("{error:?}")
    };
    assert!(
        (address as usize..address as usize + bytes).contains(&worn),
        "{error}"
    );
}

#[test]
fn cancelling_stops_after_the_piece_at_hand_and_a_later_run_finishes() {
    let board = FakeBoard::start(&[]).unwrap();
    let image = image(&noise(3, 8 * PIECE));
    let before_model: u64 = image.bytes() - 8 * PIECE as u64;
    let cancel = CancelToken::new();
    let in_third_piece = before_model + 2 * PIECE as u64 + 1;
    let stop = |progress: Progress<'_>| {
        if progress.stage == "Writing model" && progress.done >= in_third_piece {
            cancel.cancel();
        }
    };
    let job = Job::new(&stop, cancel.clone());
    let result = written(&board, &image, &options(Loader::Rom), &job);
    assert!(
        matches!(
            result,
            Err(FlashError::Stopped {
                part: Part::Model,
                ..
            })
        ),
        "{result:?}"
    );
    let said = result.unwrap_err().to_string();
    let expected = "cancelled: the board starts, answers, and refuses its model until that is written whole. Flash it again: \
                    only the rest is sent";
    assert_eq!(said, expected);
    let model = &board.flash()[model_address(&image)..];
    let expected = &image.segments.last().unwrap().bytes;
    assert!(
        model[..3 * PIECE] == expected[..3 * PIECE],
        "the piece at hand was not finished"
    );
    assert!(
        model[3 * PIECE..].iter().all(|byte| *byte == 0xFF),
        "a piece was begun after cancelling"
    );

    let done = write(&board, &image).unwrap();
    assert_holds(&board, &image);
    assert_eq!(done.unchanged_bytes, before_model + 3 * PIECE as u64);
}

/// The board dies while it is written, is back, and only then somebody stops it: it is not as it was.
#[test]
fn a_stop_in_a_later_session_tells_of_what_the_first_has_written() {
    let board = FakeBoard::start(&[Fault::at(commands::FLASH_DATA, 90, Mishap::Garbage)]).unwrap();
    let image = image(&noise(11, 4 * PIECE));
    let cancel = CancelToken::new();
    let comparisons = AtomicU64::new(0);
    let stop = |progress: Progress<'_>| {
        if progress.stage == "Connecting" && comparisons.fetch_add(1, Ordering::Relaxed) == 1 {
            cancel.cancel();
        }
    };
    let job = Job::new(&stop, cancel.clone());
    let result = written(&board, &image, &options(Loader::Rom), &job);
    assert!(
        matches!(result, Err(FlashError::Stopped { .. })),
        "{result:?}"
    );
    let said = result.unwrap_err().to_string();
    assert!(said.ends_with("only the rest is sent"), "{said}");
    assert!(board.flash().iter().any(|byte| *byte != 0xFF));
}

/// One that is given up half written says so.
#[test]
fn a_board_that_is_given_up_half_written_is_called_that() {
    let faults: Vec<Fault> = (60..400)
        .map(|nth| Fault::at(commands::FLASH_DATA, nth, Mishap::Error(8)))
        .collect();
    let board = FakeBoard::start(&faults).unwrap();
    let said = write(&board, &image(&noise(12, 100_000)))
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("until it is written whole. Flash it again: only the rest is sent. "),
        "{said}"
    );
    assert!(said.contains("failed 3 times"), "{said}");
}

#[test]
fn a_pulled_cable_is_called_that() {
    let fault = Fault::at(commands::FLASH_DATA, 30, Mishap::Unplug);
    let board = FakeBoard::start(&[fault]).unwrap();
    let error = write(&board, &image(&noise(4, 100_000))).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(board.port()) && text.contains("went away") && text.contains("cable"),
        "{text}"
    );
}

#[test]
fn a_lost_reply_and_a_broken_frame_cost_a_session_each_and_nothing_else() {
    let faults = [
        // The first of a session is retried by the library itself.
        Fault::at(commands::SPI_ATTACH, 2, Mishap::DropReply),
        Fault::at(commands::FLASH_DATA, 60, Mishap::Garbage),
    ];
    let board = FakeBoard::start(&faults).unwrap();
    let image = image(&noise(5, 100_000));
    let done = write(&board, &image).unwrap();
    assert_holds(&board, &image);
    assert_eq!(done.attempts, 3);
    // Each session is slower than the one before; the last stays at the rate that it begins with.
    assert_eq!(board.rates(), [921_600, 460_800]);
    // What was written before the broken frame is not sent again, and counts as written all the same.
    assert_eq!(
        (done.written_bytes, done.unchanged_bytes),
        (image.bytes(), 0)
    );
    let sent = board.count(commands::FLASH_DATA) * 1024;
    assert!(sent < image.bytes() as usize + 2 * PIECE, "{sent}");
}

#[test]
fn a_frame_too_short_for_an_answer_is_noise_and_no_crash() {
    let board = FakeBoard::start(&[Fault::at(commands::FLASH_DATA, 5, Mishap::Runt)]).unwrap();
    let image = image(&noise(10, 1_000));
    assert_eq!(write(&board, &image).unwrap().attempts, 2);
    assert_holds(&board, &image);
}

#[test]
fn a_board_that_stays_broken_is_given_up_with_the_reason() {
    let faults = [1, 2, 3].map(|nth| Fault::at(commands::FLASH_BEGIN, nth, Mishap::Garbage));
    let board = FakeBoard::start(&faults).unwrap();
    let text = write(&board, &image(&noise(6, 1_000)))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("failed 3 times") && text.contains("SLIP framing"),
        "{text}"
    );
}

#[test]
fn a_second_flash_writes_only_the_sectors_that_changed() {
    let board = FakeBoard::start(&[]).unwrap();
    let mut model = noise(7, 10 * PIECE + 4096);
    write(&board, &image(&model)).unwrap();
    let blocks = board.count(commands::FLASH_DATA);
    model[6 * PIECE + 4096..6 * PIECE + 8192].copy_from_slice(&noise(8, 4096));
    let changed = image(&model);
    let done = write(&board, &changed).unwrap();
    assert_holds(&board, &changed);
    assert_eq!(
        (done.written_bytes, done.unchanged_bytes),
        (4096, changed.bytes() - 4096)
    );
    assert_eq!(board.count(commands::FLASH_DATA) - blocks, 4096 / 1024);
}

#[test]
fn progress_grows_to_the_whole_image() {
    let board = FakeBoard::start(&[]).unwrap();
    let image = image(&noise(9, 2 * PIECE));
    // It is compared, then what differs is written: all of it here.
    let last = ["Comparing", "Writing"].map(|stage| (stage, AtomicU64::new(0)));
    let watch = |progress: Progress<'_>| {
        let mut stages = last.iter();
        if let Some((_, last)) = stages.find(|(stage, _)| progress.stage.starts_with(stage)) {
            assert_eq!(progress.total, image.bytes());
            let before = last.swap(progress.done, Ordering::Relaxed);
            assert!(before <= progress.done, "{before} then {}", progress.done);
        }
    };
    written(
        &board,
        &image,
        &options(Loader::Rom),
        &Job::new(&watch, CancelToken::new()),
    )
    .unwrap();
    let [(_, compared), (_, sent)] = last;
    assert_eq!(sent.into_inner(), image.bytes());
    assert_eq!(compared.into_inner(), image.bytes() - PIECE as u64);
}

#[test]
fn what_does_not_fit_is_refused_by_how_much() {
    let image = image(&[]);
    let room = 4 * 1024 * 1024 - model_address(&image);
    let error = Image::new(c3(), &firmware(8_000), &vec![0; room + 5]).unwrap_err();
    assert!(error.to_string().ends_with(": 5 too many"), "{error}");
    assert!(Image::new(c3(), &firmware(8_000), &vec![0; room]).is_ok());
    let error = Image::new(c3(), &firmware(5 << 20), &[]).unwrap_err();
    assert!(
        error.to_string().starts_with("the firmware needs"),
        "{error}"
    );
}

#[test]
fn boards_without_a_serial_loader_are_refused_with_another_way() {
    let error = Image::new(Board::find("ek-ra8d1").unwrap(), &firmware(100), &[]).unwrap_err();
    assert!(
        error.to_string().contains("EK-RA8D1") && error.to_string().contains("J-Link"),
        "{error}"
    );
}

#[test]
fn an_image_for_another_chip_is_refused_before_anything_is_written() {
    let c6 = Board::find("esp32-c6").unwrap();
    let c6 = Image::new(c6, &firmware_at(0x4200_0020, 8_000), &[1]).unwrap();
    let board = FakeBoard::start(&[]).unwrap();
    let error = write(&board, &c6).unwrap_err();
    assert!(matches!(error, FlashError::WrongChip { .. }), "{error:?}");
    assert!(board.flash().iter().all(|byte| *byte == 0xFF));
}

#[test]
fn a_damaged_firmware_is_an_error_and_never_a_crash() {
    let good = firmware(600);
    for length in 0..good.len() {
        if length % 7 == 0 {
            assert!(
                Image::new(c3(), &good[..length], &[]).is_err(),
                "cut to {length} bytes"
            );
        }
    }
    // The high byte of every header field, with the values that break sums and lengths.
    let headers = (0..52)
        .chain(good.len() - 160..good.len())
        .filter(|at| at % 4 == 3);
    for at in headers {
        for value in [0x7F, 0xFF] {
            let mut bad = good.clone();
            bad[at] = value;
            // Some changes still make a program; what counts is that this returns.
            match Image::new(c3(), &bad, &[]) {
                Ok(image) => assert!(image.end() <= image.flash_bytes),
                Err(ImageError::Firmware(_) | ImageError::DoesNotFit { .. }) => {}
                Err(other) => panic!("byte {at} = {value}: {other}"),
            }
        }
    }
}

/// What is said of a chip that is not written to.
fn refused(fuses: Fuses) -> String {
    let board = FakeBoard::with_fuses(fuses).unwrap();
    let error = write(&board, &image(&noise(9, 1000))).unwrap_err();
    let begun = [commands::FLASH_BEGIN, commands::FLASH_DEFL_BEGIN];
    assert_eq!(begun.map(|command| board.count(command)), [0, 0], "{error}");
    assert!(board.flash().iter().all(|byte| *byte == 0xFF));
    error.to_string()
}

/// A chip with flags, a count and a revision.
fn fuses(security_flags: u32, flash_crypt_count: u8, revision: u16) -> Fuses {
    Fuses {
        revision,
        security_flags,
        flash_crypt_count,
    }
}

#[test]
fn a_locked_board_is_refused_before_anything_is_written() {
    for (flags, count, lock) in [
        (1, 0, "secure boot on"),
        (0, 1, "flash encryption on"),
        (0, 7, "flash encryption on"),
        (5, 1, "secure download mode on"),
        (4, 0, "secure download mode on"),
    ] {
        let said = refused(fuses(flags, count, 3));
        let advice = "whittle flash --parts FOLDER";
        assert!(said.contains(lock) && said.contains(advice), "{said}");
    }
    // Encryption that was turned on and off again.
    let board = FakeBoard::with_fuses(fuses(0, 3, 3)).unwrap();
    write(&board, &image(&noise(9, 1000))).unwrap();
}

#[test]
fn a_revision_that_the_bootloader_is_not_for_is_refused_before_anything_is_written() {
    for (revision, found) in [(2, "0.2"), (200, "2.0"), (301, "3.1")] {
        let said = refused(fuses(0, 0, revision));
        let range = "the bootloader is for chip revisions 0.3 to 1.99";
        let expected = format!("has {found}: nothing was written");
        assert!(said.contains(range) && said.contains(&expected), "{said}");
    }
    for revision in [4, 101] {
        let board = FakeBoard::with_fuses(fuses(0, 0, revision)).unwrap();
        write(&board, &image(&noise(9, 1000))).unwrap();
    }
}
