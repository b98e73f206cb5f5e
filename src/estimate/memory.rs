//! What a model needs of a board's memories, and by how much it exceeds them.

use super::shape::{ModelShape, TensorPlan};
use crate::board::{Board, FlashMethod, Memory};
use engine::arena::{ArenaLayout, CachePrecision, Limits};
use serde::Serialize;
use std::fmt;

/// Tensors start at a flash sector, so that a changed one can be written alone.
pub const SECTOR_BYTES: u64 = 4096;
/// A model starts at a page of the flash mapping of Espressif chips.
pub const MODEL_ALIGNMENT_BYTES: u64 = 0x1_0000;
/// Bootloader, partition table and settings before the application on Espressif chips.
pub const APP_OFFSET_BYTES: u64 = 0x1_0000;
/// Flash kept for the firmware: at least what the largest of those that come along takes, 379 kB on an ESP32-C3.
pub const FIRMWARE_FLASH_BYTES: u64 = 384 * 1024;
/// Assumed size of the program for boards that run Linux: that for aarch64 is 953 kB.
const LINUX_PROGRAM_BYTES: u64 = 1 << 20;
/// Assumed RAM of the firmware itself: stack, statics, the chip's caches.
pub const FIRMWARE_RAM_BYTES: u64 = 64 * 1024;

/// RAM and metadata of a session, as the engine lays them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuntimeMemory {
    /// Activations, scores and logits of one forward pass.
    pub arena_bytes: u64,
    /// Keys and values of the whole context after the prefix.
    pub kv_bytes: u64,
}

impl RuntimeMemory {
    /// Sizes of a session over `context` tokens that computes one token at a time, by the engine's
    /// own layout, and the logits; keys and values are kept at `cache`, those of the prefix in flash.
    #[must_use]
    pub fn of(shape: &ModelShape, context: u32, cache: CachePrecision) -> Self {
        let h = &shape.hyperparameters;
        let limits = Limits {
            context: context as usize,
            batch: 1,
            cache,
        };
        // A context that ends with the prefix leaves nothing to say: such a session does not take it.
        let prefix = Some(shape.prefix_tokens).filter(|tokens| *tokens < limits.context);
        let layout = ArenaLayout::after(prefix.unwrap_or(0), h, limits);
        let logits = 4 * u64::from(h.vocab);
        Self {
            arena_bytes: (layout.bytes() - layout.kv_cache_bytes()) as u64 + logits,
            kv_bytes: layout.kv_cache_bytes() as u64,
        }
    }
}

/// Bytes that one token adds to the keys and values of all layers.
pub(super) fn kv_bytes_per_position(shape: &ModelShape, cache: CachePrecision) -> f64 {
    // Keys come in blocks of 16 positions.
    let block = Limits {
        context: 16,
        batch: 1,
        cache,
    };
    ArenaLayout::new(&shape.hyperparameters, block).kv_cache_bytes() as f64 / 16.0
}

/// Where the weights are while the model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// Flash or MRAM on the chip.
    InternalFlash,
    /// Flash behind a serial bus.
    SerialFlash,
    /// Copied to external RAM when the board starts, or mapped into it by Linux.
    Psram,
}

/// Which memory is too small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scarce {
    /// Flash, for weights and firmware.
    Flash,
    /// RAM, for the session.
    Ram,
}

/// A memory that is too small, and by how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// The memory.
    pub memory: Scarce,
    /// What the model needs.
    pub needs_bytes: u64,
    /// What the board has.
    pub has_bytes: u64,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = match self.memory {
            Scarce::Flash => "flash",
            Scarce::Ram => "RAM",
        };
        // Rounded apart, so that the two numbers never look equal.
        let (needs, has) = (self.needs_bytes.div_ceil(1000), self.has_bytes / 1000);
        write!(f, "needs {needs} kB of {memory}, board has {has} kB")
    }
}

/// Bytes of the packed model: each tensor and the metadata rounded up to a sector, and a sector of
/// header.
#[must_use]
pub fn model_bytes(tensors: &[TensorPlan], metadata_bytes: u64) -> u64 {
    let sectors = |bytes: u64| bytes.next_multiple_of(SECTOR_BYTES);
    tensors
        .iter()
        .map(|tensor| sectors(tensor.bytes))
        .sum::<u64>()
        + sectors(metadata_bytes)
        + SECTOR_BYTES
}

/// Flash in use, and where the weights went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FlashUse {
    pub(super) store: Store,
    pub(super) bytes: u64,
    pub(super) limit: Option<Limit>,
}

/// Puts the model beside the firmware where that fits, else alone into the serial flash. Where Linux runs it is a file,
/// beside the program's, on a card of whatever size; what it is read from is RAM.
pub(super) fn place(board: &Board, model_bytes: u64) -> FlashUse {
    let beside_firmware = match board.flash_method {
        FlashMethod::EspressifSerial => APP_OFFSET_BYTES + FIRMWARE_FLASH_BYTES,
        FlashMethod::JLink | FlashMethod::StLink | FlashMethod::Uf2 => FIRMWARE_FLASH_BYTES,
        FlashMethod::Linux => {
            return FlashUse {
                store: Store::Psram,
                bytes: LINUX_PROGRAM_BYTES + model_bytes,
                limit: None,
            };
        }
    }
    .next_multiple_of(MODEL_ALIGNMENT_BYTES)
        + model_bytes;
    let try_in = |store, memory: &Memory, needs_bytes: u64| {
        let has_bytes = memory.bytes.value;
        let limit = Limit {
            memory: Scarce::Flash,
            needs_bytes,
            has_bytes,
        };
        FlashUse {
            store,
            bytes: needs_bytes,
            limit: (needs_bytes > has_bytes).then_some(limit),
        }
    };
    let internal = board
        .internal_flash
        .as_ref()
        .map(|m| try_in(Store::InternalFlash, m, beside_firmware));
    let serial_needs = if board.internal_flash.is_some() {
        model_bytes
    } else {
        beside_firmware
    };
    let serial = board
        .serial_flash
        .as_ref()
        .map(|m| try_in(Store::SerialFlash, m, serial_needs));
    match (internal, serial) {
        (Some(internal), Some(serial)) => {
            if internal.limit.is_none() {
                internal
            } else {
                serial
            }
        }
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => unreachable!("Board::parse asks for one of the two, but where Linux runs"),
    }
}

/// Whether the session sits in external RAM, and what is missing if it fits in neither.
///
/// The arena is one slice: it lies in the chip's own RAM, beside the firmware's, or whole in the
/// external RAM, beside `copied_weights_bytes`.
pub(super) fn place_session(
    board: &Board,
    memory: RuntimeMemory,
    copied_weights_bytes: u64,
) -> (SessionIn, Option<Limit>) {
    let session = memory.arena_bytes + memory.kv_bytes;
    let has_bytes = board.sram_bytes.value;
    let psram = board.psram.as_ref().map_or(0, |memory| memory.bytes.value);
    if copied_weights_bytes > psram {
        let limit = Limit {
            memory: Scarce::Ram,
            needs_bytes: copied_weights_bytes,
            has_bytes: psram,
        };
        return (SessionIn::Sram, Some(limit));
    }
    let needs_bytes = session + FIRMWARE_RAM_BYTES;
    if needs_bytes <= has_bytes {
        (SessionIn::Sram, None)
    } else if session + copied_weights_bytes <= psram {
        (SessionIn::Psram, None)
    } else if psram > has_bytes {
        let needs_bytes = session + copied_weights_bytes;
        (
            SessionIn::Psram,
            Some(Limit {
                memory: Scarce::Ram,
                needs_bytes,
                has_bytes: psram,
            }),
        )
    } else {
        (
            SessionIn::Sram,
            Some(Limit {
                memory: Scarce::Ram,
                needs_bytes,
                has_bytes,
            }),
        )
    }
}

/// Where a session's arena lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionIn {
    Sram,
    Psram,
}
