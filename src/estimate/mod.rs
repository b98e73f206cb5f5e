//! What a model costs on a board: flash, RAM, time, energy. Pure: shapes, recipe and board in.
//!
//! [`plan`] lists the tensors that a recipe makes of a [`ModelShape`]; [`estimate`] weighs them
//! against a [`Board`]. Sizes come from the encodings themselves; times from a roofline that the
//! tests hold against published measurements, bounded by the instructions that this engine takes.
//! Where a board's number is unknown the answer is nothing, and the number's name. Where a board of the kind has sent a
//! report ([`Board::measured`]), times come from there; [`Validation`] says beside every one what it was held against.

mod instructions;
mod memory;
mod of_file;
mod reported;
mod roofline;
mod shape;
mod work;

pub use memory::{
    APP_OFFSET_BYTES, FIRMWARE_FLASH_BYTES, FIRMWARE_RAM_BYTES, Limit, MODEL_ALIGNMENT_BYTES,
    RuntimeMemory, SECTOR_BYTES, Scarce, Store, model_bytes,
};
pub use of_file::{estimate_file, planned};
pub use reported::SCALED_ERROR;
pub use shape::{ModelShape, ShapeError, TensorPlan, plan};
pub use work::{Head, Range, Work};

use crate::board::{Board, FlashMethod};
use crate::measured::Clock;
use engine::arena::CachePrecision;
use memory::{place, place_session};
use reported::Scaled;
use roofline::Rates;
use serde::Serialize;

/// Where the board keeps the weights while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsIn {
    /// Read in place from flash: what Whittle's firmware does.
    Flash,
    /// Copied to external RAM at start.
    Psram,
}

/// How the model is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Tokens that the cache of keys and values holds.
    pub context_tokens: u32,
    /// Bits of an element of that cache.
    pub cache: CachePrecision,
    /// Tokens of the prompt before the first answer, without those that lie in flash with keys and values.
    pub prompt_tokens: u32,
    /// Tokens of the answer before its spoken reply, as those of an intent line.
    pub unspoken_tokens: u32,
    /// Where the weights are.
    pub weights_in: WeightsIn,
}

impl Default for Options {
    /// A turn of a voice dialogue: 64 tokens asked, room for 256.
    fn default() -> Self {
        Self {
            context_tokens: 256,
            cache: CachePrecision::Sixteen,
            prompt_tokens: 64,
            unspoken_tokens: 0,
            weights_in: WeightsIn::Flash,
        }
    }
}

/// What an estimate's times and energies were held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Validation {
    /// Nothing: no board of the kind has reported its own.
    Unvalidated,
    /// Instructions that an emulated board of the kind has counted: no board is faster, a real one may be slower.
    Emulated,
    /// What a board of the kind has measured.
    Measured,
}

impl Validation {
    /// As people read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unvalidated => "unvalidated",
            Self::Emulated => "emulated",
            Self::Measured => "measured",
        }
    }
}

/// What a model costs on one board.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// The board.
    pub id: String,
    /// Whether flash and RAM suffice.
    pub fits: bool,
    /// The memory that is too small.
    pub limited_by: Option<Scarce>,
    /// By how much: "needs 412 kB of RAM, board has 320 kB".
    pub limit: Option<String>,
    /// The same as a number of bytes.
    #[serde(skip)]
    pub shortage_bytes: Option<u64>,
    /// Flash in use, firmware included where it shares the memory with the weights.
    pub flash_bytes: u64,
    /// RAM in use: firmware, activations, keys and values.
    pub ram_bytes: u64,
    /// Part of it that is keys and values.
    pub kv_bytes: u64,
    /// Flash that holds keys and values of the text with which conversations begin.
    #[serde(skip)]
    pub prefix_bytes: u64,
    /// Where the weights are read from.
    pub store: Store,
    /// What the times and energies below were held against.
    pub validation: Validation,
    /// Tokens a second with the context half full.
    pub tokens_per_second: Option<Range>,
    /// Seconds from the prompt's first token to the answer's first.
    pub first_token_seconds: Option<Range>,
    /// Seconds from the prompt's first token to the first of the spoken reply.
    pub reply_seconds: Option<Range>,
    /// Energy of a token with the context half full.
    pub joules_per_token: Option<Range>,
    /// The board's numbers that are unknown and would be needed for what is absent above.
    pub missing: Vec<&'static str>,
}

/// Weighs a model against a board.
///
/// One core computes, a token at a time, prompt included; radio off. Where the model does not fit,
/// times are those of a board with more of the same memory.
#[must_use]
pub fn estimate(
    shape: &ModelShape,
    tensors: &[TensorPlan],
    memory: RuntimeMemory,
    board: &Board,
    options: &Options,
) -> Estimate {
    let prefix_bytes = shape.prefix_bytes(options.cache);
    let model_bytes = model_bytes(tensors, shape.metadata_bytes + prefix_bytes);
    let flash = place(board, model_bytes);
    let (store, copied_bytes) = match options.weights_in {
        WeightsIn::Flash if flash.store != Store::Psram => (flash.store, 0),
        WeightsIn::Flash | WeightsIn::Psram => (Store::Psram, model_bytes),
    };
    let (session_in, ram_limit) = place_session(board, memory, copied_bytes);
    let limit = flash.limit.or(ram_limit);

    let (timing, mut missing) = match Timing::of(board, store, session_in, options.cache) {
        Ok(timing) => (Some(timing), Vec::new()),
        Err(missing) => (None, missing),
    };
    let (seconds, times) = timing
        .as_ref()
        .map(|timing| turn(timing, shape, tensors, options))
        .unzip();
    if board.active_power_watts.is_none() {
        missing.push("active_power_watts");
    }
    let energy = seconds
        .as_ref()
        .zip(board.active_power_watts.as_ref())
        .map(|(time, power)| Range {
            low: time.low * power.low.unwrap_or(power.value),
            mid: time.mid * power.value,
            high: time.high * power.high.unwrap_or(power.value),
            source: format!("power: {}; {}", power.source, time.source),
        });
    let (first_token_seconds, reply_seconds) = times.unzip();
    Estimate {
        id: board.id.clone(),
        fits: limit.is_none(),
        limited_by: limit.map(|limit| limit.memory),
        limit: limit.map(|limit| limit.to_string()),
        shortage_bytes: limit.map(|limit| limit.needs_bytes.saturating_sub(limit.has_bytes)),
        flash_bytes: flash.bytes,
        ram_bytes: FIRMWARE_RAM_BYTES + memory.arena_bytes + memory.kv_bytes + copied_bytes,
        kv_bytes: memory.kv_bytes,
        prefix_bytes,
        store,
        validation: timing.map_or(Validation::Unvalidated, |timing| timing.validation()),
        tokens_per_second: seconds.as_ref().map(Range::inverse),
        first_token_seconds,
        reply_seconds,
        joules_per_token: energy,
        missing,
    }
}

/// Where times come from.
enum Timing {
    /// A report of a board of this kind.
    Measured(Scaled),
    /// The roofline; with what an emulated board has counted, where one has.
    Computed(Box<Rates>),
}

impl Timing {
    /// What is known of a board, or the names of the numbers that are unknown. A report is of weights read in place and
    /// a conversation on the chip, or where Linux runs of both in its memory: it says nothing of others.
    fn of(
        board: &Board,
        store: Store,
        session: memory::SessionIn,
        cache: CachePrecision,
    ) -> Result<Self, Vec<&'static str>> {
        let scaled = Scaled::of(board, cache);
        let is_alike = board.flash_method == FlashMethod::Linux
            || store != Store::Psram && session == memory::SessionIn::Sram;
        match scaled {
            Some(scaled) if scaled.clock == Clock::Board && is_alike => Ok(Self::Measured(scaled)),
            Some(scaled) if scaled.clock == Clock::Emulated => {
                let rates = Rates::of(board, store, session)?;
                Ok(Self::Computed(Box::new(rates.with_counted(Some(scaled)))))
            }
            Some(_) | None => {
                Rates::of(board, store, session).map(|rates| Self::Computed(Box::new(rates)))
            }
        }
    }

    fn seconds(&self, work: &Work) -> Range {
        match self {
            Self::Measured(scaled) => scaled.seconds(work),
            Self::Computed(rates) => rates.seconds(work),
        }
    }

    fn validation(&self) -> Validation {
        match self {
            Self::Measured(_) => Validation::Measured,
            Self::Computed(rates) if rates.is_counted() => Validation::Emulated,
            Self::Computed(_) => Validation::Unvalidated,
        }
    }
}

/// Seconds of a token with the context half full; to the answer's first token, and to the first of its reply.
fn turn(
    timing: &Timing,
    shape: &ModelShape,
    tensors: &[TensorPlan],
    options: &Options,
) -> (Range, (Range, Range)) {
    let time = |positions: f64, head| {
        let work = Work::of_token(shape, tensors, positions, options.cache, head);
        timing.seconds(&work)
    };
    let per_token = time(f64::from(options.context_tokens) / 2.0, Head::Computed);
    let prompt = f64::from(options.prompt_tokens.max(1));
    // Before it stand those that lie in flash with keys and values: they are read, and not computed.
    #[expect(clippy::cast_precision_loss, reason = "a prefix is far shorter")]
    let there = shape.prefix_tokens as f64;
    let inside = time(there + prompt / 2.0, Head::Skipped).scaled(prompt - 1.0);
    let first = inside.plus(&time(there + prompt, Head::Computed));
    let unspoken = f64::from(options.unspoken_tokens);
    let line = time(there + prompt + unspoken / 2.0, Head::Computed).scaled(unspoken);
    let reply = first.plus(&line);
    (per_token, (first, reply))
}

impl Range {
    fn scaled(&self, factor: f64) -> Self {
        let source = self.source.clone();
        Self {
            low: self.low * factor,
            mid: self.mid * factor,
            high: self.high * factor,
            source,
        }
    }

    fn plus(&self, other: &Self) -> Self {
        let source = self.source.clone();
        Self {
            low: self.low + other.low,
            mid: self.mid + other.mid,
            high: self.high + other.high,
            source,
        }
    }

    fn inverse(&self) -> Self {
        Self {
            low: 1.0 / self.high,
            mid: 1.0 / self.mid,
            high: 1.0 / self.low,
            source: self.source.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Precision, Setting};
    use engine::shape::Role;
    use std::path::Path;

    fn shape(name: &str) -> ModelShape {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets/shapes");
        ModelShape::load(&folder.join(format!("{name}.toml"))).unwrap()
    }

    fn on(board: &str, shape: &ModelShape, precision: Precision, options: &Options) -> Estimate {
        let tensors = plan(shape, &|_, _| Setting::bits(precision));
        let memory = RuntimeMemory::of(shape, options.context_tokens, options.cache);
        estimate(
            shape,
            &tensors,
            memory,
            Board::find(board).unwrap(),
            options,
        )
    }

    #[test]
    fn a_1b_model_at_4_bits_is_refused_with_both_numbers() {
        let shape = shape("llama-3.2-1b");
        let estimate = on(
            "esp32-s3-n16r8",
            &shape,
            Precision::Four,
            &Options::default(),
        );
        assert_eq!(
            (estimate.fits, estimate.limited_by),
            (false, Some(Scarce::Flash))
        );
        let limit = estimate.limit.unwrap();
        assert!(
            limit.starts_with("needs 69") && limit.ends_with("kB of flash, board has 16777 kB"),
            "{limit}"
        );
    }

    #[test]
    fn the_plan_counts_every_parameter() {
        let parameters = |name: &str| {
            let tensors = plan(&shape(name), &|_, _| Setting::REFERENCE);
            let weights = |tensor: &TensorPlan| tensor.rows as u64 * tensor.cols as u64;
            tensors
                .iter()
                .filter(|tensor| tensor.role != Role::RopeFrequencies)
                .map(weights)
                .sum::<u64>()
        };
        // As the model cards count them.
        assert_eq!(parameters("smollm2-135m"), 134_515_008);
        assert_eq!(parameters("llama-3.2-1b"), 1_235_814_400);
    }

    #[test]
    fn a_longer_context_costs_ram_and_time_and_never_flash() {
        let shape = shape("smollm2-135m");
        let at = |context_tokens| {
            let options = Options {
                context_tokens,
                ..Options::default()
            };
            on("esp32-p4", &shape, Precision::One, &options)
        };
        let (short, long) = (at(64), at(1024));
        assert_eq!(short.flash_bytes, long.flash_bytes);
        assert_eq!(long.kv_bytes, 16 * short.kv_bytes);
        // Keys and values of 30 layers, 3 heads of 64 elements, 16 bits each.
        assert_eq!(long.kv_bytes, 1024 * 30 * 2 * 3 * 64 * 2);
        let speed = |estimate: &Estimate| estimate.tokens_per_second.as_ref().unwrap().mid;
        assert!(speed(&long) < speed(&short));
    }

    #[test]
    fn unknown_numbers_are_named_and_nothing_is_invented() {
        let shape = shape("smollm2-135m");
        let octal = on("ek-ra8d1", &shape, Precision::Two, &Options::default());
        assert!(octal.fits && octal.store == Store::SerialFlash, "{octal:?}");
        assert_eq!(
            (octal.tokens_per_second, octal.joules_per_token),
            (None, None)
        );
        let unknown = [
            "serial_flash.measured_bytes_per_second",
            "psram.measured_bytes_per_second",
        ];
        assert_eq!(octal.missing[..2], unknown);
        assert_eq!(octal.missing[2..], ["active_power_watts"]);
        let s3 = on(
            "esp32-s3-n16r8",
            &shape,
            Precision::One,
            &Options::default(),
        );
        assert!(s3.missing.is_empty());
        let joules = s3.joules_per_token.unwrap();
        let speed = s3.tokens_per_second.unwrap();
        assert!((joules.mid * speed.mid - 0.235).abs() < 1e-9);
    }

    #[test]
    fn every_range_is_in_order_on_every_board() {
        let shape = shape("smollm2-135m");
        for board in Board::presets() {
            for precision in Precision::ALL {
                let estimate = on(&board.id, &shape, precision, &Options::default());
                let ranges = [
                    estimate.tokens_per_second,
                    estimate.first_token_seconds,
                    estimate.joules_per_token,
                ];
                for range in ranges.into_iter().flatten() {
                    let ordered =
                        range.low > 0.0 && range.low <= range.mid && range.mid <= range.high;
                    assert!(ordered && range.high.is_finite(), "{}: {range:?}", board.id);
                }
                assert_eq!(estimate.fits, estimate.limit.is_none());
            }
        }
    }
}
