//! `whittle flash` and `whittle ports`: write a packed model and its firmware to a board.

use super::Output;
use crate::flash::{Flashed, Image, Loader, Port, Reset, flash, ports};
use anyhow::{Context as _, bail};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Write a packed model and its firmware to a board; only what changed is sent
#[derive(Debug, clap::Args)]
pub(super) struct FlashArgs {
    /// The packed model
    file: PathBuf,
    /// Id of a built-in board, or a board file
    #[arg(long, value_name = "ID|FILE")]
    board: String,
    /// Serial port of the board, or "fake" for an emulated ESP32-C3
    #[arg(long)]
    port: String,
    /// The firmware: an ELF file for the board's chip
    #[arg(long, value_name = "ELF")]
    firmware: PathBuf,
    /// Write through the loader in the chip's ROM: slower, for boards that refuse the other
    #[arg(long)]
    rom_loader: bool,
}

/// List the serial ports that a board may be on
#[derive(Debug, clap::Args)]
pub(super) struct PortsArgs {}

/// What `whittle flash` reports.
#[derive(Debug, Serialize)]
struct Report {
    board: String,
    port: String,
    model_bytes: u64,
    image_bytes: u64,
    #[serde(flatten)]
    flashed: Flashed,
}

pub(super) fn run(args: &FlashArgs, output: &Output) -> anyhow::Result<()> {
    let board = super::estimate::board(&args.board)?;
    let model = read(&args.file)?;
    let firmware = read(&args.firmware)?;
    let image = Image::new(&board, &firmware, &model)?;
    let loader = if args.rom_loader {
        Loader::Rom
    } else {
        Loader::Stub
    };
    let flashed = write(&args.port, &image, loader, output)?;
    let report = Report {
        board: board.id.clone(),
        port: args.port.clone(),
        model_bytes: model.len() as u64,
        image_bytes: image.bytes(),
        flashed,
    };
    output.emit(&report, |report| {
        format!(
            "{} on {}: wrote {} kB, {} kB were there already, all verified",
            report.flashed.chip,
            report.port,
            report.flashed.written_bytes.div_ceil(1000),
            report.flashed.unchanged_bytes / 1000,
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

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(port: &str, image: &Image, loader: Loader, output: &Output) -> anyhow::Result<Flashed> {
    let options = crate::flash::FlashOptions {
        loader,
        ..Default::default()
    };
    if port != "fake" {
        return Ok(output.with_bar(|job| flash(port, image, &options, job))?);
    }
    #[cfg(unix)]
    {
        let board = crate::flash::FakeBoard::start(&[]).context("cannot start the fake board")?;
        let options = crate::flash::FlashOptions {
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
