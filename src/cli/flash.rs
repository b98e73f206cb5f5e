//! `whittle flash` and `whittle ports`: write a packed model and its firmware to a board.

use super::Output;
use super::files::Files;
use crate::board::{Board, FlashMethod};
use crate::catalog::Cache;
use crate::link::{
    Bundle, Delivery, Deployed, Device, EMULATED, EMULATED_FLASH_BYTES, Firmware, FirmwareOrigin,
    FirmwareStatus, FlashOptions, FlashPlan, Greeting, Image, ImageError, Loader, Port, Proof,
    Reset, Segment, deploy, ports, prebuilt, replace_model, status,
};
use crate::packed::{PackedModel, bill};
use crate::whole_file::WholeFolder;
use anyhow::{Context as _, bail};
use clap::builder::NonEmptyStringValueParser;
use serde::Serialize;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Write a packed model and its firmware to a board; only what changed is sent
#[derive(Debug, clap::Args)]
pub(super) struct FlashArgs {
    /// The packed model
    file: PathBuf,
    /// Id of a built-in board, or a board file; if not given the built-in one whose chip answers on the port
    #[arg(long, value_name = "ID|FILE", required_unless_present = "port")]
    board: Option<PathBuf>,
    /// Serial port of the board; sim:esp32-c3 is an emulated one that keeps its flash, "fake" one that is new each time
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    port: Option<String>,
    /// Write what belongs into the flash to this folder instead, part by part, with offsets and the vendor's commands to
    /// sign, encrypt and write them: for products whose chips are locked. For boards that run Linux: the program, the model,
    /// and how to copy and start them
    #[arg(long, value_name = "DIR", conflicts_with_all = ["port", "rom_loader", "no_hello"])]
    parts: Option<PathBuf>,
    /// Firmware of your own: an ELF file for the board's chip; otherwise the one that comes with Whittle
    #[arg(long, value_name = "ELF")]
    firmware: Option<PathBuf>,
    /// Send the model alone, to the firmware that runs on the board and over its own line: no loader, and
    /// slower, about 3 minutes for 1.6 MB over UART. Boards that run Linux take a model in this way only
    #[arg(long, conflicts_with_all = ["parts", "firmware", "rom_loader", "no_reset", "plan", "backup", "no_hello"])]
    model_only: bool,
    /// Write through the loader in the chip's ROM: slower, for boards that refuse the other
    #[arg(long)]
    rom_loader: bool,
    /// Line rate after connecting; it falls by itself where the line does not hold
    #[arg(long, value_name = "RATE", default_value_t = FlashOptions::default().baud,
          value_parser = clap::value_parser!(u32).range(9600..=4_000_000))]
    baud: u32,
    /// Leave the board's lines alone: for one that is in its loader already (BOOT held while RESET is pressed) and is reset by
    /// hand afterwards
    #[arg(long)]
    no_reset: bool,
    /// Say what runs on the board and what would be written, and leave it at that
    #[arg(long, conflicts_with = "parts")]
    plan: bool,
    /// Read all that the board's flash holds into this file before the first byte is written
    #[arg(long, value_name = "OLD.bin", conflicts_with_all = ["parts", "plan"])]
    backup: Option<PathBuf>,
    /// End once all is written and verified: neither wait for the board's hello nor compare its answer
    #[arg(long)]
    no_hello: bool,
}

/// List the serial ports that a board may be on
#[derive(Debug, clap::Args)]
pub(super) struct PortsArgs {}

/// What `whittle flash` reports.
#[derive(Debug, Serialize)]
struct FlashReport {
    board: String,
    port: String,
    model_bytes: u64,
    image_bytes: u64,
    firmware: Firmware,
    plan: Option<FlashPlan>,
    #[serde(flatten)]
    deployed: Deployed,
}

/// What `whittle flash --plan` reports.
#[derive(Debug, Serialize)]
struct PlanReport<'p> {
    before: Option<Greeting>,
    plan: &'p FlashPlan,
}

pub(super) fn run(args: &FlashArgs, output: &Output) -> anyhow::Result<()> {
    let board = board(args, output)?;
    let packed = output.with_bar(|job| PackedModel::open(&args.file, job))?;
    let own = args.firmware.as_deref().map(read).transpose()?;
    if let (Some(folder), Some(bundle)) =
        (&args.parts, Bundle::new(&board, own.as_deref(), &packed))
    {
        return write_bundle(&bundle?, folder, output);
    }
    let is_sent = args.model_only || board.flash_method == FlashMethod::Linux;
    if let Some(port) = args.port.as_ref().filter(|_| is_sent) {
        return send(port, (&board, &packed), output);
    }
    let image = image(&board, own.as_deref(), packed.bytes())?;
    let port = match (&args.parts, &args.port) {
        (Some(folder), _) => {
            let origin = match args.firmware {
                Some(_) => FirmwareOrigin::Own,
                None => FirmwareOrigin::Prebuilt,
            };
            return write_parts((&board, &image, &packed, origin), folder, output);
        }
        (None, Some(port)) => port,
        (None, None) => bail!("expected --port, or --parts for a folder"),
    };
    let options = options(args);
    let device = open(port, usize::try_from(image.flash_bytes)?)?;
    if let Some(path) = &args.backup {
        keep_old(path, (args, &board, &device, &image), output)?;
    }
    let (mut plan, mut before) = (None, None);
    let mut show = |found: Option<&Greeting>, planned: &FlashPlan| {
        (plan, before) = (Some(planned.clone()), found.cloned());
        if args.plan {
            return ControlFlow::Break(());
        }
        output.say(&plan_told(found, planned));
        if planned.write_bytes > 0 {
            output.leave_behind(
                "the board was being written, and may not start until it is written whole. Flash it again: only the rest is sent",
            );
        }
        ControlFlow::Continue(())
    };
    let deployed = output.with_bar(|job| {
        if !args.no_hello {
            return deploy(&device, (&image, &packed), &options, &mut show, job);
        }
        let mut show = |plan: &FlashPlan| show(None, plan);
        let flashed = device.flash(&image, &options, &mut show, job)?;
        Ok(flashed.map(|flashed| Deployed {
            before: None,
            flashed,
            proof: None,
            unproven: None,
        }))
    })?;
    let Some(deployed) = deployed else {
        let plan = plan.as_ref().context("the board told nothing")?;
        let report = PlanReport { before, plan };
        return output.emit(&report, |report| {
            plan_told(report.before.as_ref(), report.plan) + "\nNothing was written"
        });
    };
    let report = FlashReport {
        board: board.id.clone(),
        port: port.clone(),
        model_bytes: packed.bytes().len() as u64,
        image_bytes: image.bytes(),
        firmware: image.firmware,
        plan,
        deployed,
    };
    output.emit(&report, told)?;
    match report.deployed.unproven {
        Some(why) => bail!("written and verified; but {why}"),
        None => Ok(()),
    }
}

/// The board that is named, or else the one whose chip answers on the port.
fn board(args: &FlashArgs, output: &Output) -> anyhow::Result<Board> {
    let port = match (&args.board, &args.port) {
        (Some(board), _) => return Ok(Board::open(board)?),
        (None, Some(port)) => port,
        (None, None) => bail!("expected --board, or --port to ask the chip"),
    };
    if port.starts_with("tcp:") {
        bail!("a board on a socket does not tell its chip: name it with --board");
    }
    let device = open(port, EMULATED_FLASH_BYTES)?;
    let chip = output.with_bar(|job| device.chip(&options(args), job))?;
    let board = Board::with_chip(&chip).context("name the board with --board")?;
    let (name, id) = (&board.name, &board.id);
    output.say(&format!(
        "The chip that answers is an {chip}: taken for {name} (--board {id})"
    ));
    Ok(board.clone())
}

/// Sends the model to the firmware that runs on the board, which starts again with it.
fn send(
    port: &str,
    (board, packed): (&Board, &PackedModel),
    output: &Output,
) -> anyhow::Result<()> {
    let device = open(port, EMULATED_FLASH_BYTES)?;
    output.leave_behind(
        "a model was being sent: a board that keeps it in flash answers, and has none until one is sent whole",
    );
    let proof = output.with_bar(|job| replace_model(&device, (board, packed), job))?;
    let report = serde_json::json!({
        "board": board.id,
        "port": port,
        "model_bytes": packed.bytes().len(),
        "hello": proof.hello,
        "self_test": proof.self_test,
        "moved_to": proof.moved_to,
    });
    output.emit(&report, |_| {
        format!(
            "Sent {} bytes to {}\nThe board says hello and computes what is computed here: logits {}{}",
            packed.bytes().len(),
            proof.hello.board,
            proof.self_test,
            moved(&proof)
        )
    })
}

/// How to write, as the arguments have it.
fn options(args: &FlashArgs) -> FlashOptions {
    FlashOptions {
        loader: if args.rom_loader {
            Loader::Rom
        } else {
            Loader::Stub
        },
        baud: args.baud,
        reset: if args.no_reset {
            Reset::None
        } else {
            Reset::Board
        },
        ..FlashOptions::default()
    }
}

/// Reads the old flash into a file, and says how it gets back.
fn keep_old(
    path: &Path,
    (args, board, device, image): (&FlashArgs, &Board, &Device, &Image),
    output: &Output,
) -> anyhow::Result<()> {
    Files::default()
        .reads([&args.file])
        .writes([path])
        .check()?;
    let bytes = output.with_bar(|job| device.backup(image, &options(args), path, job))?;
    output.say(&format!(
        "Kept the {bytes} bytes of the old flash in {path}; back onto the board: esptool --chip {} write-flash 0 {path}",
        board.chip,
        path = path.display()
    ));
    Ok(())
}

/// What runs on a board and what will change, for people.
fn plan_told(before: Option<&Greeting>, plan: &FlashPlan) -> String {
    let found = before.map_or_else(
        || "nothing of Whittle's that answers".to_owned(),
        Greeting::title,
    );
    let mut text = format!("Found on the board: {found}\n");
    for part in &plan.parts {
        let changes = match (part.write_bytes, part.moved_from) {
            (0, _) => "unchanged".to_owned(),
            (bytes, None) => format!("{bytes} bytes to write"),
            (bytes, Some(from)) => {
                format!("{bytes} bytes to write: all from {from} on has moved or is new")
            }
        };
        text += &format!(
            "{:#09x}  {:>9} bytes  {:<20} {changes}\n",
            part.address,
            part.bytes,
            part.part.file_name()
        );
    }
    text + &plan.time()
}

/// The folder of parts: a file for each, and a page.
fn write_parts(
    (board, image, packed, origin): (&Board, &Image, &PackedModel, FirmwareOrigin),
    folder: &Path,
    output: &Output,
) -> anyhow::Result<()> {
    const PAGE: &str = "FLASH.md";
    let delivery = Delivery::of_image(board, image, packed, origin)?;
    let pages = [
        (PAGE, image.page()),
        (bill::LICENCES, delivery.licences()),
        (bill::BILL, delivery.bill()),
    ];
    let failed = || format!("cannot write {}", folder.display());
    let files: Vec<&str> = image
        .segments
        .iter()
        .map(|segment| segment.part.file_name())
        .collect();
    let required = files
        .iter()
        .copied()
        .chain(pages.iter().map(|(name, _)| *name));
    let required: Vec<&str> = required.collect();
    let mut whole = WholeFolder::create(folder, &required, &[]).with_context(failed)?;
    for segment in &image.segments {
        let mut file = whole.file(segment.part.file_name()).with_context(failed)?;
        file.write_all(&segment.bytes)
            .and_then(|()| file.flush())
            .with_context(failed)?;
    }
    for (name, text) in &pages {
        let mut page = whole.file(name).with_context(failed)?;
        page.write_all(text.as_bytes())
            .and_then(|()| page.flush())
            .with_context(failed)?;
    }
    whole.finish().with_context(failed)?;
    let parts = image.segments.iter().map(|segment| {
        serde_json::json!({
            "file": segment.part.file_name(),
            "offset": segment.address,
            "bytes": segment.bytes.len(),
        })
    });
    let report = serde_json::json!({ "folder": folder.display().to_string(), "parts": parts.collect::<Vec<_>>() });
    output.emit(&report, |_| {
        let line = |segment: &Segment| {
            let (name, bytes) = (segment.part.file_name(), segment.bytes.len());
            format!("{:#09x}  {bytes:>9} bytes  {name}\n", segment.address)
        };
        let lines: String = image.segments.iter().map(line).collect();
        format!(
            "{lines}{}: how to sign, encrypt and write them; beside it {} and {} (CycloneDX)",
            folder.join(PAGE).display(),
            bill::LICENCES,
            bill::BILL
        )
    })
}

/// The folder for a board that runs Linux.
fn write_bundle(bundle: &Bundle<'_>, folder: &Path, output: &Output) -> anyhow::Result<()> {
    bundle
        .write(folder)
        .with_context(|| format!("cannot write {}", folder.display()))?;
    let files = bundle.files();
    let listed = files
        .iter()
        .map(|(name, bytes)| serde_json::json!({ "file": name, "bytes": bytes.len() }));
    let report = serde_json::json!({
        "folder": folder.display().to_string(),
        "parts": listed.collect::<Vec<_>>(),
        "firmware": bundle.firmware,
    });
    output.emit(&report, |_| {
        let line = |(name, bytes): &(&str, Vec<u8>)| format!("{:>9} bytes  {name}\n", bytes.len());
        let lines: String = files.iter().map(line).collect();
        format!(
            "{lines}The program {}\n{}: how to copy and start them",
            bundle.firmware,
            folder.join("README.md").display()
        )
    })
}

/// Under which name the port came back, where that is another.
fn moved(proof: &Proof) -> String {
    let name = proof.moved_to.as_ref();
    name.map_or_else(String::new, |name| {
        format!("\nIts port has another name now: --port {name}")
    })
}

/// What was done, for people.
fn told(report: &FlashReport) -> String {
    let flashed = &report.deployed.flashed;
    let written = format!(
        "{} on {}: wrote {} kB, {} kB were there already, all verified\nThe firmware {}",
        flashed.chip,
        report.port,
        flashed.written_bytes.div_ceil(1000),
        flashed.unchanged_bytes / 1000,
        report.firmware,
    );
    match &report.deployed.proof {
        Some(proof) => format!(
            "{written}\nThe board says hello and computes what is computed here: logits {}{}",
            proof.self_test,
            moved(proof)
        ),
        None => written,
    }
}

/// The board behind the name of a port.
pub(super) fn open(port: &str, flash_bytes: usize) -> anyhow::Result<Device> {
    let folder = Cache::if_any()?.map(|cache| cache.boards());
    Ok(Device::open(port, folder.as_deref(), flash_bytes)?)
}

pub(super) fn list(_args: &PortsArgs, output: &Output) -> anyhow::Result<()> {
    let ports = ports()?;
    output.emit(&serde_json::json!({ "ports": ports }), |_| {
        let emulated = format!("{EMULATED}  an emulated ESP32-C3");
        if ports.is_empty() {
            return format!(
                "No serial ports; is the board plugged in with a data cable?\n{emulated}"
            );
        }
        let line = |port: &Port| match &port.product {
            Some(product) => format!("{}  {product}", port.name),
            None => port.name.clone(),
        };
        let lines: Vec<String> = ports.iter().map(line).chain([emulated]).collect();
        lines.join("\n")
    })
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The image of a packed model with this firmware, or the prebuilt one.
pub(super) fn image(board: &Board, own: Option<&[u8]>, model: &[u8]) -> anyhow::Result<Image> {
    let firmware = match own {
        Some(own) => own,
        None => match (prebuilt(board), Image::new(board, &[], model)) {
            (Some(firmware), _) => firmware,
            // That there is another way to write this board matters more than the firmware.
            (None, Err(error @ ImageError::Unsupported { .. })) => return Err(error.into()),
            (None, _) if status(board) == FirmwareStatus::SourceOnly => bail!(
                "the firmware for {name} is source only: build it where Espressif's compiler is (make firmware \
                 BOARD={chip}), and name the ELF file with --firmware",
                name = board.name,
                chip = board.chip
            ),
            (None, _) => bail!(
                "there is no prebuilt firmware for {} yet: name one with --firmware",
                board.name
            ),
        },
    };
    Ok(Image::new(board, firmware, model)?)
}
