//! What the window's jobs do with the board on a port.

use super::candidate::Candidate;
use super::loaded::Loaded;
use super::measured::ShownPlan;
use super::pieces::Pieces;
use super::running::Failure;
use super::transcript::BoardFacts;
use super::units;
use super::work::{Ready, pack, read_firmware};
use crate::board::Board;
use crate::catalog::Cache;
use crate::job::Job;
use crate::link;
use crate::link::{
    BoardQuestion, Deployed, Device, EMULATED_FLASH_BYTES, FlashOptions, FlashPlan, Greeting,
    Image, ask_board, deploy, measure, prebuilt, replace_model, require_model,
};
use crate::measured::{BoardReport, Reports};
use crate::recipe::Recipe;
use crate::workers::Processor;
use engine::arena::CachePrecision;
use engine::sampler::Sampling;
use std::borrow::Cow;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

/// Whether a board is written once the plan is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterPlan {
    Write,
    Leave,
}

/// Which board is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// The one that the person chose.
    Chosen(&'static Board),
    /// The one whose chip answers: nobody chose another.
    Answering,
}

/// What a board is written with.
#[derive(Debug, Clone)]
pub(super) struct FlashOrder {
    pub(super) board: Wanted,
    /// An ELF file instead of the firmware that comes along.
    pub(super) firmware: Option<PathBuf>,
    /// A serial port, or one of an emulated board.
    pub(super) port: String,
    /// Where the plan goes as soon as it is known.
    pub(super) shown: ShownPlan,
    pub(super) then: AfterPlan,
    /// Where the old flash is kept first.
    pub(super) backup: Option<PathBuf>,
}

/// Packs a recipe's model, writes it to a board with its firmware, and hears whether the board runs it.
pub(super) fn flash(
    loaded: &Loaded,
    recipe: &Recipe,
    ready: &Ready,
    run: (CachePrecision, &Processor),
    order: &FlashOrder,
    job: &Job<'_>,
) -> Result<(&'static Board, Option<Deployed>), Failure> {
    let options = FlashOptions::default();
    let board = match order.board {
        Wanted::Chosen(board) => board,
        Wanted::Answering => {
            let chip = device(&order.port, EMULATED_FLASH_BYTES)?.chip(&options, job)?;
            Board::with_chip(&chip).map_err(|error| format!("choose the board: {error}"))?
        }
    };
    let firmware = match (&order.firmware, prebuilt(board)) {
        (Some(path), _) => Cow::Owned(read_firmware(path)?),
        (None, Some(firmware)) => Cow::Borrowed(firmware),
        (None, None) => {
            let name = &board.name;
            return Err(format!("there is no firmware for {name} yet: name an ELF file").into());
        }
    };
    let packed = pack(loaded, recipe, ready, run, job)?;
    let image = Image::new(board, &firmware, packed.bytes())?;
    let bytes = usize::try_from(image.flash_bytes).unwrap_or(usize::MAX);
    let device = device(&order.port, bytes)?;
    let mut show = |before: Option<&Greeting>, planned: &FlashPlan| {
        let mut shown = order.shown.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = Some((before.cloned(), planned.clone()));
        match order.then {
            AfterPlan::Write => ControlFlow::Continue(()),
            AfterPlan::Leave => ControlFlow::Break(()),
        }
    };
    if let (Some(path), AfterPlan::Write) = (&order.backup, order.then) {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        }
        device.backup(&image, &options, path, job)?;
    }
    let deployed = deploy(&device, (&image, &packed), &options, &mut show, job)?;
    Ok((board, deployed))
}

/// Packs a recipe's model and sends it to the firmware on a board; says what came of it.
pub(super) fn send_model(
    (loaded, recipe): (&Loaded, &Recipe),
    ready: &Ready,
    run: (CachePrecision, &Processor),
    (board, port): (&Board, &str),
    job: &Job<'_>,
) -> Result<String, Failure> {
    let packed = pack(loaded, recipe, ready, run, job)?;
    let device = device(port, EMULATED_FLASH_BYTES)?;
    let proof = replace_model(&device, (board, &packed), job)?;
    Ok(format!(
        "Sent {} to the {}; it answers as here, logits {}",
        units::bytes(packed.bytes().len() as u64),
        proof.hello.board,
        proof.self_test
    ))
}

/// Has the firmware on a board erase its model; says what the board says then.
pub(super) fn erase_model(port: &str, job: &Job<'_>) -> Result<String, Failure> {
    let hello = link::erase_model(&device(port, EMULATED_FLASH_BYTES)?, job)?;
    Ok(format!("Erased: {}", hello.title()))
}

fn device(port: &str, flash_bytes: usize) -> Result<Device, Failure> {
    let folder = Cache::if_any()?.map(|cache| cache.boards());
    Ok(Device::open(port, folder.as_deref(), flash_bytes)?)
}

/// Lets the board on a port measure itself; its report is kept in `reports`, where there is such a folder.
pub(super) fn measure_board(
    (loaded, recipe): (&Loaded, &Recipe),
    ready: &Ready,
    run: (CachePrecision, &Processor),
    (port, prompt): (&str, &str),
    reports: Option<&Path>,
    job: &Job<'_>,
) -> Result<BoardReport, Failure> {
    let packed = pack(loaded, recipe, ready, run, job)?;
    let device = device(port, EMULATED_FLASH_BYTES)?;
    let report = measure(&mut device.client()?, &packed, prompt, job)?;
    if let Some(folder) = reports {
        Reports::keep(folder, &report)
            .map_err(|error| format!("cannot keep the report in {}: {error}", folder.display()))?;
    }
    Ok(report)
}

/// What a board is asked, and what its answer is held against.
#[derive(Debug)]
pub(super) struct BoardOrder {
    pub(super) port: String,
    pub(super) prompt: String,
    pub(super) sampling: Sampling,
    /// The boards that it may be one of, the chosen one first.
    pub(super) boards: Vec<Board>,
    /// Whose packed model it may run.
    pub(super) candidates: Vec<(Candidate, Recipe, Ready)>,
}

/// Asks a board, and compares its answer with that of the candidate whose packed model it runs.
pub(super) fn answer(
    loaded: &Loaded,
    run: (CachePrecision, &Processor),
    order: &BoardOrder,
    mut pieces: Pieces,
    job: &Job<'_>,
) -> Result<BoardFacts, Failure> {
    let question = BoardQuestion {
        prompt: &order.prompt,
        max_tokens: 0,
        context: 0,
        sampling: order.sampling,
    };
    let device = device(&order.port, EMULATED_FLASH_BYTES)?;
    let mut show = |piece: &str| pieces.push(piece);
    let asked = ask_board(&mut device.client()?, &question, job, &mut show);
    pieces.finish();
    let turn = asked?;
    // What follows is this computer's work.
    drop(device);
    for (candidate, recipe, ready) in &order.candidates {
        let packed = pack(loaded, recipe, ready, run, job)?;
        if require_model(&turn.hello, &packed).is_err() {
            continue;
        }
        job.report("Comparing with the board", 0, 0)?;
        let turn = turn.beside((&packed, &order.boards), &question, job)?;
        let runs = Some(*candidate);
        return Ok(BoardFacts { turn, runs });
    }
    Ok(BoardFacts { turn, runs: None })
}
