//! `whittle flash` and `whittle ports`: write a packed model and its firmware to a board.

use super::Output;
use crate::board::Board;
use crate::link::{
    Firmware, Flashed, Image, ImageError, Loader, Port, Reset, flash, ports, prebuilt,
};
use crate::packed::PackedModel;
use anyhow::{Context as _, bail};
use serde::Serialize;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Write a packed model and its firmware to a board; only what changed is sent
#[derive(Debug, clap::Args)]
pub(super) struct FlashArgs {
    /// The packed model
    file: PathBuf,
    /// Id of a built-in board, or a board file
    #[arg(long, value_name = "ID|FILE")]
    board: PathBuf,
    /// Serial port of the board, or "fake" for an emulated ESP32-C3
    #[arg(long)]
    port: String,
    /// Firmware of your own: an ELF file for the board's chip; otherwise the one that comes with Whittle
    #[arg(long, value_name = "ELF")]
    firmware: Option<PathBuf>,
    /// Write through the loader in the chip's ROM: slower, for boards that refuse the other
    #[arg(long)]
    rom_loader: bool,
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
    #[serde(flatten)]
    flashed: Flashed,
}

pub(super) fn run(args: &FlashArgs, output: &Output) -> anyhow::Result<()> {
    let board = Board::open(&args.board)?;
    let packed = output.with_bar(|job| PackedModel::open(&args.file, job))?;
    let image = image(&board, args.firmware.as_deref(), packed.bytes())?;
    let loader = if args.rom_loader {
        Loader::Rom
    } else {
        Loader::Stub
    };
    let flashed = write(&args.port, &image, loader, output)?;
    let report = FlashReport {
        board: board.id.clone(),
        port: args.port.clone(),
        model_bytes: packed.bytes().len() as u64,
        image_bytes: image.bytes(),
        firmware: image.firmware,
        flashed,
    };
    output.emit(&report, |report| {
        format!(
            "{} on {}: wrote {} kB, {} kB were there already, all verified\nThe firmware {}",
            report.flashed.chip,
            report.port,
            report.flashed.written_bytes.div_ceil(1000),
            report.flashed.unchanged_bytes / 1000,
            report.firmware,
        )
    })
}

pub(super) fn list(_args: &PortsArgs, output: &Output) -> anyhow::Result<()> {
    let ports = ports()?;
    output.emit(&serde_json::json!({ "ports": ports }), |_| {
        if ports.is_empty() {
            return "No serial ports; is the board plugged in with a data cable?".to_owned();
        }
        let line = |port: &Port| match &port.product {
            Some(product) => format!("{}  {product}", port.name),
            None => port.name.clone(),
        };
        ports.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

/// The image of a packed model with the firmware of this path, or the prebuilt one.
pub(super) fn image(board: &Board, firmware: Option<&Path>, model: &[u8]) -> anyhow::Result<Image> {
    let firmware = match firmware {
        Some(path) => Cow::Owned(
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?,
        ),
        None => match (prebuilt(board), Image::new(board, &[], model)) {
            (Some(firmware), _) => Cow::Borrowed(firmware),
            // That there is another way to write this board matters more than the firmware.
            (None, Err(error @ ImageError::Unsupported { .. })) => return Err(error.into()),
            (None, _) => bail!(
                "there is no prebuilt firmware for {} yet: name one with --firmware",
                board.name
            ),
        },
    };
    Ok(Image::new(board, &firmware, model)?)
}

/// Writes an image to a port, or to a fake board with the flash that the image is for.
pub(super) fn write(
    port: &str,
    image: &Image,
    loader: Loader,
    output: &Output,
) -> anyhow::Result<Flashed> {
    let options = crate::link::FlashOptions {
        loader,
        ..Default::default()
    };
    if port != "fake" {
        return Ok(output.with_bar(|job| flash(port, image, &options, job))?);
    }
    #[cfg(unix)]
    {
        let board = crate::link::FakeBoard::with_flash(usize::try_from(image.flash_bytes)?, &[])
            .context("cannot start the fake board")?;
        let options = crate::link::FlashOptions {
            reset: Reset::None,
            ..options
        };
        let flashed = output.with_bar(|job| flash(board.port(), image, &options, job))?;
        let held = board.flash();
        for segment in &image.segments {
            let start = segment.address as usize;
            if held.get(start..start + segment.bytes.len()) != Some(segment.bytes.as_slice()) {
                bail!("the fake board holds something else at {start:#x} than was written");
            }
        }
        Ok(flashed)
    }
    #[cfg(not(unix))]
    bail!("the fake board needs a pseudo-terminal, which this system does not have");
}
