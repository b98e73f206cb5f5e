//! Time of one token: bytes to read over bandwidth, plus multiply-accumulates over their rate.
//!
//! The two are added, where a roofline usually takes the larger: these cores run in order, nothing
//! prefetches for them, and a load that misses the cache stops the arithmetic. Against the rows in
//! the tests below (all that read each weight about once, as a decoder does) the sum is off by 12 %
//! in the median and by 2.0 times at worst; the range that every estimate carries comes from there.
//!
//! Those rows are other programs on such chips. What this engine can do at one instruction a cycle is
//! counted (`instructions.rs`): the middle of a range is never above it, and the range contains it.

use super::instructions::{COUNTED_ERROR, Cost};
use super::memory::{SessionIn, Store};
use super::reported::Scaled;
use super::work::{Range, Work};
use crate::board::{Board, Fact, Memory};

/// A rate with the spread of its sources.
#[derive(Debug, Clone, PartialEq)]
struct Rate {
    low: f64,
    mid: f64,
    high: f64,
    source: String,
}

/// Share of a raw bus rate that programs see: 0.20 (ESP32-P4 PSRAM, 156 of 800 MB/s; TI AM62A octal
/// NAND, 45 of 240), 0.36 (ArtInChip PSRAM, 290 of 800; ESP32-S3 PSRAM and flash, 0.28 and 0.33),
/// 0.5 (ESP32 PSRAM, 20 of 40).
const BUS_SHARE: [f64; 3] = [0.19, 0.35, 0.5];
/// Share of the nominal multiply-accumulates that networks reach: 0.08 (ESP32-S3), 0.11 (ESP32-C3)
/// to 0.2 (Apollo510, RA8D1), 0.42 (STM32H7A3).
const MAC_SHARE: [f64; 3] = [0.08, 0.15, 0.42];
/// Measured over predicted time, smallest and largest of the rows in the tests.
const MODEL_FASTEST: f64 = 0.67;
const MODEL_SLOWEST: f64 = 2.0;
/// The same where a SIMD core reads weights on the chip: its multiply rate was measured on
/// convolutions, which use a weight many times. The one such row, a SpacemiT K1 on MLPerf Tiny ad,
/// is 5.5 times slower than its kws rate predicts.
const SIMD_SLOWEST: f64 = 5.5;
/// Multiply-accumulates a cycle from which a core counts as SIMD.
const SIMD_MACS: f64 = 4.0;

fn measured(fact: &Fact<f64>) -> Rate {
    Rate {
        low: fact.low.unwrap_or(fact.value),
        mid: fact.value,
        high: fact.high.unwrap_or(fact.value),
        source: fact.source.clone(),
    }
}

fn derated(fact: &Fact<f64>, share: [f64; 3]) -> Rate {
    let [low, mid, high] = share;
    Rate {
        low: fact.low.unwrap_or(fact.value) * low,
        mid: fact.value * mid,
        high: fact.high.unwrap_or(fact.value) * high,
        source: format!(
            "{mid} ({low} to {high}, as on other boards) of the nominal: {}",
            fact.source
        ),
    }
}

fn bandwidth(memory: Option<&Memory>) -> Option<Rate> {
    let memory = memory?;
    let raw = || {
        memory
            .raw_bytes_per_second
            .as_ref()
            .map(|fact| derated(fact, BUS_SHARE))
    };
    memory
        .measured_bytes_per_second
        .as_ref()
        .map(measured)
        .or_else(raw)
}

/// Rates of a board for weights in one memory and a session in another.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rates {
    /// Bytes of weights a second; nothing where the multiply rate includes their reading.
    weights: Option<Rate>,
    /// Bytes of keys and values a second; nothing where the multiply rate includes their reading.
    kv: Option<Rate>,
    /// Multiply-accumulates a second of one core.
    macs: Rate,
    /// Measured over predicted time at worst.
    slowest: f64,
    /// What the engine takes on its cores, and their clock; nothing in tests of the roofline alone.
    engine: Option<(Cost, f64)>,
    /// What an emulated board of this kind has counted, in place of that.
    counted: Option<Scaled>,
}

impl Rates {
    /// The rates, or the names of the numbers that are unknown.
    #[expect(clippy::cast_precision_loss, reason = "a clock is far below 2^52 Hz")]
    pub(super) fn of(
        board: &Board,
        store: Store,
        session: SessionIn,
    ) -> Result<Self, Vec<&'static str>> {
        let mut missing = Vec::new();
        let mut need = |rate: Option<Rate>, name| {
            if rate.is_none() {
                missing.push(name);
            }
            rate
        };
        let psram = || bandwidth(board.psram.as_ref());
        let weights = match store {
            Store::InternalFlash => None,
            Store::SerialFlash => need(
                bandwidth(board.serial_flash.as_ref()),
                "serial_flash.measured_bytes_per_second",
            ),
            Store::Psram => need(psram(), "psram.measured_bytes_per_second"),
        };
        let kv = match session {
            SessionIn::Sram => None,
            SessionIn::Psram => need(psram(), "psram.measured_bytes_per_second"),
        };
        let nominal = || {
            board
                .nominal_macs_per_cycle
                .as_ref()
                .map(|fact| derated(fact, MAC_SHARE))
        };
        let per_cycle = board
            .measured_macs_per_cycle
            .as_ref()
            .map(measured)
            .or_else(nominal);
        let Some(per_cycle) = need(per_cycle, "measured_macs_per_cycle") else {
            return Err(missing);
        };
        if !missing.is_empty() {
            missing.dedup();
            return Err(missing);
        }
        let hz = board.clock_hz.value as f64;
        let macs = Rate {
            low: per_cycle.low * hz,
            mid: per_cycle.mid * hz,
            high: per_cycle.high * hz,
            source: per_cycle.source,
        };
        let is_simd = board
            .nominal_macs_per_cycle
            .as_ref()
            .is_some_and(|fact| fact.value >= SIMD_MACS);
        let slowest = match store {
            Store::InternalFlash if is_simd => SIMD_SLOWEST,
            Store::InternalFlash | Store::SerialFlash | Store::Psram => MODEL_SLOWEST,
        };
        Ok(Self {
            weights,
            kv,
            macs,
            slowest,
            engine: Some((Cost::of(board), hz)),
            counted: None,
        })
    }

    /// Whether an emulated board has counted.
    pub(super) const fn is_counted(&self) -> bool {
        self.counted.is_some()
    }

    /// These, with what an emulated board has counted.
    pub(super) fn with_counted(self, counted: Option<Scaled>) -> Self {
        Self { counted, ..self }
    }

    /// Seconds that the work takes: fastest, expected, slowest.
    ///
    /// A bound is the further of two: the spread of the board's numbers, and that of the model. Then what
    /// the engine's instructions take at one a cycle bounds the middle, and lies between the others.
    pub(super) fn seconds(&self, work: &Work) -> Range {
        let reading = |pick: fn(&Rate) -> f64| {
            let read = |bytes: f64, rate: &Option<Rate>| {
                rate.as_ref().map_or(0.0, |rate| bytes / pick(rate))
            };
            read(work.weight_bytes, &self.weights) + read(work.kv_bytes, &self.kv)
        };
        let total = |pick: fn(&Rate) -> f64| reading(pick) + work.macs / pick(&self.macs);
        let mid = total(|rate| rate.mid);
        let range = Range {
            low: total(|rate| rate.high).min(mid * MODEL_FASTEST),
            mid,
            high: total(|rate| rate.low).max(mid * self.slowest),
            source: self.source(),
        };
        let Some((cost, hz)) = &self.engine else {
            return range;
        };
        let counted = match &self.counted {
            Some(scaled) => scaled.seconds(work).mid,
            None => cost.seconds(&work.products, *hz),
        };
        let waiting = reading(|rate| rate.low) + counted * MODEL_SLOWEST;
        Range {
            low: range
                .low
                .clamp(counted * MODEL_FASTEST, counted * (1.0 - COUNTED_ERROR)),
            mid: range.mid.max(counted),
            high: range.high.max(waiting),
            source: range.source,
        }
    }

    fn source(&self) -> String {
        let mut parts = vec![format!("multiply-accumulates: {}", self.macs.source)];
        parts.extend(
            self.weights
                .iter()
                .map(|rate| format!("weights: {}", rate.source)),
        );
        parts.extend(
            self.kv
                .iter()
                .map(|rate| format!("keys and values: {}", rate.source)),
        );
        parts.extend(self.engine.iter().map(|(cost, _)| match &self.counted {
            Some(scaled) => format!("at most one instruction a cycle, {}", scaled.source()),
            None => {
                let core = cost.name;
                format!("at most one instruction a cycle, counted on an emulated {core}")
            }
        }));
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::instructions::Products;

    /// A measured run that reads each weight about once.
    struct Row {
        name: &'static str,
        bytes: f64,
        /// MB/s; infinite where the multiply rate includes the reading of weights on the chip.
        megabytes_per_second: f64,
        macs: f64,
        macs_per_cycle: f64,
        megahertz: f64,
        measured_millis: f64,
    }

    const fn psram(
        name: &'static str,
        bytes: f64,
        megabytes_per_second: f64,
        macs: f64,
        macs_per_cycle: f64,
        megahertz: f64,
        measured_millis: f64,
    ) -> Row {
        Row {
            name,
            bytes,
            megabytes_per_second,
            macs,
            macs_per_cycle,
            megahertz,
            measured_millis,
        }
    }

    /// The autoencoder of MLPerf Tiny is fully connected: one product a weight.
    const fn ad(
        name: &'static str,
        megahertz: f64,
        kws_macs_per_cycle: f64,
        measured_millis: f64,
    ) -> Row {
        psram(
            name,
            0.0,
            f64::INFINITY,
            264_192.0,
            kws_macs_per_cycle,
            megahertz,
            measured_millis,
        )
    }

    /// Rates come from other rows than the time that they predict: copies for bandwidths, the
    /// convolutional kws network of the same submission for multiply rates.
    const ROWS: [Row; 13] = [
        // Language models with weights in PSRAM. The first computes in 32-bit floats.
        psram(
            "ESP32-S3, stories260K, quad PSRAM",
            1.05e6,
            20.0,
            0.26e6,
            0.2,
            240.0,
            52.27,
        ),
        psram(
            "ESP32-S3, output head, octal PSRAM",
            2.53e6,
            58.11,
            2.53e6,
            1.24,
            240.0,
            57.6,
        ),
        psram(
            "ESP32-P4, scalar output head",
            2.53e6,
            156.0,
            2.53e6,
            2.3,
            360.0,
            38.0,
        ),
        ad("NUCLEO-H7A3ZI-Q, Plumerai v1.1", 280.0, 0.68, 1.348),
        ad("NUCLEO-H7A3ZI, Bosch v1.1", 280.0, 0.64, 1.356),
        ad("NUCLEO-H7A3ZI-Q, X-CUBE-AI 8.0", 280.0, 0.58, 1.827),
        ad("DISCO-F746NG, Plumerai v1.1", 216.0, 0.69, 1.709),
        ad("NUCLEO-U575ZI-Q, Plumerai v1.1", 160.0, 0.55, 3.672),
        ad("NUCLEO_U575ZI_Q, ST v1.2", 160.0, 0.57, 3.429),
        ad("NUCLEO_L4R5ZI, ST v1.2", 120.0, 0.51, 5.261),
        ad("NUCLEO-L4R5ZI, Plumerai v1.1", 120.0, 0.46, 4.052),
        ad("CY8CPROTO-062, Bosch v1.2", 150.0, 0.33, 5.969),
        ad("NUCLEO_G0B1RE, Bosch v1.1", 64.0, 0.06, 46.546),
    ];

    fn measured_over_predicted(row: &Row) -> f64 {
        let exactly = |value| Rate {
            low: value,
            mid: value,
            high: value,
            source: String::new(),
        };
        let rates = Rates {
            weights: Some(exactly(row.megabytes_per_second * 1e6)),
            kv: None,
            macs: exactly(row.macs_per_cycle * row.megahertz * 1e6),
            slowest: MODEL_SLOWEST,
            engine: None,
            counted: None,
        };
        let work = Work {
            weight_bytes: row.bytes,
            kv_bytes: 0.0,
            macs: row.macs,
            products: Products::default(),
            elements: 0.0,
        };
        row.measured_millis / 1e3 / rates.seconds(&work).mid
    }

    #[test]
    fn the_range_covers_what_was_measured_elsewhere() {
        let mut errors = Vec::new();
        let (mut fastest, mut slowest) = (f64::INFINITY, 0.0_f64);
        for row in &ROWS {
            let ratio = measured_over_predicted(row);
            assert!(
                (MODEL_FASTEST..=MODEL_SLOWEST).contains(&ratio),
                "{}: {ratio:.2}",
                row.name
            );
            (fastest, slowest) = (fastest.min(ratio), slowest.max(ratio));
            errors.push((ratio - 1.0).abs());
        }
        // The bounds are those of the rows, not wider ones that any model would meet.
        assert!(
            (MODEL_FASTEST / fastest - 1.0).abs() < 0.05,
            "fastest {fastest:.3}"
        );
        assert!(
            (MODEL_SLOWEST / slowest - 1.0).abs() < 0.05,
            "slowest {slowest:.3}"
        );
        errors.sort_by(f64::total_cmp);
        let median = errors[ROWS.len() / 2];
        assert!((0.11..0.13).contains(&median), "median error {median:.3}");
    }

    #[test]
    fn a_simd_core_that_streams_weights_is_far_slower_than_its_convolutions() {
        let k1 = ad("SpacemiT K1 board, MLPerf Tiny v1.3", 1600.0, 2.88, 0.316);
        let ratio = measured_over_predicted(&k1);
        assert!((SIMD_SLOWEST / ratio - 1.0).abs() < 0.05, "{ratio:.2}");
    }

    #[test]
    fn adding_predicts_better_than_taking_the_larger() {
        let error = |combine: fn(f64, f64) -> f64| {
            let rows = &ROWS[1..3];
            let off = |row: &Row| {
                let read = row.bytes / (row.megabytes_per_second * 1e3);
                let compute = row.macs / (row.macs_per_cycle * row.megahertz * 1e3);
                (row.measured_millis / combine(read, compute)).ln().abs()
            };
            rows.iter().map(off).sum::<f64>()
        };
        assert!(error(|read, compute| read + compute) < error(f64::max));
    }
}
