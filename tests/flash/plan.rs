//! What is said before the first byte, and what of it is then sent.

use super::{PIECE, assert_holds, image, model_address, noise, options, write};
use std::ops::ControlFlow;
use std::path::Path;
use whittle::compress::compress;
use whittle::job::{CancelToken, Job, Progress};
use whittle::link::{
    FakeBoard, FlashError, FlashPlan, Image, Loader, Part, PlannedPart, backup, flash,
};
use whittle::model::Model;
use whittle::packed::PackedModel;
use whittle::recipe::Recipe;

const SECTOR: u64 = 4096;

/// The plan of a flash, which is left at that.
fn planned(board: &FakeBoard, image: &Image) -> FlashPlan {
    let mut seen = None;
    let mut show = |plan: &FlashPlan| {
        seen = Some(plan.clone());
        ControlFlow::Break(())
    };
    let job = Job::silent();
    let options = options(Loader::Stub);
    let flashed = flash(board.port(), image, &options, &mut show, &job).unwrap();
    assert_eq!(flashed, None);
    seen.unwrap()
}

fn part(plan: &FlashPlan, part: Part) -> &PlannedPart {
    plan.parts.iter().find(|p| p.part == part).unwrap()
}

#[test]
fn a_plan_says_what_goes_where_and_writes_nothing() {
    let board = FakeBoard::start(&[]).unwrap();
    let image = image(&noise(21, 3 * PIECE));
    let plan = planned(&board, &image);
    assert!(board.flash().iter().all(|byte| *byte == 0xFF));
    assert_eq!((plan.write_bytes, plan.unchanged_bytes), (image.bytes(), 0));
    let model = part(&plan, Part::Model);
    assert_eq!(model.address as usize, model_address(&image));
    assert_eq!(model.bytes, 3 * PIECE as u64);
    // Noise does not compress; the line takes ten bits a byte, and what is said is no less than that.
    assert!(plan.sent_bytes >= 3 * PIECE as u64, "{plan:?}");
    let line = plan.sent_bytes as f64 * 10.0 / 921_600.0;
    assert!(plan.secs.0 >= line && plan.secs.1 > plan.secs.0, "{plan:?}");
    write(&board, &image).unwrap();
    let again = planned(&board, &image);
    assert_eq!((again.write_bytes, again.sent_bytes), (0, 0));
    assert_eq!(again.time(), "All of it is there already");
}

/// hearth, with one tensor compressed otherwise in as many bytes: at most its sectors and the directory's are sent.
#[test]
fn one_tensor_of_unchanged_size_sends_its_sectors_and_the_directory() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/hearth");
    let job = Job::silent();
    let model = Model::load(&folder, &job).unwrap();
    let packed = |changes: &[&str]| {
        let mut recipe = Recipe::open("balanced-4bit").unwrap();
        for change in changes {
            recipe.set(change).unwrap();
        }
        let compressed = compress(&model, &recipe, &job).unwrap();
        PackedModel::pack(&model, &compressed, &job).unwrap()
    };
    // Rounded otherwise: the same encoding, the same bytes, other codes.
    let (first, second) = (
        packed(&[]),
        packed(&["feed-forward.down@2..3=bits:4,method:search"]),
    );
    assert_eq!(first.bytes().len(), second.bytes().len());
    let changed = second
        .view()
        .entries()
        .zip(first.view().entries())
        .filter(|(now, before)| now.matrix.bytes() != before.matrix.bytes())
        .map(|(now, _)| now.matrix.bytes().len() as u64);
    let changed: Vec<u64> = changed.collect();
    assert_eq!(changed.len(), 1);
    let sectors = |bytes: u64| bytes.div_ceil(SECTOR) + 1;
    let most = SECTOR * (sectors(changed[0]) + sectors(second.view().metadata_bytes() as u64));

    let board = FakeBoard::start(&[]).unwrap();
    write(&board, &image(first.bytes())).unwrap();
    let next = image(second.bytes());
    let plan = planned(&board, &next);
    let model = part(&plan, Part::Model);
    assert_eq!(plan.write_bytes, model.write_bytes);
    assert!(
        model.write_bytes > 0 && model.write_bytes <= most,
        "{model:?}, at most {most}"
    );
    assert_eq!(model.moved_from, None);
    let done = write(&board, &next).unwrap();
    assert_holds(&board, &next);
    assert_eq!(done.written_bytes, plan.write_bytes);
}

#[test]
fn where_a_size_has_changed_the_plan_says_what_moves() {
    let board = FakeBoard::start(&[]).unwrap();
    let mut model = noise(22, 8 * PIECE);
    write(&board, &image(&model)).unwrap();
    // A byte more in the third piece: all behind it has moved.
    model.insert(3 * PIECE + 5000, 7);
    let plan = planned(&board, &image(&model));
    let model = part(&plan, Part::Model);
    assert_eq!(model.moved_from, Some((3 * PIECE + 4096) as u64));
    assert_eq!(model.write_bytes, model.bytes - (3 * PIECE + 4096) as u64);
}

#[test]
fn the_old_flash_is_kept_whole_before_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.bin");
    let board = FakeBoard::start(&[]).unwrap();
    write(&board, &image(&noise(23, 100_000))).unwrap();
    let before = board.flash();
    let next = image(&noise(24, 1000));
    let job = Job::silent();
    // Also by who writes through the ROM's loader.
    let bytes = backup(board.port(), &next, &options(Loader::Rom), &path, &job).unwrap();
    assert_eq!(bytes as usize, before.len());
    assert!(std::fs::read(&path).unwrap() == before);
    assert!(board.flash() == before);

    // It may be the only copy: a second one needs another name.
    let again = backup(board.port(), &next, &options(Loader::Stub), &path, &job).unwrap_err();
    assert!(
        again.to_string().ends_with("old.bin: nothing was changed"),
        "{again}"
    );
    assert!(std::fs::read(&path).unwrap() == before);

    // One that was stopped leaves no half file, and the older one alone.
    let cancel = CancelToken::new();
    let stop = |progress: Progress<'_>| {
        if progress.done >= 10 * PIECE as u64 {
            cancel.cancel();
        }
    };
    let job = Job::new(&stop, cancel.clone());
    let other = folder.path().join("other.bin");
    let stopped = backup(board.port(), &next, &options(Loader::Stub), &other, &job).unwrap_err();
    assert!(matches!(stopped, FlashError::Cancelled(_)), "{stopped}");
    assert!(!other.exists());
    let nowhere = folder.path().join("nowhere/old.bin");
    let job = Job::silent();
    let refused = backup(board.port(), &next, &options(Loader::Stub), &nowhere, &job);
    let said = refused.unwrap_err().to_string();
    assert!(said.ends_with("old.bin: nothing was changed"), "{said}");
}
